// Finding a key by what a call names it: a serial number, or one of the caller's own keyrings (process_keys.c of
// Linux).
#include <linux/keyctl.h>

#include "base/format.h"
#include "keys/key_service.h"

namespace usl::keys {
namespace {

constexpr uint32_t kOwnKeyring = (kAll << kPossessor) | (kView << kOwner);
constexpr uint32_t kUserKeyring = ((kAll & ~kSetAttributes) << kPossessor) | (kAll << kOwner);
constexpr gid_t kNoGroup = static_cast<gid_t>(-1);
// Beyond it a user's keyrings are forgotten with what only they link, so that a root with many users cannot pile them
// up.
constexpr size_t kMaxUsers = 4096;

}  // namespace

Result<KeyRef> KeyService::MakeKeyring(const std::string& name, const cred::Credentials& credentials,
                                       uint32_t permissions, Quota quota) {
  return registry_.Make(KeyType::kKeyring, name, credentials.fsuid, credentials.fsgid, permissions, quota);
}

Result<KeyService::UserKeyrings> KeyService::KeyringsOf(uid_t uid) {
  const auto known = user_keyrings_.find(uid);
  if (known != user_keyrings_.end()) return known->second;
  if (user_keyrings_.size() >= kMaxUsers) return Fail(ENOMEM);
  UserKeyrings made;
  made.user = USL_TRY(
      registry_.Make(KeyType::kKeyring, format("_uid.{}", uid), uid, kNoGroup, kUserKeyring, Quota::kMayOverrun));
  made.session = USL_TRY(
      registry_.Make(KeyType::kKeyring, format("_uid_ses.{}", uid), uid, kNoGroup, kUserKeyring, Quota::kMayOverrun));
  made.user->is_user_keyring = made.session->is_user_keyring = true;
  USL_TRY_VOID(LinkKey(*made.session, made.user));
  user_keyrings_[uid] = made;
  return made;
}

Result<KeyRef> KeyService::FindNamedKeyring(const cred::Credentials& credentials, std::string_view name) {
  for (KeyRef& key : registry_.List()) {
    if (!key->IsKeyring() || key->description != name || key->is_user_keyring) continue;
    if (Validate(*key, now()) && CheckPermission({key, false}, credentials, kSearch)) return std::move(key);
  }
  return Fail(ENOKEY);
}

Result<FoundKey> KeyService::LookupSpecial(Caller& caller, int32_t id, unsigned flags) {
  cred::Keyrings& own = caller.credentials.keyrings;
  const auto need = [&](KeyRef& keyring, const char* name) -> Result<FoundKey> {
    if (!keyring) {
      if (!(flags & kCreate)) return Fail(ENOKEY);
      keyring = USL_TRY(MakeKeyring(name, caller.credentials, kOwnKeyring, Quota::kMayOverrun));
      caller.changed = true;
    }
    return FoundKey{keyring, true};
  };
  switch (id) {
    case KEY_SPEC_THREAD_KEYRING: return need(own.thread, "_tid");
    case KEY_SPEC_PROCESS_KEYRING: return need(own.process, "_pid");
    case KEY_SPEC_SESSION_KEYRING:
      if ((!own.session || own.session->is_user_keyring) && (flags & kCreate)) {
        USL_TRY(JoinSession(caller, std::nullopt));
      } else if (!own.session) {
        own.session = USL_TRY(KeyringsOf(caller.credentials.uid)).session;
        caller.changed = true;
      }
      return FoundKey{own.session, true};
    case KEY_SPEC_USER_KEYRING: return FoundKey{USL_TRY(KeyringsOf(caller.credentials.uid)).user, true};
    case KEY_SPEC_USER_SESSION_KEYRING: return FoundKey{USL_TRY(KeyringsOf(caller.credentials.uid)).session, true};
    case KEY_SPEC_REQKEY_AUTH_KEY:
    case KEY_SPEC_REQUESTOR_KEYRING: return Fail(ENOKEY);
    default: return Fail(EINVAL);
  }
}

Result<FoundKey> KeyService::Lookup(Caller& caller, int32_t id, unsigned flags, uint32_t wanted) {
  FoundKey found;
  if (id < 1) {
    found = USL_TRY(LookupSpecial(caller, id, flags));
  } else {
    found.key = registry_.Find(id);
    if (!found.key) return Fail(ENOKEY);
    found.possessed = IsPossessed(caller.credentials, *found.key);
  }
  // kPartial without permissions: the call does not use the key itself, it may be in any state.
  if (wanted != 0 || !(flags & kPartial)) USL_TRY_VOID(Validate(*found.key, now()));
  if (wanted != 0) USL_TRY_VOID(CheckPermission(found, caller.credentials, wanted));
  return found;
}

Result<FoundKey> KeyService::SearchProcess(const cred::Credentials& credentials, const KeyQuery& query) {
  KeyRef session = credentials.keyrings.session;
  if (!session) {
    const auto known = user_keyrings_.find(credentials.uid);
    if (known != user_keyrings_.end()) session = known->second.session;
  }
  // Of the errors the first one that tells more than "none here".
  Error error(EAGAIN);
  for (const KeyRef& keyring : {credentials.keyrings.thread, credentials.keyrings.process, session}) {
    if (!keyring) continue;
    auto found = Search({keyring, true}, credentials, query);
    if (found) return found;
    if (error == Error(EAGAIN)) error = found.error();
  }
  return Fail(error);
}

bool KeyService::IsPossessed(const cred::Credentials& credentials, const Key& key) {
  return SearchProcess(credentials, {.type = key.type, .description = {}, .exact = &key, .now = now()}).has_value();
}

}  // namespace usl::keys
