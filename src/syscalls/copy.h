// Making the structures that calls copy out. Pure, so that they are tested without a guest.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vfs/attributes.h"
#include "vfs/file_system.h"

namespace usl::syscalls {

// struct stat of x86-64 (stat(2)); all padding is zero. `device` is the number of the file's file system.
struct stat MakeStat(const vfs::Attributes& attributes, dev_t device);

struct StatxPlace {
  dev_t device = 0;
  uint64_t mount_id = 0;  // 0 = not known
  uint64_t unique_mount_id = 0;
  bool is_mount_root = false;
};
// struct statx (statx(2)). `requested` is the caller's mask; all basic members are always given, as Linux does.
struct statx MakeStatx(const vfs::Attributes& attributes, const StatxPlace& place, unsigned requested);

// Packs directory entries into the layouts of getdents(2) and getdents64(2).
class DirentPacker : public vfs::DirectorySink {
 public:
  enum class Layout { kOld, k64 };
  // `capacity`: bytes of the caller's buffer.
  DirentPacker(Layout layout, size_t capacity) : layout_(layout), capacity_(capacity) {}

  bool Add(std::string_view name, uint64_t ino, unsigned char type, int64_t next) override;

  const std::vector<std::byte>& bytes() const { return bytes_; }
  // Not even the first entry fitted: getdents fails with EINVAL.
  bool IsTooSmall() const { return overflow_ && bytes_.empty(); }

 private:
  Layout layout_;
  size_t capacity_;
  std::vector<std::byte> bytes_;
  bool overflow_ = false;
};

// The value of listxattr(2): each name with its NUL.
std::string JoinNames(const std::vector<std::string>& names);

// A device number as mknod(2) and ustat-like calls carry it in 32 bits, as the C library's dev_t.
dev_t DecodeDevice(uint32_t encoded);

}  // namespace usl::syscalls
