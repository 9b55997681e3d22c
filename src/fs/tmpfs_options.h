// The options that mount(2) of a tmpfs takes (tmpfs(5)). Pure.
#pragma once

#include <string_view>

#include "base/result.h"
#include "fs/tmpfs.h"

namespace usl::fs {

// "size=64m,nr_inodes=1k,mode=0755,uid=0,gid=0". A size of 0 means no limit. Options of memory policy are accepted and
// mean nothing. EINVAL for unknown options and malformed values.
// What is not named stays as in `options`.
Result<TmpFsOptions> ParseTmpFsOptions(std::string_view text, TmpFsOptions options = {});
// Does tmpfs know one option, "size=64m"? ENOENT for an unknown name, EINVAL for a wrong value.
Result<void> CheckTmpFsOption(std::string_view option);

}  // namespace usl::fs
