// A key of the instance (keyrings(7)): a value with an owner and a permission mask, or a keyring, which links to
// others. The host's keys are never involved. Guarded by the kernel lock.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace usl::keys {

enum class KeyType { kUser, kLogon, kKeyring, kBigKey };

// One octet of the permission mask, here those of others; possessor's, owner's and group's stand 24, 16 and 8 bits
// above.
inline constexpr uint32_t kView = 0x01, kRead = 0x02, kWrite = 0x04, kSearch = 0x08, kLink = 0x10,
                          kSetAttributes = 0x20, kAll = 0x3f;
inline constexpr unsigned kPossessor = 24, kOwner = 16, kGroup = 8;

class Key;
using KeyRef = std::shared_ptr<Key>;

class KeyRegistry;

class Key {
 public:
  // Made by KeyRegistry only, which counts its quota.
  Key(KeyRegistry& registry, int32_t number, KeyType key_type, std::string text)
      : serial(number), type(key_type), description(std::move(text)), registry_(registry) {}
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key();

  bool IsKeyring() const { return type == KeyType::kKeyring; }

  const int32_t serial;
  const KeyType type;
  const std::string description;
  uid_t uid = 0;
  gid_t gid = 0;
  uint32_t permissions = 0;
  bool in_quota = true;
  bool is_user_keyring = false;  // _uid.N or _uid_ses.N
  bool restricted = false;       // a keyring that takes no links any more
  bool revoked = false;
  bool invalidated = false;
  int64_t expires = 0;     // seconds of CLOCK_REALTIME; 0 = never
  int64_t revoked_at = 0;  // the same
  std::string payload;
  std::vector<KeyRef> links;  // of a keyring
  size_t quota_bytes = 0;     // what it counts for now

 private:
  KeyRegistry& registry_;
};

const char* TypeName(KeyType type);

}  // namespace usl::keys
