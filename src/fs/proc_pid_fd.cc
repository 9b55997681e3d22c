// /proc/PID/fd and fdinfo.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <charconv>

#include "base/format.h"
#include "fs/proc_pid.h"
#include "fs/proc_text.h"

namespace usl::fs {
namespace {

// A descriptor number as a name: "0", "17", no leading zeros.
std::optional<int> ParseFdName(std::string_view name) {
  if (name == "0") return 0;
  return ParseProcNumber(name);
}

class FdLink final : public SyntheticInode, public ProcBound {
 public:
  FdLink(ProcFs& proc, std::string path, const ProcId& id, int fd)
      : SyntheticInode(proc, std::move(path), S_IFLNK | 0700), ProcBound(proc, id), fd_(fd) {}

  Result<vfs::Attributes> GetAttributes() override {
    vfs::Attributes attributes = USL_TRY(SyntheticInode::GetAttributes());
    attributes.size = 64;  // as Linux
    // The link's mode tells how it is open: r and w of its owner.
    struct stat status;
    const auto target = Target();
    if (target && fstatat(target->host.get(), format("fd/{}", fd_).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
      attributes.mode = S_IFLNK | (status.st_mode & 07777);
    }
    return attributes;
  }
  Result<std::string> ReadLink(const vfs::Context& context) override { return USL_TRY(Find(context)).text; }
  bool IsMagicLink() const override { return true; }
  Result<UniqueFd> Follow(const vfs::Context& context, vfs::Path& path) override {
    ProcDescriptor found = USL_TRY(Find(context));
    path = found.path;
    return path ? UniqueFd() : std::move(found.object);
  }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }

 private:
  Result<ProcDescriptor> Find(const vfs::Context& context) const {
    USL_TRY_VOID(CheckedTarget(context, ProcAccess::kRead));
    auto found = proc().guests().Descriptor(id().tid, fd_, context.root);
    if (!found) return Fail(ENOENT);
    return std::move(*found);
  }
  const int fd_;
};

// fd and fdinfo list the same numbers.
class DescriptorDirectory : public SyntheticDirectory, public ProcBound {
 public:
  DescriptorDirectory(ProcFs& proc, std::string path, const ProcId& id, uint32_t permissions)
      : SyntheticDirectory(proc, std::move(path), permissions), ProcBound(proc, id) {}

  bool CacheableNames() const override { return false; }
  // Linux lets threads of the process itself in whatever the mode says (a non-dumpable one's is root's): so permission
  // is not the mode's business but Open's and Lookup's.
  Result<vfs::Attributes> GetPermissions() override {
    vfs::Attributes attributes = USL_TRY(GetAttributes());
    attributes.mode = S_IFDIR | 0555;
    return attributes;
  }
  Result<UniqueFd> Open(int flags, const vfs::Context& context) override {
    if (!(flags & O_PATH)) USL_TRY_VOID(CheckedTarget(context, ProcAccess::kRead));
    return Fail(EOPNOTSUPP);
  }
  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context& context) override {
    const auto fd = ParseFdName(name);
    if (!fd) return Fail(ENOENT);
    const ProcTarget target = USL_TRY(CheckedTarget(context, ProcAccess::kRead));
    struct stat status;
    if (fstatat(target.host.get(), format("fd/{}", *fd).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return Fail(ENOENT);
    }
    const std::string child = ChildPath(name);
    return ReuseOrMake(proc(), child, id(), [&] { return Make(child, *fd); });
  }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }
  virtual Ref<vfs::Inode> Make(const std::string& child, int fd) = 0;
  virtual unsigned char EntryType() const = 0;
  Result<std::vector<SyntheticEntry>> List() override {
    const ProcTarget target = USL_TRY(Target());
    std::vector<SyntheticEntry> entries;
    for (const int64_t fd : ListNumbers(target.host.get(), "fd")) {
      entries.push_back({std::to_string(fd), EntryType(), kFirstPosition + fd});
    }
    return entries;
  }
};

class FdDirectory final : public DescriptorDirectory {
 public:
  FdDirectory(ProcFs& proc, std::string path, const ProcId& id)
      : DescriptorDirectory(proc, std::move(path), id, 0500) {}

 protected:
  Ref<vfs::Inode> Make(const std::string& child, int fd) override { return MakeRef<FdLink>(proc(), child, id(), fd); }
  unsigned char EntryType() const override { return DT_LNK; }
};

class FdInfoFile final : public SyntheticFile, public ProcBound {
 public:
  FdInfoFile(ProcFs& proc, std::string path, const ProcId& id, int fd)
      : SyntheticFile(proc, std::move(path), S_IFREG | 0400), ProcBound(proc, id), fd_(fd) {}

  Result<std::string> Read(const vfs::Context& context) override {
    const ProcTarget target = USL_TRY(CheckedTarget(context, ProcAccess::kRead));
    const auto host = ReadHostFile(target.host.get(), format("fdinfo/{}", fd_).c_str());
    if (!host) return Fail(ENOENT);
    // The host's mount and inode numbers are not the guest's; what it says of epoll, timers and locks is.
    const auto place = proc().guests().Descriptor(id().tid, fd_, context.root);
    std::string out;
    ForEachLine(*host, [&](std::string_view line) {
      if (line.starts_with("mnt_id:")) {
        out += place && place->path.mount ? format("mnt_id:\t{}\n", place->path.mount->id()) : format("{}\n", line);
      } else if (line.starts_with("ino:") && place && place->path) {
        const auto attributes = place->path.inode() ? place->path.inode()->GetAttributes() : Fail(ENOENT);
        if (attributes) out += format("ino:\t{}\n", attributes->ino);
      } else {
        out += format("{}\n", line);
      }
    });
    return out;
  }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }

 private:
  const int fd_;
};

class FdInfoDirectory final : public DescriptorDirectory {
 public:
  FdInfoDirectory(ProcFs& proc, std::string path, const ProcId& id)
      : DescriptorDirectory(proc, std::move(path), id, 0555) {}

 protected:
  Ref<vfs::Inode> Make(const std::string& child, int fd) override {
    return MakeRef<FdInfoFile>(proc(), child, id(), fd);
  }
  unsigned char EntryType() const override { return DT_REG; }
};

}  // namespace

Ref<vfs::Inode> MakeFdDirectory(ProcFs& proc, const std::string& path, const ProcId& id) {
  return MakeRef<FdDirectory>(proc, path, id);
}

Ref<vfs::Inode> MakeFdInfoDirectory(ProcFs& proc, const std::string& path, const ProcId& id) {
  return MakeRef<FdInfoDirectory>(proc, path, id);
}

}  // namespace usl::fs
