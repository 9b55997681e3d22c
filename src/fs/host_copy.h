// Copying the data of a host file.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace usl::fs {

// Shares the whole of `from` with the empty file `to` (FICLONE). EOPNOTSUPP, EXDEV or EINVAL where the host cannot.
Result<void> CloneData(int from, int to);
// Copies `size` bytes with copy_file_range(2), else sendfile(2), else read and write; holes stay holes. ENOSPC, EDQUOT,
// EFBIG, EIO... as the host says. May take long.
Result<void> CopyData(int from, int to, uint64_t size);

}  // namespace usl::fs
