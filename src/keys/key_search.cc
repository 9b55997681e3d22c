#include "keys/key_search.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "keys/key_registry.h"

namespace usl::keys {
namespace {

// One search. Keyrings may link each other in many ways: each is looked at again only when it is reached on a shorter
// way (whose limit of depth lets it reach further), so that nobody keeps the kernel busy with a thicket of keyrings.
class Searcher {
 public:
  Searcher(const cred::Credentials& credentials, const KeyQuery& query, bool possessed)
      : credentials_(credentials), query_(query), possessed_(possessed) {}

  Result<FoundKey> Run(const KeyRef& root) {
    if (query_.exact ? root.get() == query_.exact : Matches(*root)) {
      if (auto found = Examine(root)) return *found;
      if (!query_.exact) return Fail(error_);
    }
    if (auto found = Visit(*root, 0)) return *found;
    return Fail(error_);
  }

 private:
  bool Matches(const Key& key) const {
    if (query_.exact) return &key == query_.exact;
    return key.type == query_.type && key.description == query_.description;
  }

  // keyring_search_iterator() of Linux.
  std::optional<FoundKey> Examine(const KeyRef& key) {
    if (!Matches(*key)) return std::nullopt;
    if (!query_.exact) {
      if (key->invalidated || key->revoked) return Refuse(EKEYREVOKED);
      if (key->expires != 0 && query_.now >= key->expires) return Refuse(EKEYEXPIRED);
    }
    const FoundKey found{key, possessed_};
    if (!CheckPermission(found, credentials_, kSearch)) return Refuse(EACCES);
    return found;
  }

  std::nullopt_t Refuse(int error) {
    error_ = error;
    return std::nullopt;
  }

  std::optional<FoundKey> Visit(Key& keyring, int depth) {
    if (keyring.revoked || keyring.invalidated) return std::nullopt;
    const auto [seen, is_new] = depths_.try_emplace(&keyring, depth);
    if (!is_new && seen->second <= depth) return std::nullopt;
    seen->second = depth;
    DropDeadLinks(keyring, query_.now);
    for (const KeyRef& link : keyring.links) {
      if (auto found = Examine(link)) return found;
    }
    if (depth + 1 >= kMaxDepth) return std::nullopt;
    for (const KeyRef& link : keyring.links) {
      if (!link->IsKeyring() || !CheckPermission({link, possessed_}, credentials_, kSearch)) continue;
      if (auto found = Visit(*link, depth + 1)) return found;
    }
    return std::nullopt;
  }

  const cred::Credentials& credentials_;
  const KeyQuery& query_;
  const bool possessed_;
  int error_ = EAGAIN;
  std::unordered_map<const Key*, int> depths_;
};

class CycleCheck {
 public:
  explicit CycleCheck(const Key& keyring) : keyring_(keyring) {}
  Result<void> Visit(const Key& key, int depth) {
    if (&key == &keyring_) return Fail(EDEADLK);
    if (depth >= kMaxDepth) return Fail(ELOOP);
    const auto [seen, is_new] = depths_.try_emplace(&key, depth);
    if (!is_new && seen->second >= depth) return {};
    seen->second = depth;
    for (const KeyRef& link : key.links) {
      if (link->IsKeyring()) USL_TRY_VOID(Visit(*link, depth + 1));
    }
    return {};
  }

 private:
  const Key& keyring_;
  std::unordered_map<const Key*, int> depths_;
};

}  // namespace

Result<void> CheckPermission(const FoundKey& found, const cred::Credentials& credentials, uint32_t wanted) {
  const Key& key = *found.key;
  uint32_t granted = key.permissions;
  if (key.uid == credentials.fsuid) {
    granted >>= kOwner;
  } else if (key.gid != static_cast<gid_t>(-1) && ((key.permissions >> kGroup) & kAll) &&
             credentials.InGroup(key.gid)) {
    granted >>= kGroup;
  }
  if (found.possessed) granted |= key.permissions >> kPossessor;
  if ((granted & wanted) != wanted) return Fail(EACCES);
  return {};
}

Result<void> Validate(const Key& key, int64_t now) {
  if (key.invalidated) return Fail(ENOKEY);
  if (key.revoked) return Fail(EKEYREVOKED);
  if (key.expires != 0 && now >= key.expires) return Fail(EKEYEXPIRED);
  return {};
}

void DropDeadLinks(Key& keyring, int64_t now) {
  std::erase_if(keyring.links, [now](const KeyRef& key) {
    return key->invalidated || (key->revoked && now >= key->revoked_at + kGarbageDelay) ||
           (key->expires != 0 && now >= key->expires + kGarbageDelay);
  });
}

Result<FoundKey> Search(const FoundKey& keyring, const cred::Credentials& credentials, const KeyQuery& query) {
  if (!keyring.key->IsKeyring()) return Fail(ENOTDIR);
  USL_TRY_VOID(CheckPermission(keyring, credentials, kSearch));
  return Searcher(credentials, query, keyring.possessed).Run(keyring.key);
}

Result<void> CheckCycle(const Key& keyring, const Key& key) {
  return CycleCheck(keyring).Visit(key, 0);
}

std::vector<KeyRef>::iterator FindLink(Key& keyring, KeyType type, std::string_view description) {
  return std::ranges::find_if(keyring.links,
                              [&](const KeyRef& key) { return key->type == type && key->description == description; });
}

}  // namespace usl::keys
