#include "manager/archive_acl.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>

namespace usl::manager {
namespace {

using vfs::PosixAcl;

struct TagPair {
  int archive;
  uint16_t linux_tag;
};
constexpr TagPair kTags[] = {
    {ARCHIVE_ENTRY_ACL_USER_OBJ, PosixAcl::kUserObj},   {ARCHIVE_ENTRY_ACL_USER, PosixAcl::kUser},
    {ARCHIVE_ENTRY_ACL_GROUP_OBJ, PosixAcl::kGroupObj}, {ARCHIVE_ENTRY_ACL_GROUP, PosixAcl::kGroup},
    {ARCHIVE_ENTRY_ACL_MASK, PosixAcl::kMask},          {ARCHIVE_ENTRY_ACL_OTHER, PosixAcl::kOther},
};

// GNU tar writes numbers as names, without the field for the number.
std::optional<uint32_t> IdOf(int qualifier, const char* name) {
  if (qualifier >= 0) return static_cast<uint32_t>(qualifier);
  const std::string_view text = name ? name : "";
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

}  // namespace

std::optional<PosixAcl> AclFromEntry(archive_entry* entry, int type) {
  std::vector<PosixAcl::Entry> entries;
  if (archive_entry_acl_reset(entry, type) == 0) return std::nullopt;
  int entry_type, permissions, tag, qualifier;
  const char* name;
  while (archive_entry_acl_next(entry, type, &entry_type, &permissions, &tag, &qualifier, &name) == 0) {
    const auto* pair = std::ranges::find(kTags, tag, &TagPair::archive);
    if (pair == std::end(kTags)) continue;
    const bool is_named = pair->linux_tag == PosixAcl::kUser || pair->linux_tag == PosixAcl::kGroup;
    const auto id = is_named ? IdOf(qualifier, name) : std::optional(~uint32_t{0});
    if (id) entries.push_back({pair->linux_tag, static_cast<uint16_t>(permissions & 7), *id});
  }
  std::ranges::sort(entries, {}, [](const PosixAcl::Entry& each) { return std::pair(each.tag, each.id); });
  std::vector<std::byte> value(4 + entries.size() * sizeof(PosixAcl::Entry));
  constexpr uint32_t kVersion = 2;  // POSIX_ACL_XATTR_VERSION
  memcpy(value.data(), &kVersion, sizeof kVersion);
  if (!entries.empty()) memcpy(value.data() + 4, entries.data(), entries.size() * sizeof(PosixAcl::Entry));
  auto acl = PosixAcl::Parse(value);
  if (!acl || acl->empty()) return std::nullopt;
  if (type == ARCHIVE_ENTRY_ACL_TYPE_ACCESS && acl->EquivalentMode()) return std::nullopt;
  return std::move(*acl);
}

void AclToEntry(std::span<const std::byte> value, int type, archive_entry* entry) {
  const auto acl = PosixAcl::Parse(value);
  if (!acl) return;
  for (const PosixAcl::Entry& each : acl->entries()) {
    const auto* pair = std::ranges::find(kTags, each.tag, &TagPair::linux_tag);
    const bool is_named = each.tag == PosixAcl::kUser || each.tag == PosixAcl::kGroup;
    const std::string name = is_named ? std::to_string(each.id) : "";
    archive_entry_acl_add_entry(entry, type, each.permissions, pair->archive, is_named ? static_cast<int>(each.id) : -1,
                                name.c_str());
  }
}

}  // namespace usl::manager
