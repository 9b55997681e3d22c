// All keys of the instance by their serial numbers, and what each user's count for. Keys live as long as somebody holds
// a reference: a keyring that links them or a task's credentials. Guarded by the kernel lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "keys/key.h"

namespace usl::keys {

// kernel.keys.maxkeys and its like (keyrings(7)).
inline constexpr size_t kMaxKeys = 200, kMaxBytes = 20000, kRootMaxKeys = 1000000, kRootMaxBytes = 25000000;
// Of the whole instance, whoever's they are: a guest root with many users must not fill the kernel process's memory.
inline constexpr size_t kInstanceMaxKeys = 100000, kInstanceMaxBytes = 64 << 20;
// After so many seconds a dead key's links go (kernel.keys.gc_delay).
inline constexpr int64_t kGarbageDelay = 300;

struct UserUsage {
  size_t keys = 0;                         // all of the user's
  size_t quota_keys = 0, quota_bytes = 0;  // those that count
};

enum class Quota { kCounts, kMayOverrun };

class KeyRegistry {
 public:
  KeyRegistry() = default;
  KeyRegistry(const KeyRegistry&) = delete;
  KeyRegistry& operator=(const KeyRegistry&) = delete;

  // A new key with no payload. EDQUOT; ENOMEM beyond the instance's limits.
  Result<KeyRef> Make(KeyType type, const std::string& description, uid_t uid, gid_t gid, uint32_t permissions,
                      Quota quota);
  // Null: there is none.
  KeyRef Find(int32_t serial) const;
  // Makes `bytes` of content count for the key instead of what did before. EDQUOT, ENOMEM.
  Result<void> Reserve(Key& key, size_t bytes);
  // Gives the key to another user, whose quota it counts in from now on. EDQUOT.
  Result<void> ChangeOwner(Key& key, uid_t uid);

  // Living keys by their numbers.
  std::vector<KeyRef> List() const;
  const std::map<uid_t, UserUsage>& users() const { return users_; }

 private:
  friend class Key;
  void Forget(Key& key);
  static size_t MaxKeys(uid_t uid) { return uid == 0 ? kRootMaxKeys : kMaxKeys; }
  static size_t MaxBytes(uid_t uid) { return uid == 0 ? kRootMaxBytes : kMaxBytes; }

  std::map<int32_t, std::weak_ptr<Key>> keys_;
  std::map<uid_t, UserUsage> users_;
  size_t bytes_ = 0;
  // What dying keyrings linked: let go one after the other, as a long chain of keyrings would take all of the stack.
  std::vector<KeyRef> dying_;
  bool draining_ = false;
};

}  // namespace usl::keys
