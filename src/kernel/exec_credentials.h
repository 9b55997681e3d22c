// What an exec makes of credentials (execve(2), capabilities(7) "Transformation of capabilities during execve()").
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "cred/credentials.h"
#include "vfs/attributes.h"

namespace usl::kernel {

// The content of security.capability (struct vfs_cap_data), decoded.
struct FileCapabilities {
  cred::CapabilitySet permitted = 0;
  cred::CapabilitySet inheritable = 0;
  bool effective = false;
};

// EINVAL for what is not a revision 1 to 3 structure.
Result<FileCapabilities> ParseFileCapabilities(std::span<const std::byte> value);

struct ExecCredentials {
  cred::Credentials credentials;
  bool secure = false;      // AT_SECURE
  bool privileged = false;  // ids or capabilities were gained: not dumpable
};

// `allow_set_id` is false on nosuid mounts, under no_new_privs and while traced by somebody without CAP_SYS_PTRACE.
// EPERM when the file's capabilities cannot all be given (effective bit, not in the bounding set).
Result<ExecCredentials> CredentialsAfterExec(const cred::Credentials& before, const vfs::Attributes& file,
                                             const std::optional<FileCapabilities>& file_capabilities,
                                             bool allow_set_id);

}  // namespace usl::kernel
