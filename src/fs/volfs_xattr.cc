// Extended attributes. The guest's user.* ones are the host file's; the other name spaces, which the host user may not
// set, are in the record.
#include <linux/limits.h>
#include <sys/xattr.h>

#include <algorithm>
#include <optional>

#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

constexpr std::string_view kOwn = XattrStore::kName;

bool IsUser(std::string_view name) {
  return name.starts_with("user.");
}

// "user.usl" is ours, so the guest's attribute of that name is stored as "user.usl_", that one as "user.usl__", and so
// on.
bool IsEscaped(std::string_view name) {
  return name.starts_with(kOwn) && name.find_first_not_of('_', kOwn.size()) == name.npos;
}

std::string HostName(std::string_view name) {
  std::string host(name);
  if (IsEscaped(name)) host += '_';
  return host;
}

Result<void> CheckName(std::string_view name) {
  if (name.size() > XATTR_NAME_MAX) return Fail(ERANGE);
  for (std::string_view space : {"user.", "security.", "trusted."}) {
    if (name.starts_with(space)) return name.size() > space.size() ? Result<void>{} : Fail(EINVAL);
  }
  if (name == "system.posix_acl_access" || name == "system.posix_acl_default") return {};
  return Fail(EOPNOTSUPP);
}

// "0" or "1".
std::optional<char> CaseMark(std::span<const std::byte> value) {
  const char mark = value.size() == 1 ? static_cast<char>(value.front()) : '\0';
  return mark == '0' || mark == '1' ? std::optional(mark) : std::nullopt;
}

// The host's attributes that a layer with the host's owners passes on, beside user.*.
bool IsPassedOn(std::string_view name) {
  return name == "security.capability" || name.starts_with("system.posix_acl_");
}

}  // namespace

bool VolInode::HasAcl() {
  return record_ && (record_->FindXattr("system.posix_acl_access") || record_->FindXattr("system.posix_acl_default"));
}

bool VolInode::HasCaseMark(std::string_view name) const {
  return name == kCaseXattr && volfs_.options_.name_case == NameCase::kDir && IsDirectory();
}

Result<std::vector<std::byte>> VolInode::GetXattr(std::string_view name) {
  if (HasCaseMark(name)) {
    return std::vector<std::byte>{std::byte{USL_TRY(FoldsCase()) ? '0' : '1'}};
  }
  USL_TRY_VOID(CheckName(name));
  bool by_record = !IsUser(name) || (layer_->store().KeepsUserXattrs());
  if (by_record && layer_->UsesRecords()) {
    const std::vector<std::byte>* value = record_ ? record_->FindXattr(name) : nullptr;
    if (!value) return Fail(ENODATA);
    return *value;
  }
  if (!S_ISREG(host_mode_) && !S_ISDIR(host_mode_)) return Fail(ENODATA);
  if (IsUser(name) && !IsRegular() && !IsDirectory()) return Fail(ENODATA);
  if (!IsUser(name) && !(layer_->owners() == Owners::kHost && IsPassedOn(name))) return Fail(ENODATA);
  Resolved at = USL_TRY(Resolve());
  return GetHostXattr(at.place, HostName(name).c_str());
}

Result<void> VolInode::SetXattr(std::string_view name, std::span<const std::byte> value, int flags) {
  const Announcement announcement(*this, IsDirectory());
  if (HasCaseMark(name)) {
    if (!CaseMark(value)) return Fail(EINVAL);
    Ref<OpenDirectory> open = USL_TRY(OpenUpper());
    return SetHostXattr({open->fd(), ""}, kCaseMark, value, 0);
  }
  USL_TRY_VOID(CheckName(name));
  if (value.size() > XATTR_SIZE_MAX) return Fail(E2BIG);
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return Fail(EINVAL);
  if (IsUser(name) && !IsRegular() && !IsDirectory()) return Fail(EPERM);
  USL_TRY_VOID(CopyUp());
  if (IsUser(name) && !layer_->store().KeepsUserXattrs()) {
    std::string host = HostName(name);
    if (host.size() > XATTR_NAME_MAX) return Fail(ERANGE);
    Resolved at = USL_TRY(Resolve());
    return SetHostXattr(at.place, host.c_str(), value, flags);
  }
  if (!layer_->UsesRecords()) return Fail(EOPNOTSUPP);
  if (!S_ISREG(host_mode_) && !S_ISDIR(host_mode_)) {
    // A host symlink has no record; a stand-in has.
    if (!S_ISLNK(host_mode_)) return Fail(EPERM);
    USL_TRY_VOID(ReplaceSymlink(owner_));
  }
  AttributeRecord record = record_ ? *record_ : AttributeRecord{};
  bool exists = record.FindXattr(name) != nullptr;
  if ((flags & XATTR_CREATE) && exists) return Fail(EEXIST);
  if ((flags & XATTR_REPLACE) && !exists) return Fail(ENODATA);
  record.PutXattr(name, value);
  return SaveRecord(std::move(record));
}

Result<void> VolInode::RemoveXattr(std::string_view name) {
  const Announcement announcement(*this, IsDirectory());
  USL_TRY_VOID(CheckName(name));
  USL_TRY_VOID(CopyUp());
  if (IsUser(name) && !layer_->store().KeepsUserXattrs()) {
    if (!IsRegular() && !IsDirectory()) return Fail(EPERM);
    Resolved at = USL_TRY(Resolve());
    return RemoveHostXattr(at.place, HostName(name).c_str());
  }
  if (!layer_->UsesRecords()) return Fail(EOPNOTSUPP);
  AttributeRecord record = record_ ? *record_ : AttributeRecord{};
  if (!record.DropXattr(name)) return Fail(ENODATA);
  return SaveRecord(std::move(record));
}

Result<std::vector<std::string>> VolInode::ListXattr() {
  std::vector<std::string> names;
  if (record_) {
    for (const auto& [name, value] : record_->xattrs) names.push_back(name);
  }
  if (layer_->store().KeepsUserXattrs() || (!IsRegular() && !IsDirectory())) return names;
  Resolved at = USL_TRY(Resolve());
  auto host = ListHostXattr(at.place);
  if (!host) return host.error().code() == EOPNOTSUPP ? Result<std::vector<std::string>>(names) : Fail(host.error());
  for (const std::string& name : *host) {
    if (name == kOwn || (volfs_.options_.live && name == kCaseMark)) continue;
    if (IsUser(name)) {
      names.push_back(IsEscaped(name) ? name.substr(0, name.size() - 1) : name);
    } else if (layer_->owners() == Owners::kHost && IsPassedOn(name)) {
      names.push_back(name);
    }
  }
  return names;
}

}  // namespace usl::fs
