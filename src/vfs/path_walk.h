// One walk along a path (path_resolution(7), openat2(2)): component by component, with mounts, symbolic links, "..",
// and search permission at each step. Used by every operation that names a file; Vfs::Walk is the plain form.
//
// While it steps through cached names the walk holds plain pointers: nothing is evicted then. Before anything that may
// give up the kernel lock or add to the cache, it pins its place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "vfs/vfs.h"

namespace usl::vfs {

class PathWalker {
 public:
  // What the last component of a path is (LAST_NORM and so on in Linux).
  enum class Last { kNormal, kDot, kDotDot, kRoot };

  PathWalker(Vfs& vfs, const Context& context, uint64_t resolve) : vfs_(vfs), context_(context), resolve_(resolve) {}
  PathWalker(const PathWalker&) = delete;
  PathWalker& operator=(const PathWalker&) = delete;

  // Walks to the directory of the last component and checks search permission there. The location's text must live on.
  Result<void> WalkToParent(const Location& location);
  // Takes the last component, following a symlink there when `follow` or a trailing slash says so. Without
  // `allow_negative` ENOENT when it is absent; with it, the place is a negative dentry then (of the directory that the
  // links led to). When a link was followed, parent() and last() are those of its target.
  Result<void> WalkLast(bool follow, bool allow_negative);

  // The place now: the parent after WalkToParent, the thing itself after WalkLast.
  Path path() const { return Path{Ref<Mount>(mount_), Ref<Dentry>(dentry_)}; }
  Dentry& dentry() const { return *dentry_; }
  Mount& mount() const { return *mount_; }
  // The directory that the last component is in (set by WalkToParent; its mode decides about sticky rules).
  const Path& parent() const { return parent_; }
  std::string_view last() const { return last_; }
  Last last_type() const { return last_type_; }
  bool has_trailing_slash() const { return trailing_slash_; }
  // An open file to reopen in place of path(), see Inode::Follow.
  UniqueFd TakeReopen() { return std::move(reopen_); }
  // Fills `report` while walking; before the walk starts.
  void ReportTo(WalkReport* report) { report_ = report; }
  // Do not cross a mount on the last component.
  void StayBelowMounts() { cross_last_mount_ = false; }
  // WalkLast is to make a file (O_CREAT): a last component with a slash behind it, here or in a link, is EISDIR.
  void RefuseTrailingSlash() { refuse_trailing_slash_ = true; }

 private:
  Result<void> Start(const Location& location);
  Result<void> StepComponents();
  Result<void> Search();
  Result<void> StepName(std::string_view name, bool is_last, bool follow, bool allow_negative);
  Result<Dentry*> LookupChild(std::string_view name);
  Result<void> StepUp();
  Result<void> CrossMounts();
  Result<void> FollowLink(const Path& link, bool is_last);
  Result<void> FollowMagicLink(const Path& link);
  Result<void> JumpToRoot();
  Result<void> CheckMayFollow(Inode& link);
  void SetPlace(Mount* mount, Dentry* dentry) {
    mount_ = mount;
    dentry_ = dentry;
  }
  void Pin() {
    pinned_mount_ = Ref<Mount>(mount_);
    pinned_dentry_ = Ref<Dentry>(dentry_);
  }

  void NotForAll() {
    if (report_) report_->same_for_all = false;
  }

  Vfs& vfs_;
  const Context& context_;
  const uint64_t resolve_;
  WalkReport* report_ = nullptr;
  Path root_;  // the scoped root of RESOLVE_BENEATH and RESOLVE_IN_ROOT; else empty
  Mount* mount_ = nullptr;
  Dentry* dentry_ = nullptr;
  Ref<Mount> pinned_mount_;
  Ref<Dentry> pinned_dentry_;
  Ref<Dentry> pinned_child_;
  Path parent_;
  std::string_view rest_;  // what is left of the path, without leading slashes
  std::string buffer_;     // holds rest_ and last_ once a link was followed
  std::string_view last_;
  Last last_type_ = Last::kRoot;
  bool trailing_slash_ = false;
  bool cross_last_mount_ = true;
  bool refuse_trailing_slash_ = false;
  bool root_is_set_ = false;  // nd->root of Linux: set by an absolute path, a scope, or ".."
  bool jumped_ = false;       // a link was followed in place of the last component: StepComponents goes on
  int links_followed_ = 0;
  UniqueFd reopen_;
};

}  // namespace usl::vfs
