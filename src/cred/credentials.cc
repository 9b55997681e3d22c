#include "cred/credentials.h"

#include <algorithm>

namespace usl::cred {

bool Credentials::InGroup(gid_t group) const {
  return group == fsgid || std::ranges::find(groups, group) != groups.end();
}

bool Credentials::InEffectiveGroup(gid_t group) const {
  return group == egid || std::ranges::find(groups, group) != groups.end();
}

CredentialsRef WithoutOwnKeyrings(const CredentialsRef& credentials, bool new_process) {
  const Keyrings& keyrings = credentials->keyrings;
  if (!keyrings.thread && !(new_process && keyrings.process)) return credentials;
  Credentials copy = *credentials;
  copy.keyrings.thread.reset();
  if (new_process) copy.keyrings.process.reset();
  return std::make_shared<const Credentials>(std::move(copy));
}

CredentialsRef WithoutKeyrings(const CredentialsRef& credentials) {
  const Keyrings& keyrings = credentials->keyrings;
  if (!keyrings.thread && !keyrings.process && !keyrings.session) return credentials;
  Credentials copy = *credentials;
  copy.keyrings = {};
  return std::make_shared<const Credentials>(std::move(copy));
}

Credentials RootCredentials() {
  return Credentials{};
}

Credentials UserCredentials(uid_t uid, gid_t gid, std::vector<gid_t> groups) {
  Credentials credentials;
  credentials.uid = credentials.euid = credentials.suid = credentials.fsuid = uid;
  credentials.gid = credentials.egid = credentials.sgid = credentials.fsgid = gid;
  credentials.groups = std::move(groups);
  if (uid != 0) credentials.permitted = credentials.effective = 0;
  return credentials;
}

}  // namespace usl::cred
