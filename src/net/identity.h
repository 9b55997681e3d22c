// Who is at the other end of an AF_UNIX socket, in the guest's ids (unix(7): SO_PEERCRED, SCM_CREDENTIALS).
//
// A message that a guest sends natively carries its true pid, and the kernel looks the ids up. One that the kernel
// sends on a guest's behalf would carry the kernel's pid; so where the receiver wants credentials, the kernel adds a
// descriptor that stands for the sender, a token. It travels in the message itself (so it survives peeking, passing on
// of sockets and the sender's end), is taken out again when the kernel receives the message for the guest, and can
// never be sent by one.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cred/credentials.h"
#include "kernel/kernel.h"

namespace usl::net {

struct Identity {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// What is shown for somebody who is not known (any more): the overflow ids of user_namespaces(7).
inline constexpr Identity kNobody{.pid = 0, .uid = 65534, .gid = 65534};

// A process with its credentials at one moment, for SO_PEERCRED and SO_PEERGROUPS. Null credentials: not known.
struct Peer {
  pid_t pid = 0;
  cred::CredentialsRef credentials;

  Identity RealIds() const { return credentials ? Identity{pid, credentials->uid, credentials->gid} : kNobody; }
  Identity EffectiveIds() const { return credentials ? Identity{pid, credentials->euid, credentials->egid} : kNobody; }
};

class IdentityTokens {
 public:
  // A descriptor that stands for `identity`; valid until the next call.
  Result<int> TokenFor(const Identity& identity);
  // What a received descriptor stands for; nullopt when it is no token.
  std::optional<Identity> Find(int fd) const;

 private:
  struct Token {
    UniqueFd fd;
    Identity identity;
    uint64_t inode;
  };
  std::list<Token> tokens_;  // the one last used first
  std::unordered_map<uint64_t, std::list<Token>::iterator> by_inode_;
};

// Credentials of processes by pid, of those too that ended lately: their messages may be read afterwards.
class ProcessIdentities {
 public:
  explicit ProcessIdentities(kernel::Kernel& kernel);
  // Of the process that sent a message or made a socket pair natively. The credentials are those of now, so only the
  // real ids are to be shown: a set-id program that it executed meanwhile does not change those. Null when nothing is
  // known.
  Peer Find(pid_t pid) const;

 private:
  kernel::Kernel& kernel_;
  std::unordered_map<pid_t, cred::CredentialsRef> ended_;
  std::deque<pid_t> order_;
};

// The pid of a process as `viewer` sees it: the instance's init is 1 for all others.
pid_t ShownPid(kernel::Kernel& kernel, const kernel::Process& viewer, pid_t pid);
// The reverse for a number that a guest gave.
pid_t HostPid(kernel::Kernel& kernel, pid_t shown);

}  // namespace usl::net
