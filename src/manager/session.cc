#include "manager/session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cred/credentials.h"
#include "manager/environment.h"
#include "protocol/accounts.h"

namespace usl::manager {
namespace {

const cred::Credentials& Root() {
  static const cred::Credentials credentials = cred::RootCredentials();
  return credentials;
}

}  // namespace

vfs::Context GuestView::Context() const {
  return {.credentials = Root(), .root = root, .cwd = root, .umask = 022};
}

Result<std::string> GuestView::ReadFile(const std::string& path, size_t limit) const {
  // O_NONBLOCK: a FIFO of that name must not stop the start of the instance.
  const auto opened = USL_TRY(vfs.Open(Context(), {root, path}, {O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, 0}));
  struct stat status;
  if (!opened.fd || fstat(opened.fd.get(), &status) < 0 || !S_ISREG(status.st_mode)) return Fail(EINVAL);
  std::string content;
  char buffer[16384];
  ssize_t size;
  while ((size = read(opened.fd.get(), buffer, sizeof buffer)) > 0) {
    content.append(buffer, static_cast<size_t>(size));
    if (content.size() > limit) return Fail(EFBIG);
  }
  if (size < 0) return FailErrno();
  return content;
}

Result<void> GuestView::WriteFile(const std::string& path, const std::string& content, mode_t mode) const {
  const vfs::OpenHow how{O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, mode, 0};
  const auto opened = USL_TRY(vfs.Open(Context(), {root, path}, how));
  if (!opened.fd) return Fail(EINVAL);
  const ssize_t size = write(opened.fd.get(), content.data(), content.size());
  if (size < 0) return FailErrno();
  return static_cast<size_t>(size) == content.size() ? Result<void>() : Fail(ENOSPC);
}

Result<void> GuestView::MakeDirectories(const std::string& path) const {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    const auto made = vfs.MakeDirectory(Context(), {root, part}, 0755);
    if (!made && made.error().code() != EEXIST) return Fail(made.error());
    if (slash == path.npos) return {};
  }
}

bool GuestView::Exists(const std::string& path) const {
  return vfs.Walk(Context(), {root, path}, 0).has_value();
}

Result<protocol::LaunchRequest> MakeSession(const SessionOptions& session, const GuestView& view, bool terminal,
                                            const std::string& current_directory, std::string* why) {
  const RunOptions& options = session.options;
  protocol::Account account;
  const auto passwd = view.ReadFile("/etc/passwd");
  const auto group = view.ReadFile("/etc/group");
  if (!protocol::ResolveAccount(session.user, passwd.value_or(""), group.value_or(""), &account, why))
    return Fail(EINVAL);

  protocol::LaunchRequest request{
      .uid = account.uid, .gid = account.gid, .umask = session.umask, .groups = account.groups};
  const bool same_files = options.rootfs.empty();
  std::vector<std::string> requested = session.environment;
  requested.insert(requested.end(), options.environment.begin(), options.environment.end());
  request.env = MakeEnvironment(account, requested, terminal, same_files, environ);
  if (!options.working_directory.empty()) {
    request.cwd = options.working_directory;
  } else if (options.here) {
    request.cwd = current_directory;
  } else {
    request.cwd = view.Exists(account.home) ? account.home : "/";
  }
  request.argv = options.command;
  if (request.argv.empty()) {
    request.argv = {view.Exists(account.shell) ? account.shell : "/bin/sh"};
    request.flags |= protocol::kLaunchLoginShell;
  }
  if (terminal) request.flags |= protocol::kLaunchControllingTerminal;
  return request;
}

}  // namespace usl::manager
