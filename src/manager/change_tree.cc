#include "manager/change_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "base/format.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Directory OpenListing(int parent, const char* name) {
  UniqueFd fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0) {
    fd.Reset(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!fd) return nullptr;
  Directory directory(fdopendir(fd.get()));
  if (directory) (void)fd.Release();
  return directory;
}

bool IsDots(const char* name) {
  return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

// Takes the lock of a tree; an empty fd when somebody has it.
UniqueFd TakeLock(const std::string& path) {
  UniqueFd lock(open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock && flock(lock.get(), LOCK_EX | LOCK_NB) < 0) lock.Reset();
  return lock;
}

// Temporary trees of instances that were killed together with their supervisor.
void SweepDead(const std::string& parent) {
  const Directory listing = OpenListing(AT_FDCWD, parent.c_str());
  if (!listing) return;
  while (const dirent* entry = readdir(listing.get())) {
    if (IsDots(entry->d_name)) continue;
    const UniqueFd lock = TakeLock(parent + "/" + entry->d_name);
    if (lock) RemoveTree(dirfd(listing.get()), entry->d_name);
  }
}

}  // namespace

void RemoveTree(int parent, const char* name) {
  // An explicit stack: a hostile guest can nest directories deeper than a call stack goes.
  struct Level {
    Directory listing;
    std::string name;
  };
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return;
  std::vector<Level> stack;
  auto enter = [&stack](int where, const char* directory) {
    if (Directory listing = OpenListing(where, directory)) stack.push_back({std::move(listing), directory});
  };
  enter(parent, name);
  while (!stack.empty()) {
    const int here = dirfd(stack.back().listing.get());
    const dirent* entry = readdir(stack.back().listing.get());
    if (!entry) {
      const std::string done = stack.back().name;
      stack.pop_back();
      unlinkat(stack.empty() ? parent : dirfd(stack.back().listing.get()), done.c_str(), AT_REMOVEDIR);
      continue;
    }
    if (IsDots(entry->d_name)) continue;
    if (unlinkat(here, entry->d_name, 0) == 0) continue;
    if (errno == EACCES) {
      fchmod(here, 0700);
      if (unlinkat(here, entry->d_name, 0) == 0) continue;
    }
    if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) {
      if (unlinkat(here, entry->d_name, AT_REMOVEDIR) == 0) continue;
      enter(here, std::string(entry->d_name).c_str());
    }
  }
}

ChangeTree::ChangeTree(std::string path, UniqueFd lock, bool temporary)
    : path_(std::move(path)), lock_(std::move(lock)), temporary_(temporary), owner_(getpid()) {}

ChangeTree::ChangeTree(ChangeTree&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::move(other.lock_)), temporary_(other.temporary_), owner_(other.owner_) {
  other.temporary_ = false;
}

ChangeTree::~ChangeTree() {
  Remove();
}

void ChangeTree::Remove() {
  if (!temporary_ || getpid() != owner_) return;
  temporary_ = false;
  RemoveTree(AT_FDCWD, path_.c_str());
}

Result<ChangeTree> ChangeTree::Open(const std::string& path, bool temporary, std::string* why) {
  const auto made = MakeDirectories(path + "/upper");
  if (!made) {
    *why = format("cannot create \"{}\" for the changed files: {}; set XDG_DATA_HOME to a directory that you can write",
                  path, ErrorText(made.error().code()));
    return Fail(made.error());
  }
  UniqueFd lock = TakeLock(path);
  if (!lock) {
    *why = format("\"{}\" is used by another instance; end that one first, or choose another name", path);
    return Fail(EBUSY);
  }
  return ChangeTree(path, std::move(lock), temporary);
}

Result<ChangeTree> ChangeTree::MakeTemporary(std::string* why) {
  const std::string parent = DataDirectory() + "/running";
  SweepDead(parent);
  return Open(format("{}/{}", parent, getpid()), true, why);
}

Result<ChangeTree> ChangeTree::OpenKept(const std::string& name, std::string* why) {
  return Open(DataDirectory() + "/kept/" + name, false, why);
}

}  // namespace usl::manager
