// Packing a guest's tree, as its layers show it together, into a tar archive.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "manager/archive_reader.h"
#include "vfs/file_system.h"

namespace usl::manager {

enum class Compression { kNone, kGzip, kXz, kZstd };

// "none", "gzip", "xz", "zstd" and wsl.exe's "tar", "tar.gz", "tar.xz", "tar.zst".
std::optional<Compression> CompressionByName(const std::string& name);
// By the end of a file's name; kNone when it says nothing.
Compression CompressionOf(const std::string& path);

struct PackOptions {
  std::string what;  // the output's name in messages
  Compression compression = Compression::kNone;
  ArchiveCallback progress;
};

struct PackedArchive {
  uint64_t files = 0;
  uint64_t sockets = 0;  // left out, as tar has none
};

// Writes a pax archive of everything in `tree` to `fd`: owners and groups by number, modes, extended attributes, ACLs,
// modification times in nanoseconds, hard links, devices, holes. Members are sorted by name, so a tree makes the same
// archive each time. ECANCELED; errors of reading and writing (EPIPE included). `why` has a line for people.
Result<PackedArchive> PackTree(vfs::FileSystem& tree, int fd, const PackOptions& options, std::string* why);

}  // namespace usl::manager
