// /proc/keys and /proc/key-users, in the form of Linux's security/keys/proc.c.
#include "base/format.h"
#include "keys/key_service.h"

namespace usl::keys {
namespace {

std::string TimeLeft(const Key& key, int64_t now) {
  if (key.expires == 0) return "perm";
  if (now >= key.expires) return "expd";
  const int64_t left = key.expires - now;
  if (left < 60) return format("{}s", left);
  if (left < 60 * 60) return format("{}m", left / 60);
  if (left < 60 * 60 * 24) return format("{}h", left / (60 * 60));
  if (left < 60 * 60 * 24 * 7) return format("{}d", left / (60 * 60 * 24));
  return format("{}w", left / (60 * 60 * 24 * 7));
}

std::string Content(const Key& key) {
  std::string text = key.description.empty() ? "[anon]" : key.description;
  if (key.IsKeyring()) return text + (key.links.empty() ? ": empty" : format(": {}", key.links.size()));
  text += format(": {}", key.payload.size());
  return key.type == KeyType::kBigKey ? text + " [buff]" : text;
}

}  // namespace

std::string KeyService::DescribeKeys(const cred::Credentials& credentials) {
  std::string out;
  for (const KeyRef& key : registry_.List()) {
    const FoundKey found{key, IsPossessed(credentials, *key)};
    if (!CheckPermission(found, credentials, kView)) continue;
    const gid_t gid = key->gid == static_cast<gid_t>(-1) ? 65534 : key->gid;
    // The list itself and `found` hold it too.
    const long users = key.use_count() - 2;
    out += format("{:08x} I{}-{}--{} {:5} {:>4} {:08x} {:5} {:5} {:<9.9} {}\n", key->serial, key->revoked ? 'R' : '-',
                  key->in_quota ? 'Q' : '-', key->invalidated ? 'i' : '-', users, TimeLeft(*key, now()),
                  key->permissions, key->uid, gid, std::string_view(TypeName(key->type)), Content(*key));
  }
  return out;
}

std::string KeyService::DescribeUsers() const {
  std::string out;
  for (const auto& [uid, usage] : registry_.users()) {
    out += format("{:5}: {:5} {}/{} {}/{} {}/{}\n", uid, usage.keys + 1, usage.keys, usage.keys, usage.quota_keys,
                  uid == 0 ? kRootMaxKeys : kMaxKeys, usage.quota_bytes, uid == 0 ? kRootMaxBytes : kMaxBytes);
  }
  return out;
}

}  // namespace usl::keys
