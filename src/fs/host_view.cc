#include "fs/host_view.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>

#include "base/log.h"
#include "fs/host_accounts.h"
#include "fs/host_view_rules.h"
#include "fs/volfs.h"
#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

constexpr size_t kMaxAccountFile = 16 << 20;

std::string RealPath(const std::string& path) {
  std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), &::free);
  return real ? std::string(real.get()) : std::string();
}

// `path` as seen from `root` (both resolved), or nothing when it is not inside.
std::string Below(const std::string& root, const std::string& path) {
  if (root == "/") return path;
  if (path.starts_with(root) && path.size() > root.size() && path[root.size()] == '/') return path.substr(root.size());
  return {};
}

// Hides one host directory's content, by its path and by its identity: it may be reached by a bind mount as well.
void AddEmptied(LayerOptions& layer, const std::string& root, const std::string& path) {
  std::string real = RealPath(path);
  std::string inside = Below(root, real);
  if (inside.empty() || IsSystemDirectory(inside)) return;
  layer.rules.Set(inside, HostRule::Action::kEmpty);
  struct stat status;
  if (::stat(real.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) layer.emptied.push_back(KeyOf(status));
}

std::string ReadHostFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return {};
  return ReadSmallFile({fd.get(), ""}, kMaxAccountFile).value_or(std::string());
}

Result<void> WriteNew(VolInode& directory, std::string_view name, const std::string& content, gid_t group) {
  auto known = directory.LookupName(name);
  if (known) return {};  // of an earlier run: the guest's by now
  if (known.error().code() != ENOENT) return Fail(known.error());
  vfs::NewInode spec;
  spec.mode = S_IFREG | 0640;
  spec.gid = group;
  USL_TRY(directory.Create(name, spec));
  Ref<VolInode> file = USL_TRY(directory.LookupName(name));
  UniqueFd fd = USL_TRY(file->OpenFlags(O_WRONLY));
  size_t written = 0;
  while (written < content.size()) {
    ssize_t count = ::write(fd.get(), content.data() + written, content.size() - written);
    if (count < 0) return FailErrno();
    written += static_cast<size_t>(count);
  }
  return {};
}

Result<void> MakeAccounts(VolFs& view, const std::string& root) {
  std::string passwd = ReadHostFile(root + "/etc/passwd");
  std::string group = ReadHostFile(root + "/etc/group");
  if (passwd.empty()) return {};
  auto etc = static_cast<VolInode&>(*view.root()).LookupName("etc");
  if (!etc || !(*etc)->IsDirectory()) return {};
  gid_t shadow_group = FindGroup(group, "shadow").value_or(0);
  USL_TRY_VOID(WriteNew(**etc, "shadow", MakeShadow(passwd), shadow_group));
  return WriteNew(**etc, "gshadow", MakeGshadow(group), shadow_group);
}

}  // namespace

Result<Ref<vfs::FileSystem>> MakeHostView(HostViewOptions options) {
  if (!options.upper_directory.starts_with('/') || !options.host_root.starts_with('/')) return Fail(EINVAL);
  if (::mkdir(options.upper_directory.c_str(), 0700) < 0 && errno != EEXIST) return FailErrno();
  // The tree's root gets the mode of the host's root, so that it is the directory above it that keeps other users out.
  if (::chmod(options.upper_directory.c_str(), 0700) < 0) return FailErrno();
  std::string tree = options.upper_directory + "/tree";
  if (::mkdir(tree.c_str(), 0700) < 0 && errno != EEXIST) return FailErrno();
  std::string root = RealPath(options.host_root);
  if (root.empty()) return FailErrno();

  LayerOptions lower;
  lower.path = root;
  lower.owners = Owners::kHost;
  lower.cross_mounts = false;
  for (const HostViewRule& rule : HostViewRules()) lower.rules.Set(rule.path, rule.action);
  std::vector<std::string> homes{options.home};
  if (options.home.empty()) {
    const char* variable = ::getenv("HOME");
    homes = {variable ? variable : "", FindHome(ReadHostFile(root + "/etc/passwd"), ::geteuid()).value_or("")};
  }
  homes.insert(homes.end(), options.emptied.begin(), options.emptied.end());
  for (const std::string& home : homes) {
    if (home.starts_with('/')) AddEmptied(lower, root, home);
  }
  options.hidden.push_back(options.upper_directory);
  for (const std::string& path : options.hidden) {
    std::string real = RealPath(path);
    std::string inside = Below(root, real);
    if (inside.size() <= 1) continue;
    lower.rules.Set(inside, HostRule::Action::kHidden);
    struct stat status;
    if (::stat(real.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) lower.emptied.push_back(KeyOf(status));
  }

  VolFsOptions volfs;
  volfs.upper = LayerOptions{.path = tree};
  volfs.lowers.push_back(std::move(lower));
  volfs.volatile_tree = !options.keep;
  volfs.sync_copy_up = options.keep;
  volfs.source = "host";
  Ref<VolFs> view = USL_TRY(VolFs::Open(std::move(volfs)));
  if (auto made = MakeAccounts(*view, root); !made) {
    Log(LogLevel::kError, "cannot make /etc/shadow in \"{}\" (errno {})", options.upper_directory, made.error().code());
    return Fail(made.error());
  }
  return Ref<vfs::FileSystem>(view);
}

}  // namespace usl::fs
