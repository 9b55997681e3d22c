#include "syscalls/copy.h"

#include <sys/sysmacros.h>

#include <cstring>

namespace usl::syscalls {
namespace {

constexpr unsigned kStatxMountIdUnique = 0x4000;  // STATX_MNT_ID_UNIQUE, Linux 6.8

statx_timestamp MakeStatxTime(const timespec& time) {
  statx_timestamp out{};
  out.tv_sec = time.tv_sec;
  out.tv_nsec = static_cast<uint32_t>(time.tv_nsec);
  return out;
}

constexpr size_t RoundUp8(size_t size) {
  return (size + 7) & ~size_t{7};
}

}  // namespace

struct stat MakeStat(const vfs::Attributes& attributes, dev_t device) {
  struct stat out {};
  out.st_dev = device;
  out.st_ino = attributes.ino;
  out.st_nlink = attributes.nlink;
  out.st_mode = attributes.mode;
  out.st_uid = attributes.uid;
  out.st_gid = attributes.gid;
  out.st_rdev = attributes.rdev;
  out.st_size = static_cast<off_t>(attributes.size);
  out.st_blksize = attributes.block_size;
  out.st_blocks = static_cast<blkcnt_t>(attributes.blocks);
  out.st_atim = attributes.atime;
  out.st_mtim = attributes.mtime;
  out.st_ctim = attributes.ctime;
  return out;
}

struct statx MakeStatx(const vfs::Attributes& attributes, const StatxPlace& place, unsigned requested) {
  struct statx out {};
  out.stx_mask = STATX_BASIC_STATS;
  out.stx_blksize = attributes.block_size;
  out.stx_nlink = attributes.nlink;
  out.stx_uid = attributes.uid;
  out.stx_gid = attributes.gid;
  out.stx_mode = static_cast<uint16_t>(attributes.mode);
  out.stx_ino = attributes.ino;
  out.stx_size = attributes.size;
  out.stx_blocks = attributes.blocks;
  out.stx_attributes = attributes.statx_attributes;
  out.stx_attributes_mask = attributes.statx_attributes_mask;
  out.stx_atime = MakeStatxTime(attributes.atime);
  out.stx_mtime = MakeStatxTime(attributes.mtime);
  out.stx_ctime = MakeStatxTime(attributes.ctime);
  if (attributes.has_btime) {
    out.stx_mask |= STATX_BTIME;
    out.stx_btime = MakeStatxTime(attributes.btime);
  }
  out.stx_rdev_major = major(attributes.rdev);
  out.stx_rdev_minor = minor(attributes.rdev);
  out.stx_dev_major = major(place.device);
  out.stx_dev_minor = minor(place.device);
  if (place.mount_id != 0) {
    // The caller gets the one number or the other.
    const bool unique = requested & kStatxMountIdUnique;
    out.stx_mnt_id = unique ? place.unique_mount_id : place.mount_id;
    out.stx_mask |= unique ? kStatxMountIdUnique : STATX_MNT_ID;
    out.stx_attributes_mask |= STATX_ATTR_MOUNT_ROOT;
    if (place.is_mount_root) out.stx_attributes |= STATX_ATTR_MOUNT_ROOT;
  }
  return out;
}

bool DirentPacker::Add(std::string_view name, uint64_t ino, unsigned char type, int64_t next) {
  // getdents: d_ino, d_off, d_reclen, name, NUL, and the type in the entry's last byte. getdents64 has the type in
  // front.
  const size_t name_at = layout_ == Layout::k64 ? 19 : 18;
  const size_t tail = layout_ == Layout::k64 ? 1 : 2;
  const size_t length = RoundUp8(name_at + name.size() + tail);
  if (length > capacity_ - bytes_.size()) {
    overflow_ = true;
    return false;
  }
  const size_t start = bytes_.size();
  bytes_.resize(start + length);
  std::byte* entry = bytes_.data() + start;
  const auto length16 = static_cast<uint16_t>(length);
  std::memcpy(entry, &ino, 8);
  std::memcpy(entry + 8, &next, 8);
  std::memcpy(entry + 16, &length16, 2);
  entry[layout_ == Layout::k64 ? 18 : length - 1] = std::byte{type};
  std::memcpy(entry + name_at, name.data(), name.size());
  return true;
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string joined;
  for (const std::string& name : names) {
    joined += name;
    joined += '\0';
  }
  return joined;
}

dev_t DecodeDevice(uint32_t encoded) {
  return makedev((encoded & 0xfff00) >> 8, (encoded & 0xff) | ((encoded >> 12) & 0xfff00));
}

}  // namespace usl::syscalls
