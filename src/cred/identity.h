// How system calls change credentials: setuid(2) and its family, setgroups(2), capset(2), with the changes of
// capabilities that go along (capabilities(7), "Effect of user ID changes on capabilities"). Pure functions: old value
// in, new value out.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/result.h"
#include "cred/credentials.h"

namespace usl::cred {

// "Leave this id as it is" in the calls that set several.
inline constexpr uid_t kKeepId = static_cast<uid_t>(-1);

// setuid(2), setreuid(2), setresuid(2). `keep_capabilities`: the caller has PR_SET_KEEPCAPS. EINVAL for the id -1 where
// it means nothing; EPERM.
Result<Credentials> SetUid(const Credentials& old, uid_t uid, bool keep_capabilities);
Result<Credentials> SetReuid(const Credentials& old, uid_t real, uid_t effective, bool keep_capabilities);
Result<Credentials> SetResuid(const Credentials& old, uid_t real, uid_t effective, uid_t saved, bool keep_capabilities);
// setgid(2), setregid(2), setresgid(2). Groups have no influence on capabilities.
Result<Credentials> SetGid(const Credentials& old, gid_t gid);
Result<Credentials> SetRegid(const Credentials& old, gid_t real, gid_t effective);
Result<Credentials> SetResgid(const Credentials& old, gid_t real, gid_t effective, gid_t saved);
// setfsuid(2), setfsgid(2): never fail; what is not permitted changes nothing.
Credentials SetFsuid(const Credentials& old, uid_t uid);
Credentials SetFsgid(const Credentials& old, gid_t gid);
// setgroups(2): EPERM without CAP_SETGID. Linux keeps the list sorted, and getgroups(2) shows it so.
Result<Credentials> SetGroups(const Credentials& old, std::vector<gid_t> groups);

struct CapabilitySets {
  CapabilitySet effective = 0, permitted = 0, inheritable = 0;
};
// capset(2). Bits of no capability are ignored. EPERM.
Result<Credentials> SetCapabilities(const Credentials& old, CapabilitySets sets);

// With whose rights access(2) looks: the real ids, and the capabilities that they would have.
Credentials AccessCredentials(const Credentials& credentials);

// Does this change make a process non-dumpable (PR_SET_DUMPABLE(2const))?
bool LosesDumpable(const Credentials& old, const Credentials& next);

}  // namespace usl::cred
