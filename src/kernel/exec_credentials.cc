#include "kernel/exec_credentials.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/stat.h>

namespace usl::kernel {

Result<FileCapabilities> ParseFileCapabilities(std::span<const std::byte> value) {
  uint32_t words[6] = {};
  if (value.size() > sizeof words || value.size() < XATTR_CAPS_SZ_1) return Fail(EINVAL);
  memcpy(words, value.data(), value.size());
  uint32_t revision = words[0] & VFS_CAP_REVISION_MASK;
  size_t sets = 2;
  if (revision == VFS_CAP_REVISION_1 && value.size() == XATTR_CAPS_SZ_1) {
    sets = 1;
  } else if (!(revision == VFS_CAP_REVISION_2 && value.size() == XATTR_CAPS_SZ_2) &&
             !(revision == VFS_CAP_REVISION_3 && value.size() == XATTR_CAPS_SZ_3)) {
    return Fail(EINVAL);
  }
  FileCapabilities result;
  for (size_t i = 0; i < sets; ++i) {
    result.permitted |= static_cast<uint64_t>(words[1 + 2 * i]) << (32 * i);
    result.inheritable |= static_cast<uint64_t>(words[2 + 2 * i]) << (32 * i);
  }
  result.permitted &= cred::kAllCapabilities;
  result.inheritable &= cred::kAllCapabilities;
  result.effective = words[0] & VFS_CAP_FLAGS_EFFECTIVE;
  return result;
}

Result<ExecCredentials> CredentialsAfterExec(const cred::Credentials& before, const vfs::Attributes& file,
                                             const std::optional<FileCapabilities>& file_capabilities,
                                             bool allow_set_id) {
  ExecCredentials result{.credentials = before};
  cred::Credentials& after = result.credentials;
  after.keyrings.thread.reset();
  after.keyrings.process.reset();
  if (allow_set_id) {
    if (file.mode & S_ISUID) after.euid = file.uid;
    // Without group execute permission the set-group-id bit means mandatory locking, not identity.
    if ((file.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) after.egid = file.gid;
  }

  FileCapabilities from_file;
  bool has_file_capabilities = allow_set_id && file_capabilities.has_value();
  if (has_file_capabilities) from_file = *file_capabilities;
  bool effective_bit = from_file.effective;
  // Root's files count as having all capabilities, unless the securebits say no (capabilities(7), "Capabilities and
  // execution of programs by root").
  bool root_is_special = !(before.securebits & SECBIT_NOROOT);
  if (root_is_special && !(has_file_capabilities && before.uid != 0 && after.euid == 0)) {
    if (after.euid == 0 || before.uid == 0) {
      from_file.permitted = from_file.inheritable = cred::kAllCapabilities;
      if (after.euid == 0) effective_bit = true;
    }
  }

  bool id_changed = after.euid != before.euid || after.egid != before.egid;
  bool is_set_id = after.euid != before.uid || after.egid != before.gid;
  if (has_file_capabilities || is_set_id) after.ambient = 0;
  after.permitted =
      (from_file.permitted & before.bounding) | (from_file.inheritable & before.inheritable) | after.ambient;
  if (has_file_capabilities && file_capabilities->effective && (from_file.permitted & ~after.permitted) != 0) {
    return Fail(EPERM);
  }
  after.effective = effective_bit ? after.permitted : after.ambient;
  after.suid = after.fsuid = after.euid;
  after.sgid = after.fsgid = after.egid;
  after.securebits &= ~SECBIT_KEEP_CAPS;

  bool gained = (after.permitted & ~before.permitted) != 0;
  result.privileged = id_changed || (gained && before.uid != 0);
  result.secure = is_set_id || (before.uid != 0 && (effective_bit || (after.permitted & ~after.ambient) != 0));
  return result;
}

}  // namespace usl::kernel
