// What a file is, as the guest sees it: statx(2)'s content without the device number, which the mount gives.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <cstdint>
#include <optional>

namespace usl::vfs {

struct Attributes {
  uint64_t ino = 0;
  uint32_t mode = 0;  // S_IFMT and the twelve permission bits
  uid_t uid = 0;
  gid_t gid = 0;
  uint32_t nlink = 1;
  uint64_t size = 0;
  uint64_t blocks = 0;  // 512-byte units
  uint32_t block_size = 4096;
  dev_t rdev = 0;  // of device nodes
  timespec atime{}, mtime{}, ctime{}, btime{};
  bool has_btime = false;
  uint64_t statx_attributes = 0;  // STATX_ATTR_*
  uint64_t statx_attributes_mask = 0;
};

// A change to a file's attributes; absent members stay. Permission is checked before, by Vfs.
struct AttributeChange {
  std::optional<uint32_t> mode;  // the twelve permission bits
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<uint64_t> size;          // truncate(2)
  std::optional<timespec> atime, mtime;  // tv_nsec may be UTIME_NOW
};

}  // namespace usl::vfs
