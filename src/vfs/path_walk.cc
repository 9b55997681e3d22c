#include "vfs/path_walk.h"

#include <limits.h>
#include <linux/openat2.h>

#include "vfs/permission.h"

namespace usl::vfs {

namespace {

constexpr int kMaximumLinks = 40;  // MAXSYMLINKS

std::string_view WithoutLeadingSlashes(std::string_view text) {
  const size_t start = text.find_first_not_of('/');
  return start == std::string_view::npos ? std::string_view() : text.substr(start);
}

}  // namespace

Result<void> PathWalker::Start(const Location& location) {
  const bool scoped = resolve_ & (RESOLVE_BENEATH | RESOLVE_IN_ROOT);
  const Path& at = location.at ? location.at : context_.cwd;
  if (location.path.size() >= PATH_MAX) return Fail(ENAMETOOLONG);
  if (location.path.empty() && !location.allow_empty) return Fail(ENOENT);
  if (scoped) root_ = at;
  const bool absolute = location.path.starts_with('/');
  if (absolute && (resolve_ & RESOLVE_BENEATH)) return Fail(EXDEV);
  root_is_set_ = absolute || scoped;
  const Path& start = absolute && !scoped ? context_.root : at;
  SetPlace(start.mount.get(), start.dentry.get());
  rest_ = WithoutLeadingSlashes(location.path);
  Pin();
  return {};
}

Result<void> PathWalker::WalkToParent(const Location& location) {
  USL_TRY_VOID(Start(location));
  return StepComponents();
}

Result<void> PathWalker::StepComponents() {
  for (;;) {
    if (rest_.empty()) {
      last_ = {};
      last_type_ = Last::kRoot;
      trailing_slash_ = false;
      parent_ = path();
      return {};
    }
    USL_TRY_VOID(Search());
    const size_t end = rest_.find('/');
    const std::string_view name = rest_.substr(0, end);
    const std::string_view after = end == std::string_view::npos ? "" : WithoutLeadingSlashes(rest_.substr(end));
    if (after.empty()) {
      last_ = name;
      last_type_ = name == "." ? Last::kDot : name == ".." ? Last::kDotDot : Last::kNormal;
      trailing_slash_ = end != std::string_view::npos;
      rest_ = {};
      parent_ = path();
      return {};
    }
    rest_ = after;
    if (name == ".") continue;
    if (name == "..") {
      USL_TRY_VOID(StepUp());
    } else {
      USL_TRY_VOID(StepName(name, false, true, false));
    }
  }
}

Result<void> PathWalker::Search() {
  Inode* inode = dentry_->inode().get();
  if (!inode || !inode->IsDirectory()) return Fail(ENOTDIR);
  USL_TRY_VOID(CheckInodePermission(context_.credentials, *inode, kMayExec));
  if (report_ && report_->same_for_all) {
    const Attributes attributes = USL_TRY(inode->GetPermissions());
    if ((attributes.mode & 0111) != 0111 || inode->HasAcl() || !inode->CacheableNames()) NotForAll();
  }
  return {};
}

Result<void> PathWalker::WalkLast(bool follow, bool allow_negative) {
  for (;;) {
    if (last_type_ == Last::kRoot || last_type_ == Last::kDot) return {};
    if (last_type_ == Last::kDotDot) return StepUp();
    if (refuse_trailing_slash_ && trailing_slash_) return Fail(EISDIR);
    follow = follow || trailing_slash_;
    jumped_ = false;
    USL_TRY_VOID(StepName(last_, true, follow, allow_negative));
    if (!jumped_) break;
    USL_TRY_VOID(StepComponents());
  }
  if (trailing_slash_ && dentry_->inode() && !dentry_->inode()->IsDirectory()) return Fail(ENOTDIR);
  return {};
}

Result<Dentry*> PathWalker::LookupChild(std::string_view name) {
  if (dentry_->inode()->CacheableNames()) {
    if (Dentry* cached = vfs_.dentries().FindRaw(*dentry_, name)) return cached;
  }
  if (resolve_ & RESOLVE_CACHED) return Fail(EAGAIN);
  Pin();
  pinned_child_ = USL_TRY(vfs_.LookupIn(context_, pinned_dentry_, name));
  return pinned_child_.get();
}

Result<void> PathWalker::StepName(std::string_view name, bool is_last, bool follow, bool allow_negative) {
  Dentry* dentry = USL_TRY(LookupChild(name));
  Mount* mount = mount_;
  if (dentry->IsNegative()) {
    if (report_) report_->missing = Ref<Dentry>(dentry);
    if (!is_last || !allow_negative) return Fail(ENOENT);
    SetPlace(mount, dentry);
    return {};
  }
  while (dentry->IsMountPoint() && (!is_last || cross_last_mount_)) {
    Mount* mounted = mount->FindMounted(*dentry);
    if (!mounted) break;
    if (resolve_ & RESOLVE_NO_XDEV) return Fail(EXDEV);
    mounted->CountCrossing();
    mount = mounted;
    dentry = mounted->root().get();
  }
  if (dentry->inode()->IsSymlink() && (!is_last || follow)) {
    return FollowLink(Path{Ref<Mount>(mount), Ref<Dentry>(dentry)}, is_last);
  }
  SetPlace(mount, dentry);
  return {};
}

Result<void> PathWalker::StepUp() {
  root_is_set_ = true;
  const Path& root = root_ ? root_ : context_.root;
  for (;;) {
    if (mount_ == root.mount.get() && dentry_ == root.dentry.get()) {
      if (resolve_ & RESOLVE_BENEATH) return Fail(EXDEV);
      break;
    }
    if (dentry_ != mount_->root().get()) {
      Dentry* parent = dentry_->parent().get();
      if (!parent) break;
      // A directory that was moved out of a bind mount's tree must not lead out of it.
      const Dentry& mount_root = *mount_->root();
      if (mount_root.parent() && !parent->IsBelow(mount_root)) return Fail(ENOENT);
      SetPlace(mount_, parent);
      break;
    }
    Mount* up = mount_->parent();
    if (!up) break;
    if (resolve_ & RESOLVE_NO_XDEV) return Fail(EXDEV);
    SetPlace(up, mount_->mount_point().get());
  }
  return CrossMounts();
}

Result<void> PathWalker::CrossMounts() {
  while (dentry_->IsMountPoint()) {
    Mount* mounted = mount_->FindMounted(*dentry_);
    if (!mounted) break;
    if (resolve_ & RESOLVE_NO_XDEV) return Fail(EXDEV);
    mounted->CountCrossing();
    SetPlace(mounted, mounted->root().get());
  }
  return {};
}

// fs.protected_symlinks: in a sticky world-writable directory only links of the walker or of the directory's owner
// are followed (proc_sys_fs(5)).
Result<void> PathWalker::CheckMayFollow(Inode& link) {
  if (vfs_.protection().symlinks == 0) {
    NotForAll();  // it may be switched on
    return {};
  }
  const Attributes directory = USL_TRY(dentry_->inode()->GetPermissions());
  if ((directory.mode & (S_ISVTX | S_IWOTH)) != (S_ISVTX | S_IWOTH)) return {};
  NotForAll();
  const Attributes attributes = USL_TRY(link.GetPermissions());
  if (attributes.uid == context_.credentials.fsuid || attributes.uid == directory.uid) return {};
  return Fail(EACCES);
}

Result<void> PathWalker::FollowLink(const Path& link, bool is_last) {
  if (links_followed_++ >= kMaximumLinks) return Fail(ELOOP);
  Pin();
  Inode& inode = *link.inode();
  if (is_last) USL_TRY_VOID(CheckMayFollow(inode));
  if ((resolve_ & RESOLVE_NO_SYMLINKS) || (link.mount->flags() & MS_NOSYMFOLLOW)) return Fail(ELOOP);
  if (inode.IsMagicLink()) return FollowMagicLink(link);
  // The text is put in front of what is left; a trailing slash behind the link counts for its target.
  auto read = inode.ReadLink(context_);
  if (!read) return Fail(read.error());
  const std::string_view target = *read;
  if (target.empty()) return Fail(ENOENT);
  const bool absolute = target.starts_with('/');
  std::string text;
  text.reserve(target.size() + 1 + rest_.size());
  text += target;
  if (!is_last || trailing_slash_) text += '/';
  text += rest_;  // which may be part of buffer_
  buffer_ = std::move(text);
  rest_ = WithoutLeadingSlashes(buffer_);
  if (is_last) jumped_ = true;
  if (absolute) return JumpToRoot();
  return {};
}

Result<void> PathWalker::JumpToRoot() {
  if (resolve_ & RESOLVE_BENEATH) return Fail(EXDEV);
  const Path& root = root_ ? root_ : context_.root;
  // nd_jump_root() compares with a root that a relative walk does not know before its first "..": EXDEV even on one
  // mount.
  if ((resolve_ & RESOLVE_NO_XDEV) && (!root_is_set_ || mount_ != root.mount.get())) return Fail(EXDEV);
  root_is_set_ = true;
  SetPlace(root.mount.get(), root.dentry.get());
  return {};
}

Result<void> PathWalker::FollowMagicLink(const Path& link) {
  NotForAll();
  if (resolve_ & RESOLVE_NO_MAGICLINKS) return Fail(ELOOP);
  Path target;
  UniqueFd object = USL_TRY(link.inode()->Follow(context_, target));
  if (!target.dentry) {
    if (!object) return Fail(ENOENT);
    // A namespace is procfs' own, though it has no name there.
    target = vfs_.Identify(object.get()).path;
    if (target.dentry) {
      reopen_ = std::move(object);
    } else {
      target = vfs_.NativeObject(std::move(object), context_.credentials);
    }
  } else {
    reopen_ = std::move(object);
  }
  if ((resolve_ & RESOLVE_NO_XDEV) && target.mount.get() != mount_) return Fail(EXDEV);
  if (resolve_ & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) return Fail(EXDEV);
  SetPlace(target.mount.get(), target.dentry.get());
  Pin();
  return {};
}

Result<Path> Vfs::Walk(const Context& context, const Location& location, unsigned flags, uint64_t resolve) {
  PathWalker walker(*this, context, resolve);
  USL_TRY_VOID(walker.WalkToParent(location));
  if (flags & kParent) return walker.path();
  if (flags & kNoMountPoint) walker.StayBelowMounts();
  USL_TRY_VOID(walker.WalkLast(!(flags & kNoFollow), flags & kAllowNegative));
  if ((flags & kDirectory) && !walker.dentry().IsNegative() && !walker.dentry().inode()->IsDirectory()) {
    return Fail(ENOTDIR);
  }
  return walker.path();
}

Result<Path> Vfs::WalkForAll(const Context& context, const Location& location, unsigned flags, WalkReport* report) {
  PathWalker walker(*this, context, 0);
  *report = {.same_for_all = true, .missing = nullptr};
  walker.ReportTo(report);
  USL_TRY_VOID(walker.WalkToParent(location));
  USL_TRY_VOID(walker.WalkLast(!(flags & kNoFollow), false));
  return walker.path();
}

Result<Ref<Dentry>> Vfs::LookupIn(const Context& context, const Ref<Dentry>& directory, std::string_view name) {
  if (name.size() > NAME_MAX) return Fail(ENAMETOOLONG);
  if (!directory->IsLinked()) return Fail(ENOENT);
  Inode& inode = *directory->inode();
  const bool cacheable = inode.CacheableNames();
  if (cacheable) {
    if (Ref<Dentry> cached = dentries_.Find(*directory, name)) return cached;
  }
  auto found = inode.Lookup(name, context);
  if (found) {
    // A copy: the inode may change its place by being inserted.
    const std::string real(cacheable ? name : (*found)->NameIn(inode, name));
    return dentries_.Insert(directory, real, std::move(*found));
  }
  if (found.error().code() != ENOENT) return Fail(found.error());
  if (inode.RefusesAbsentNames()) return Fail(ENOENT);
  if (cacheable) return dentries_.Insert(directory, name, nullptr);
  if (Ref<Dentry> stale = dentries_.Find(*directory, name)) dentries_.Forget(*stale);
  return MakeRef<Dentry>(directory, name, nullptr);
}

}  // namespace usl::vfs
