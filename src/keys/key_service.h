// The operations of add_key(2), request_key(2) and keyctl(2), on the instance's own keys. Guarded by the kernel lock.
//
// There is no upcall: a key that does not exist is not made by /sbin/request-key, so no key is ever under construction
// or negative.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cred/credentials.h"
#include "keys/key_registry.h"
#include "keys/key_search.h"

namespace usl::keys {

// Who asks: a copy of the task's credentials. Calls may give it keyrings; `changed` tells that they did, and the task's
// credentials are to be replaced then.
struct Caller {
  cred::Credentials credentials;
  bool changed = false;
};

class KeyService {
 public:
  // `now`: seconds of CLOCK_REALTIME; for tests.
  explicit KeyService(std::function<int64_t()> now = nullptr);

  // A type by its name; ENODEV.
  static Result<KeyType> TypeByName(std::string_view name);

  // add_key(2). `description` is missing when it was NULL or empty.
  Result<int32_t> Add(Caller& caller, std::string_view type, const std::optional<std::string>& description,
                      std::string payload, int32_t keyring);
  // request_key(2); `destination` 0 = none. ENOKEY when there is no such key.
  Result<int32_t> Request(Caller& caller, std::string_view type, const std::string& description, int32_t destination);

  // keyctl(2), one for each KEYCTL_* operation.
  Result<int32_t> GetKeyringId(Caller& caller, int32_t id, bool create);
  Result<int32_t> JoinSession(Caller& caller, const std::optional<std::string>& name);
  Result<void> Update(Caller& caller, int32_t id, std::string payload);
  Result<void> Revoke(Caller& caller, int32_t id);
  Result<void> Chown(Caller& caller, int32_t id, uid_t uid, gid_t gid);
  Result<void> SetPermissions(Caller& caller, int32_t id, uint32_t permissions);
  // "type;uid;gid;perm;description".
  Result<std::string> Describe(Caller& caller, int32_t id);
  Result<void> Clear(Caller& caller, int32_t id);
  Result<void> Link(Caller& caller, int32_t id, int32_t keyring);
  Result<void> Unlink(Caller& caller, int32_t id, int32_t keyring);
  Result<int32_t> SearchFrom(Caller& caller, int32_t keyring, std::string_view type, const std::string& description,
                             int32_t destination);
  // The payload; of a keyring the serials of its links as native 32-bit numbers.
  Result<std::string> Read(Caller& caller, int32_t id);
  // The old default; KEY_REQKEY_DEFL_*.
  Result<int32_t> SetRequestDefault(Caller& caller, int32_t keyring);
  Result<void> SetTimeout(Caller& caller, int32_t id, unsigned seconds);
  Result<void> CheckSecurity(Caller& caller, int32_t id);
  Result<void> Invalidate(Caller& caller, int32_t id);
  // `type` missing: no link is taken any more. No type has rules of its own: ENOENT.
  Result<void> Restrict(Caller& caller, int32_t id, const std::optional<std::string>& type);
  Result<void> Move(Caller& caller, int32_t id, int32_t from, int32_t to, bool exclusive);
  // The caller's session keyring, to be given to its parent: EACCES without link permission.
  Result<KeyRef> SessionForParent(Caller& caller);

  // The texts of /proc/keys (what `credentials` may view) and /proc/key-users.
  std::string DescribeKeys(const cred::Credentials& credentials);
  std::string DescribeUsers() const;

 private:
  enum LookupFlag : unsigned { kCreate = 1, kPartial = 2 };
  struct UserKeyrings {
    KeyRef user, session;
  };

  int64_t now() const { return now_(); }
  // lookup_user_key(): a key by its number or KEY_SPEC_*. `wanted` are the permissions to be checked, or kNoCheck.
  Result<FoundKey> Lookup(Caller& caller, int32_t id, unsigned flags, uint32_t wanted);
  Result<FoundKey> LookupSpecial(Caller& caller, int32_t id, unsigned flags);
  Result<FoundKey> SearchProcess(const cred::Credentials& credentials, const KeyQuery& query);
  bool IsPossessed(const cred::Credentials& credentials, const Key& key);
  Result<UserKeyrings> KeyringsOf(uid_t uid);
  Result<KeyRef> MakeKeyring(const std::string& name, const cred::Credentials& credentials, uint32_t permissions,
                             Quota quota);
  Result<KeyRef> FindNamedKeyring(const cred::Credentials& credentials, std::string_view name);
  Result<void> LinkKey(Key& keyring, const KeyRef& key);
  // Takes a link out; ENOENT.
  Result<void> UnlinkKey(Key& keyring, const Key& key);
  Result<void> SetPayload(Key& key, std::string payload);

  std::function<int64_t()> now_;
  KeyRegistry registry_;
  std::map<uid_t, UserKeyrings> user_keyrings_;  // behind the registry: they go before it
};

}  // namespace usl::keys
