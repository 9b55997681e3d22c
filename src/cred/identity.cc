#include "cred/identity.h"

#include <linux/capability.h>
#include <linux/securebits.h>

#include <algorithm>
#include <initializer_list>

namespace usl::cred {
namespace {

constexpr uint32_t kKeepCaps = 1u << SECURE_KEEP_CAPS;
constexpr uint32_t kNoSetuidFixup = 1u << SECURE_NO_SETUID_FIXUP;

constexpr CapabilitySet Bit(int capability) {
  return CapabilitySet{1} << capability;
}

// The capabilities that follow the file system uid (CAP_FS_SET of Linux).
constexpr CapabilitySet kFileSystemCapabilities = Bit(CAP_CHOWN) | Bit(CAP_MKNOD) | Bit(CAP_DAC_OVERRIDE) |
                                                  Bit(CAP_DAC_READ_SEARCH) | Bit(CAP_FOWNER) | Bit(CAP_FSETID) |
                                                  Bit(CAP_LINUX_IMMUTABLE) | Bit(CAP_MAC_OVERRIDE);

bool IsOneOf(uint32_t id, std::initializer_list<uint32_t> ids) {
  return std::ranges::find(ids, id) != ids.end();
}

bool HasRootId(const Credentials& c) {
  return c.uid == 0 || c.euid == 0 || c.suid == 0;
}

void FixCapabilities(const Credentials& old, Credentials& next, bool keep_capabilities) {
  if (old.securebits & kNoSetuidFixup) return;
  if (HasRootId(old) && !HasRootId(next)) {
    if (!keep_capabilities && !(old.securebits & kKeepCaps)) next.permitted = next.effective = 0;
    next.ambient = 0;
  }
  if (old.euid == 0 && next.euid != 0) next.effective = 0;
  if (old.euid != 0 && next.euid == 0) next.effective = next.permitted;
}

}  // namespace

Result<Credentials> SetUid(const Credentials& old, uid_t uid, bool keep_capabilities) {
  if (uid == kKeepId) return Fail(EINVAL);
  Credentials next = old;
  if (old.Has(CAP_SETUID)) {
    next.uid = next.suid = uid;
  } else if (!IsOneOf(uid, {old.uid, old.suid})) {
    return Fail(EPERM);
  }
  next.euid = next.fsuid = uid;
  FixCapabilities(old, next, keep_capabilities);
  return next;
}

Result<Credentials> SetReuid(const Credentials& old, uid_t real, uid_t effective, bool keep_capabilities) {
  const bool privileged = old.Has(CAP_SETUID);
  Credentials next = old;
  if (real != kKeepId) {
    if (!privileged && !IsOneOf(real, {old.uid, old.euid})) return Fail(EPERM);
    next.uid = real;
  }
  if (effective != kKeepId) {
    if (!privileged && !IsOneOf(effective, {old.uid, old.euid, old.suid})) return Fail(EPERM);
    next.euid = effective;
  }
  if (real != kKeepId || (effective != kKeepId && effective != old.uid)) next.suid = next.euid;
  next.fsuid = next.euid;
  FixCapabilities(old, next, keep_capabilities);
  return next;
}

Result<Credentials> SetResuid(const Credentials& old, uid_t real, uid_t effective, uid_t saved,
                              bool keep_capabilities) {
  if (!old.Has(CAP_SETUID)) {
    for (const uid_t id : {real, effective, saved}) {
      if (id != kKeepId && !IsOneOf(id, {old.uid, old.euid, old.suid})) return Fail(EPERM);
    }
  }
  Credentials next = old;
  if (real != kKeepId) next.uid = real;
  if (effective != kKeepId) next.euid = effective;
  if (saved != kKeepId) next.suid = saved;
  next.fsuid = next.euid;
  FixCapabilities(old, next, keep_capabilities);
  return next;
}

Result<Credentials> SetGid(const Credentials& old, gid_t gid) {
  if (gid == kKeepId) return Fail(EINVAL);
  Credentials next = old;
  if (old.Has(CAP_SETGID)) {
    next.gid = next.sgid = gid;
  } else if (!IsOneOf(gid, {old.gid, old.sgid})) {
    return Fail(EPERM);
  }
  next.egid = next.fsgid = gid;
  return next;
}

Result<Credentials> SetRegid(const Credentials& old, gid_t real, gid_t effective) {
  const bool privileged = old.Has(CAP_SETGID);
  Credentials next = old;
  if (real != kKeepId) {
    if (!privileged && !IsOneOf(real, {old.gid, old.egid})) return Fail(EPERM);
    next.gid = real;
  }
  if (effective != kKeepId) {
    if (!privileged && !IsOneOf(effective, {old.gid, old.egid, old.sgid})) return Fail(EPERM);
    next.egid = effective;
  }
  if (real != kKeepId || (effective != kKeepId && effective != old.gid)) next.sgid = next.egid;
  next.fsgid = next.egid;
  return next;
}

Result<Credentials> SetResgid(const Credentials& old, gid_t real, gid_t effective, gid_t saved) {
  if (!old.Has(CAP_SETGID)) {
    for (const gid_t id : {real, effective, saved}) {
      if (id != kKeepId && !IsOneOf(id, {old.gid, old.egid, old.sgid})) return Fail(EPERM);
    }
  }
  Credentials next = old;
  if (real != kKeepId) next.gid = real;
  if (effective != kKeepId) next.egid = effective;
  if (saved != kKeepId) next.sgid = saved;
  next.fsgid = next.egid;
  return next;
}

Credentials SetFsuid(const Credentials& old, uid_t uid) {
  if (uid == kKeepId) return old;
  if (!IsOneOf(uid, {old.uid, old.euid, old.suid, old.fsuid}) && !old.Has(CAP_SETUID)) return old;
  Credentials next = old;
  next.fsuid = uid;
  if (!(old.securebits & kNoSetuidFixup)) {
    if (old.fsuid == 0 && uid != 0) next.effective &= ~kFileSystemCapabilities;
    if (old.fsuid != 0 && uid == 0) next.effective |= old.permitted & kFileSystemCapabilities;
  }
  return next;
}

Credentials SetFsgid(const Credentials& old, gid_t gid) {
  if (gid == kKeepId) return old;
  if (!IsOneOf(gid, {old.gid, old.egid, old.sgid, old.fsgid}) && !old.Has(CAP_SETGID)) return old;
  Credentials next = old;
  next.fsgid = gid;
  return next;
}

Result<Credentials> SetGroups(const Credentials& old, std::vector<gid_t> groups) {
  if (!old.Has(CAP_SETGID)) return Fail(EPERM);
  Credentials next = old;
  next.groups = std::move(groups);
  std::ranges::sort(next.groups);
  return next;
}

Result<Credentials> SetCapabilities(const Credentials& old, CapabilitySets sets) {
  const CapabilitySet effective = sets.effective & kAllCapabilities;
  const CapabilitySet permitted = sets.permitted & kAllCapabilities;
  const CapabilitySet inheritable = sets.inheritable & kAllCapabilities;
  if (!old.Has(CAP_SETPCAP) && (inheritable & ~(old.inheritable | old.permitted))) return Fail(EPERM);
  if (inheritable & ~(old.inheritable | old.bounding)) return Fail(EPERM);
  if (permitted & ~old.permitted) return Fail(EPERM);
  if (effective & ~permitted) return Fail(EPERM);
  Credentials next = old;
  next.effective = effective;
  next.permitted = permitted;
  next.inheritable = inheritable;
  next.ambient &= permitted & inheritable;
  return next;
}

Credentials AccessCredentials(const Credentials& credentials) {
  Credentials real = credentials;
  real.fsuid = real.uid;
  real.fsgid = real.gid;
  if (!(real.securebits & kNoSetuidFixup)) real.effective = real.uid == 0 ? real.permitted : 0;
  return real;
}

bool LosesDumpable(const Credentials& old, const Credentials& next) {
  return old.euid != next.euid || old.egid != next.egid || old.fsuid != next.fsuid || old.fsgid != next.fsgid ||
         (next.permitted & ~old.permitted) != 0;
}

}  // namespace usl::cred
