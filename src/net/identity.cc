#include "net/identity.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

namespace usl::net {
namespace {

// Bounds on what is remembered. A token that is dropped while its message waits shows kNobody.
constexpr size_t kMaxTokens = 256;
constexpr size_t kMaxEnded = 16384;

}  // namespace

Result<int> IdentityTokens::TokenFor(const Identity& identity) {
  auto found = std::ranges::find(tokens_, identity, &Token::identity);
  if (found != tokens_.end()) {
    tokens_.splice(tokens_.begin(), tokens_, found);
    return tokens_.front().fd.get();
  }
  // Empty; it is known by its inode number, which nothing else can have while the kernel keeps it open.
  UniqueFd fd(memfd_create("usl-identity", MFD_CLOEXEC));
  if (!fd) return FailErrno();
  struct stat status;
  if (fstat(fd.get(), &status) < 0) return FailErrno();
  tokens_.push_front(Token{std::move(fd), identity, status.st_ino});
  by_inode_[status.st_ino] = tokens_.begin();
  if (tokens_.size() > kMaxTokens) {
    by_inode_.erase(tokens_.back().inode);
    tokens_.pop_back();
  }
  return tokens_.front().fd.get();
}

std::optional<Identity> IdentityTokens::Find(int fd) const {
  if (tokens_.empty()) return std::nullopt;
  struct stat status, own;
  if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  auto found = by_inode_.find(status.st_ino);
  if (found == by_inode_.end()) return std::nullopt;
  if (fstat(found->second->fd.get(), &own) < 0 || own.st_dev != status.st_dev) return std::nullopt;
  return found->second->identity;
}

ProcessIdentities::ProcessIdentities(kernel::Kernel& kernel) : kernel_(kernel) {
  kernel.OnProcessExit([this](kernel::Process& process) {
    if (!process.last_credentials) return;
    if (!ended_.contains(process.pid())) order_.push_back(process.pid());
    ended_[process.pid()] = process.last_credentials;
    if (order_.size() > kMaxEnded) {
      ended_.erase(order_.front());
      order_.pop_front();
    }
  });
}

Peer ProcessIdentities::Find(pid_t pid) const {
  auto ended = ended_.find(pid);
  Ref<kernel::Process> process = kernel_.tasks().FindProcess(pid);
  Ref<kernel::Task> leader = process ? kernel_.tasks().FindTask(process->pid()) : nullptr;
  if (!leader) return ended == ended_.end() ? Peer{} : Peer{pid, ended->second};
  // The number was used twice, and either may be meant: nobody becomes root by reuse of a number.
  if (ended != ended_.end() && leader->credentials().uid == 0) return Peer{pid, ended->second};
  return Peer{process->pid(), leader->credentials_ref()};
}

pid_t ShownPid(kernel::Kernel& kernel, const kernel::Process& viewer, pid_t pid) {
  const Ref<kernel::Process>& init = kernel.tasks().init();
  return init && init->pid() == pid && viewer.pid() != pid ? 1 : pid;
}

pid_t HostPid(kernel::Kernel& kernel, pid_t shown) {
  const Ref<kernel::Process>& init = kernel.tasks().init();
  return shown == 1 && init ? init->pid() : shown;
}

}  // namespace usl::net
