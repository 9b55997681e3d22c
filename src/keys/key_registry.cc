#include "keys/key_registry.h"

#include <sys/random.h>

#include <utility>

namespace usl::keys {
namespace {

// What Linux counts besides the payload: the description with its NUL.
size_t OwnBytes(const Key& key) {
  return key.description.size() + 1;
}

int32_t RandomSerial() {
  uint32_t value = 0;
  while (getrandom(&value, sizeof value, 0) != sizeof value) {
  }
  return static_cast<int32_t>(value >> 1);
}

}  // namespace

const char* TypeName(KeyType type) {
  switch (type) {
    case KeyType::kUser: return "user";
    case KeyType::kLogon: return "logon";
    case KeyType::kKeyring: return "keyring";
    case KeyType::kBigKey: return "big_key";
  }
  return "";
}

Key::~Key() {
  registry_.Forget(*this);
}

Result<KeyRef> KeyRegistry::Make(KeyType type, const std::string& description, uid_t uid, gid_t gid,
                                 uint32_t permissions, Quota quota) {
  const size_t bytes = description.size() + 1;
  if (keys_.size() >= kInstanceMaxKeys || bytes_ + bytes > kInstanceMaxBytes) return Fail(ENOMEM);
  const auto known = users_.find(uid);
  const UserUsage usage = known == users_.end() ? UserUsage{} : known->second;
  if (quota == Quota::kCounts && (usage.quota_keys + 1 > MaxKeys(uid) || usage.quota_bytes + bytes > MaxBytes(uid))) {
    return Fail(EDQUOT);
  }
  int32_t serial = RandomSerial();
  while (serial < 3 || keys_.contains(serial)) serial = RandomSerial();
  auto key = std::make_shared<Key>(*this, serial, type, description);
  key->uid = uid;
  key->gid = gid;
  key->permissions = permissions;
  key->quota_bytes = bytes;
  keys_.emplace(serial, key);
  UserUsage& user = users_[uid];
  ++user.keys;
  ++user.quota_keys;
  user.quota_bytes += bytes;
  bytes_ += bytes;
  return key;
}

KeyRef KeyRegistry::Find(int32_t serial) const {
  const auto found = keys_.find(serial);
  return found == keys_.end() ? nullptr : found->second.lock();
}

Result<void> KeyRegistry::Reserve(Key& key, size_t bytes) {
  const size_t total = OwnBytes(key) + bytes;
  UserUsage& user = users_[key.uid];
  if (total > key.quota_bytes) {
    const size_t more = total - key.quota_bytes;
    if (user.quota_bytes + more > MaxBytes(key.uid)) return Fail(EDQUOT);
    if (bytes_ + more > kInstanceMaxBytes) return Fail(ENOMEM);
  }
  user.quota_bytes = user.quota_bytes - key.quota_bytes + total;
  bytes_ = bytes_ - key.quota_bytes + total;
  key.quota_bytes = total;
  return {};
}

Result<void> KeyRegistry::ChangeOwner(Key& key, uid_t uid) {
  if (uid == key.uid) return {};
  UserUsage& next = users_[uid];
  if (next.quota_keys + 1 > MaxKeys(uid) || next.quota_bytes + key.quota_bytes > MaxBytes(uid)) {
    if (next.keys == 0) users_.erase(uid);
    return Fail(EDQUOT);
  }
  ++next.keys;
  ++next.quota_keys;
  next.quota_bytes += key.quota_bytes;
  UserUsage& before = users_[key.uid];
  --before.keys;
  --before.quota_keys;
  before.quota_bytes -= key.quota_bytes;
  if (before.keys == 0) users_.erase(key.uid);
  key.uid = uid;
  return {};
}

std::vector<KeyRef> KeyRegistry::List() const {
  std::vector<KeyRef> list;
  for (const auto& [serial, weak] : keys_) {
    if (KeyRef key = weak.lock()) list.push_back(std::move(key));
  }
  return list;
}

void KeyRegistry::Forget(Key& key) {
  keys_.erase(key.serial);
  if (const auto user = users_.find(key.uid); user != users_.end()) {
    --user->second.keys;
    --user->second.quota_keys;
    user->second.quota_bytes -= key.quota_bytes;
    if (user->second.keys == 0) users_.erase(user);
  }
  bytes_ -= key.quota_bytes;
  for (KeyRef& link : key.links) dying_.push_back(std::move(link));
  if (draining_) return;
  draining_ = true;
  while (!dying_.empty()) {
    KeyRef next = std::move(dying_.back());
    dying_.pop_back();
    next.reset();
  }
  draining_ = false;
}

}  // namespace usl::keys
