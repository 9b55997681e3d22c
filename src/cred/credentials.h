// A task's identity as the guest sees it (credentials(7), capabilities(7), user_namespaces(7) aside). Values, shared
// copy-on-write: a change makes a new object, so a snapshot taken at fork stays what it was.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace usl::keys {
class Key;
}

namespace usl::cred {

// The keyrings that a task has of its own (keyrings(7)); what they are is usl::keys' business.
struct Keyrings {
  std::shared_ptr<keys::Key> thread, process, session;
  int request_default = 0;  // KEY_REQKEY_DEFL_*
};

using CapabilitySet = uint64_t;

inline constexpr int kLastCapability = 40;  // CAP_CHECKPOINT_RESTORE
inline constexpr CapabilitySet kAllCapabilities = (CapabilitySet{1} << (kLastCapability + 1)) - 1;

struct Credentials {
  uid_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  gid_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<gid_t> groups;  // supplementary, in the order that setgroups(2) gave
  CapabilitySet inheritable = 0;
  CapabilitySet permitted = kAllCapabilities;
  CapabilitySet effective = kAllCapabilities;
  CapabilitySet bounding = kAllCapabilities;
  CapabilitySet ambient = 0;
  uint32_t securebits = 0;    // SECBIT_*
  bool no_new_privs = false;  // virtual: natively it is always set
  Keyrings keyrings;

  // `capability` is a CAP_* number.
  bool Has(int capability) const { return (effective >> capability) & 1; }
  // Is `group` the fsgid or a supplementary group? (in_group_p)
  bool InGroup(gid_t group) const;
  // Is `group` the egid or a supplementary group? (in_egroup_p)
  bool InEffectiveGroup(gid_t group) const;
};

using CredentialsRef = std::shared_ptr<const Credentials>;

// What a new thread starts with, or a new process (`new_process`): without the keyrings that are not inherited. The
// same object when there are none.
CredentialsRef WithoutOwnKeyrings(const CredentialsRef& credentials, bool new_process);
// Of a process that has ended: what may still be asked are its ids, so nothing keeps its keys alive.
CredentialsRef WithoutKeyrings(const CredentialsRef& credentials);

// Root with every capability, as the guest's first process has.
Credentials RootCredentials();
// An ordinary user with no capability.
Credentials UserCredentials(uid_t uid, gid_t gid, std::vector<gid_t> groups);

}  // namespace usl::cred
