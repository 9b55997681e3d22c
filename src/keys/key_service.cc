#include "keys/key_service.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "base/format.h"

namespace usl::keys {
namespace {

constexpr uint32_t Possessor(uint32_t bits) {
  return bits << kPossessor;
}
constexpr uint32_t Owner(uint32_t bits) {
  return bits << kOwner;
}
constexpr size_t kMaxPayload = 32767, kMaxBigPayload = 1 << 20;
constexpr size_t kLinkBytes = 4, kBigKeyBytes = 16;  // KEYQUOTA_LINK_BYTES; what a big_key counts for
constexpr gid_t kNoGroup = static_cast<gid_t>(-1);

// The preparse functions of Linux's key types.
Result<void> CheckPayload(KeyType type, const std::string& payload) {
  switch (type) {
    case KeyType::kKeyring: return payload.empty() ? Result<void>() : Fail(EINVAL);
    case KeyType::kBigKey: return payload.empty() || payload.size() > kMaxBigPayload ? Fail(EINVAL) : Result<void>();
    default: return payload.empty() || payload.size() > kMaxPayload ? Fail(EINVAL) : Result<void>();
  }
}

// A logon key's description begins with a service's name and a colon.
bool IsDescriptionFine(KeyType type, std::string_view description) {
  if (type != KeyType::kLogon) return true;
  const size_t colon = description.find(':');
  return colon != std::string_view::npos && colon != 0;
}

uint32_t DefaultPermissions(KeyType type) {
  uint32_t possessor = kView | kSearch | kLink | kSetAttributes | kWrite;
  if (type != KeyType::kLogon) possessor |= kRead;
  return Possessor(possessor) | Owner(kView);
}

}  // namespace

KeyService::KeyService(std::function<int64_t()> now) : now_(std::move(now)) {
  if (!now_) now_ = [] { return static_cast<int64_t>(time(nullptr)); };
}

Result<KeyType> KeyService::TypeByName(std::string_view name) {
  for (const KeyType type : {KeyType::kUser, KeyType::kLogon, KeyType::kKeyring, KeyType::kBigKey}) {
    if (name == TypeName(type)) return type;
  }
  return Fail(ENODEV);
}

Result<void> KeyService::SetPayload(Key& key, std::string payload) {
  USL_TRY_VOID(registry_.Reserve(key, key.type == KeyType::kBigKey ? kBigKeyBytes : payload.size()));
  key.payload = std::move(payload);
  return {};
}

Result<void> KeyService::LinkKey(Key& keyring, const KeyRef& key) {
  if (!keyring.IsKeyring()) return Fail(ENOTDIR);
  if (keyring.revoked) return Fail(EKEYREVOKED);
  if (keyring.restricted) return Fail(EPERM);
  if (key->IsKeyring()) USL_TRY_VOID(CheckCycle(keyring, *key));
  DropDeadLinks(keyring, now());
  const auto same = FindLink(keyring, key->type, key->description);
  if (same != keyring.links.end()) {
    *same = key;  // the new one displaces the old
    return {};
  }
  USL_TRY_VOID(registry_.Reserve(keyring, (keyring.links.size() + 1) * kLinkBytes));
  keyring.links.push_back(key);
  return {};
}

Result<void> KeyService::UnlinkKey(Key& keyring, const Key& key) {
  const auto found = std::ranges::find(keyring.links, &key, &KeyRef::get);
  if (found == keyring.links.end()) return Fail(ENOENT);
  const KeyRef held = std::move(*found);  // its end may be that of others: not while the vector changes
  keyring.links.erase(found);
  return registry_.Reserve(keyring, keyring.links.size() * kLinkBytes);
}

Result<int32_t> KeyService::Add(Caller& caller, std::string_view type_name,
                                const std::optional<std::string>& description, std::string payload, int32_t ring) {
  const FoundKey keyring = USL_TRY(Lookup(caller, ring, kCreate, kWrite));
  const KeyType type = USL_TRY(TypeByName(type_name));
  if (!description) return Fail(EINVAL);
  if (!keyring.key->IsKeyring()) return Fail(ENOTDIR);
  USL_TRY_VOID(CheckPayload(type, payload));
  DropDeadLinks(*keyring.key, now());
  // An existing key is updated; a keyring is never: a new one displaces it.
  const auto same = FindLink(*keyring.key, type, *description);
  if (type != KeyType::kKeyring && same != keyring.key->links.end() && !(*same)->revoked) {
    const KeyRef key = *same;
    USL_TRY_VOID(CheckPermission({key, keyring.possessed}, caller.credentials, kWrite));
    USL_TRY_VOID(SetPayload(*key, std::move(payload)));
    key->expires = 0;
    return key->serial;
  }
  if (keyring.key->restricted) return Fail(EPERM);
  if (!IsDescriptionFine(type, *description)) return Fail(EINVAL);
  const KeyRef key = USL_TRY(registry_.Make(type, *description, caller.credentials.fsuid, caller.credentials.fsgid,
                                            DefaultPermissions(type), Quota::kCounts));
  if (type != KeyType::kKeyring) USL_TRY_VOID(SetPayload(*key, std::move(payload)));
  USL_TRY_VOID(LinkKey(*keyring.key, key));
  return key->serial;
}

Result<int32_t> KeyService::Request(Caller& caller, std::string_view type_name, const std::string& description,
                                    int32_t destination) {
  std::optional<FoundKey> target;
  if (destination != 0) target = USL_TRY(Lookup(caller, destination, kCreate, kWrite));
  const KeyType type = USL_TRY(TypeByName(type_name));
  const auto found =
      SearchProcess(caller.credentials, {.type = type, .description = description, .exact = nullptr, .now = now()});
  if (!found) return Fail(found.error() == Error(EAGAIN) ? Error(ENOKEY) : found.error());
  if (target) {
    USL_TRY_VOID(CheckPermission(*found, caller.credentials, kLink));
    USL_TRY_VOID(LinkKey(*target->key, found->key));
  }
  return found->key->serial;
}

Result<int32_t> KeyService::GetKeyringId(Caller& caller, int32_t id, bool create) {
  return USL_TRY(Lookup(caller, id, create ? unsigned{kCreate} : 0u, kSearch)).key->serial;
}

Result<int32_t> KeyService::JoinSession(Caller& caller, const std::optional<std::string>& name) {
  KeyRef session;
  constexpr uint32_t kAnonymous = Possessor(kAll) | Owner(kView | kRead);
  if (!name) {
    const Quota quota = caller.credentials.keyrings.session ? Quota::kCounts : Quota::kMayOverrun;
    session = USL_TRY(MakeKeyring("_ses", caller.credentials, kAnonymous, quota));
  } else {
    if (name->starts_with('.')) return Fail(EPERM);
    auto found = FindNamedKeyring(caller.credentials, *name);
    session =
        found ? *found : USL_TRY(MakeKeyring(*name, caller.credentials, kAnonymous | Owner(kLink), Quota::kCounts));
    if (session == caller.credentials.keyrings.session) return 0;
  }
  caller.credentials.keyrings.session = session;
  caller.changed = true;
  return session->serial;
}

Result<void> KeyService::Update(Caller& caller, int32_t id, std::string payload) {
  const FoundKey found = USL_TRY(Lookup(caller, id, 0, kWrite));
  if (found.key->IsKeyring()) return Fail(EOPNOTSUPP);
  USL_TRY_VOID(CheckPayload(found.key->type, payload));
  USL_TRY_VOID(SetPayload(*found.key, std::move(payload)));
  found.key->expires = 0;
  return {};
}

Result<void> KeyService::Revoke(Caller& caller, int32_t id) {
  auto found = Lookup(caller, id, 0, kWrite);
  if (!found && found.error() == Error(EACCES)) found = Lookup(caller, id, 0, kSetAttributes);
  if (!found) return Fail(found.error());
  Key& key = *found->key;
  key.revoked = true;
  key.revoked_at = now();
  key.payload.clear();
  const std::vector<KeyRef> links = std::exchange(key.links, {});
  return registry_.Reserve(key, 0);
}

Result<void> KeyService::Chown(Caller& caller, int32_t id, uid_t uid, gid_t gid) {
  constexpr uid_t kKeep = static_cast<uid_t>(-1);
  if (uid == kKeep && gid == kKeep) return {};
  const FoundKey found = USL_TRY(Lookup(caller, id, kCreate | kPartial, kSetAttributes));
  Key& key = *found.key;
  const cred::Credentials& credentials = caller.credentials;
  const bool other_user = uid != kKeep && uid != key.uid;
  const bool other_group = gid != kKeep && gid != key.gid && !credentials.InGroup(gid);
  if ((other_user || other_group) && !credentials.Has(CAP_SYS_ADMIN)) return Fail(EACCES);
  if (other_user) USL_TRY_VOID(registry_.ChangeOwner(key, uid));
  if (gid != kKeep) key.gid = gid;
  return {};
}

Result<void> KeyService::SetPermissions(Caller& caller, int32_t id, uint32_t permissions) {
  if (permissions & ~(Possessor(kAll) | Owner(kAll) | (kAll << kGroup) | kAll)) return Fail(EINVAL);
  const FoundKey found = USL_TRY(Lookup(caller, id, kCreate | kPartial, kSetAttributes));
  if (found.key->uid != caller.credentials.fsuid && !caller.credentials.Has(CAP_SYS_ADMIN)) return Fail(EACCES);
  found.key->permissions = permissions;
  return {};
}

Result<std::string> KeyService::Describe(Caller& caller, int32_t id) {
  const FoundKey found = USL_TRY(Lookup(caller, id, kPartial, kView));
  const Key& key = *found.key;
  return format("{};{};{};{:08x};{}", TypeName(key.type), static_cast<int>(key.uid),
                static_cast<int>(key.gid == kNoGroup ? 65534 : key.gid), key.permissions, key.description);
}

Result<void> KeyService::Clear(Caller& caller, int32_t id) {
  const FoundKey found = USL_TRY(Lookup(caller, id, kCreate, kWrite));
  if (!found.key->IsKeyring()) return Fail(ENOTDIR);
  const std::vector<KeyRef> links = std::exchange(found.key->links, {});
  return registry_.Reserve(*found.key, 0);
}

Result<void> KeyService::Link(Caller& caller, int32_t id, int32_t ring) {
  const FoundKey keyring = USL_TRY(Lookup(caller, ring, kCreate, kWrite));
  const FoundKey found = USL_TRY(Lookup(caller, id, kCreate, kLink));
  return LinkKey(*keyring.key, found.key);
}

Result<void> KeyService::Unlink(Caller& caller, int32_t id, int32_t ring) {
  const FoundKey keyring = USL_TRY(Lookup(caller, ring, 0, kWrite));
  const FoundKey found = USL_TRY(Lookup(caller, id, kPartial, 0));
  if (!keyring.key->IsKeyring()) return Fail(ENOTDIR);
  return UnlinkKey(*keyring.key, *found.key);
}

Result<int32_t> KeyService::SearchFrom(Caller& caller, int32_t ring, std::string_view type_name,
                                       const std::string& description, int32_t destination) {
  const FoundKey keyring = USL_TRY(Lookup(caller, ring, 0, kSearch));
  std::optional<FoundKey> target;
  if (destination != 0) target = USL_TRY(Lookup(caller, destination, kCreate, kWrite));
  const KeyType type = USL_TRY(TypeByName(type_name));
  const auto found =
      Search(keyring, caller.credentials, {.type = type, .description = description, .exact = nullptr, .now = now()});
  if (!found) return Fail(found.error() == Error(EAGAIN) ? Error(ENOKEY) : found.error());
  if (target) {
    USL_TRY_VOID(CheckPermission(*found, caller.credentials, kLink));
    USL_TRY_VOID(LinkKey(*target->key, found->key));
  }
  return found->key->serial;
}

Result<std::string> KeyService::Read(Caller& caller, int32_t id) {
  const auto found = Lookup(caller, id, kPartial, 0);
  if (!found) return Fail(ENOKEY);
  Key& key = *found->key;
  // What may be searched for from one's own keyrings may be read, too.
  if (!CheckPermission(*found, caller.credentials, kRead) && !found->possessed) return Fail(EACCES);
  if (key.type == KeyType::kLogon) return Fail(EOPNOTSUPP);
  USL_TRY_VOID(Validate(key, now()));
  if (!key.IsKeyring()) return key.payload;
  DropDeadLinks(key, now());
  std::string serials(key.links.size() * sizeof(int32_t), '\0');
  for (size_t i = 0; i < key.links.size(); ++i) {
    memcpy(serials.data() + i * sizeof(int32_t), &key.links[i]->serial, sizeof(int32_t));
  }
  return serials;
}

Result<int32_t> KeyService::SetRequestDefault(Caller& caller, int32_t keyring) {
  const int32_t old = caller.credentials.keyrings.request_default;
  switch (keyring) {
    case KEY_REQKEY_DEFL_NO_CHANGE: return old;
    case KEY_REQKEY_DEFL_THREAD_KEYRING: USL_TRY(Lookup(caller, KEY_SPEC_THREAD_KEYRING, kCreate, 0)); break;
    case KEY_REQKEY_DEFL_PROCESS_KEYRING: USL_TRY(Lookup(caller, KEY_SPEC_PROCESS_KEYRING, kCreate, 0)); break;
    case KEY_REQKEY_DEFL_DEFAULT:
    case KEY_REQKEY_DEFL_SESSION_KEYRING:
    case KEY_REQKEY_DEFL_USER_KEYRING:
    case KEY_REQKEY_DEFL_USER_SESSION_KEYRING:
    case KEY_REQKEY_DEFL_REQUESTOR_KEYRING: break;
    default: return Fail(EINVAL);
  }
  caller.credentials.keyrings.request_default = keyring;
  caller.changed = true;
  return old;
}

Result<void> KeyService::SetTimeout(Caller& caller, int32_t id, unsigned seconds) {
  const FoundKey found = USL_TRY(Lookup(caller, id, kCreate | kPartial, kSetAttributes));
  found.key->expires = seconds == 0 ? 0 : now() + seconds;
  return {};
}

Result<void> KeyService::CheckSecurity(Caller& caller, int32_t id) {
  USL_TRY(Lookup(caller, id, kPartial, kView));
  return {};
}

Result<void> KeyService::Invalidate(Caller& caller, int32_t id) {
  const FoundKey found = USL_TRY(Lookup(caller, id, 0, kSearch));
  found.key->invalidated = true;
  return {};
}

Result<void> KeyService::Restrict(Caller& caller, int32_t id, const std::optional<std::string>& type) {
  const FoundKey found = USL_TRY(Lookup(caller, id, 0, kSetAttributes));
  if (!found.key->IsKeyring()) return Fail(ENOTDIR);
  if (type) {
    USL_TRY(TypeByName(*type));
    return Fail(ENOENT);
  }
  if (found.key->restricted) return Fail(EEXIST);
  found.key->restricted = true;
  return {};
}

Result<void> KeyService::Move(Caller& caller, int32_t id, int32_t from, int32_t to, bool exclusive) {
  const FoundKey found = USL_TRY(Lookup(caller, id, kCreate, kLink));
  const FoundKey source = USL_TRY(Lookup(caller, from, 0, kWrite));
  const FoundKey target = USL_TRY(Lookup(caller, to, kCreate, kWrite));
  if (source.key == target.key) return {};
  if (!source.key->IsKeyring() || !target.key->IsKeyring()) return Fail(ENOTDIR);
  if (std::ranges::find(source.key->links, found.key) == source.key->links.end()) return Fail(ENOENT);
  if (exclusive && FindLink(*target.key, found.key->type, found.key->description) != target.key->links.end()) {
    return Fail(EEXIST);
  }
  USL_TRY_VOID(LinkKey(*target.key, found.key));
  return UnlinkKey(*source.key, *found.key);
}

Result<KeyRef> KeyService::SessionForParent(Caller& caller) {
  return USL_TRY(Lookup(caller, KEY_SPEC_SESSION_KEYRING, 0, kLink)).key;
}

}  // namespace usl::keys
