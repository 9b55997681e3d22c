// Unpacking tar archives into trees in VolFs's format.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace usl::manager {

struct ArchiveProgress {
  uint64_t done = 0;   // bytes of the (compressed) input; of what is written, when an archive is made
  uint64_t total = 0;  // 0: not known
  uint64_t files = 0;
};
// Called every few hundred kilobytes and files. False ends the work (ECANCELED).
using ArchiveCallback = std::function<bool(const ArchiveProgress&)>;

struct ExtractOptions {
  std::string what;        // the archive's name in messages
  bool whiteouts = false;  // ".wh.NAME" and ".wh..wh..opq" are those of OCI layers, not names
  ArchiveCallback progress;
};

struct ExtractedArchive {
  std::string sha256;  // of the uncompressed archive
  uint64_t files = 0;
  uint64_t size = 0;           // bytes, uncompressed
  uint64_t skipped = 0;        // sockets and other things that tar does not define
  bool has_whiteouts = false;  // a name begins with ".wh.": what was unpacked depends on ExtractOptions::whiteouts
};

// Reads a tar archive (ustar, pax, GNU; plain or by gzip, bzip2, xz, zstd), from where `fd` stands to its end, into the
// empty directory `tree`. Everything in the archive is hostile: it makes files in the tree only. EBADMSG: no archive,
// damaged or truncated; EINVAL, EPERM: a name or attribute that cannot be; ECANCELED; errors of reading and writing.
// `why` has a line for people. What was made till then stays, for the caller to remove.
Result<ExtractedArchive> ExtractArchive(int fd, const std::string& tree, const ExtractOptions& options,
                                        std::string* why);

}  // namespace usl::manager
