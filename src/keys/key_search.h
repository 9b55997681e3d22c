// Who may do what with a key, and finding keys in trees of keyrings (keyrings(7), "Search"). Pure but for the clean-up
// of dead links. Guarded by the kernel lock.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "cred/credentials.h"
#include "keys/key.h"

namespace usl::keys {

// Keyrings nested deeper are not looked at, and not linked (KEYRING_SEARCH_MAX_DEPTH of Linux).
inline constexpr int kMaxDepth = 6;

// A key and whether the caller possesses it: whether it was reached from the caller's own keyrings.
struct FoundKey {
  KeyRef key;
  bool possessed = false;
};

// Does the mask grant all of `wanted` (kView...)? EACCES.
Result<void> CheckPermission(const FoundKey& found, const cred::Credentials& credentials, uint32_t wanted);
// ENOKEY for an invalidated key, EKEYREVOKED, EKEYEXPIRED. `now` in seconds.
Result<void> Validate(const Key& key, int64_t now);
// Takes the links out that lead to keys which have been dead for long enough.
void DropDeadLinks(Key& keyring, int64_t now);

// What is searched for.
struct KeyQuery {
  KeyType type = KeyType::kUser;
  std::string_view description;
  const Key* exact = nullptr;  // this very key, whatever state it is in; then type and description do not matter
  int64_t now = 0;
};
// Searches a keyring and what it links, its own keys first. ENOTDIR; EACCES without search permission for `keyring`;
// EAGAIN when there is none, or what the last match that could not be used says: EKEYREVOKED, EKEYEXPIRED, EACCES.
Result<FoundKey> Search(const FoundKey& keyring, const cred::Credentials& credentials, const KeyQuery& query);

// Would a link to `key` in `keyring` close a circle (EDEADLK) or nest too deep (ELOOP)?
Result<void> CheckCycle(const Key& keyring, const Key& key);

// The link in `keyring` to a key of this type and description, or links.end().
std::vector<KeyRef>::iterator FindLink(Key& keyring, KeyType type, std::string_view description);

}  // namespace usl::keys
