// Who mount events travel to (mount_namespaces(7), "Shared subtrees"): groups of peers, and the mounts that are slaves
// of a group. Guarded by the kernel lock.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ref.h"

namespace usl::vfs {

class Mount;

// Held by its peers and slaves. When its last peer leaves, its slaves become those of the group that it was a slave of.
class PeerGroup : public RefCounted {
 public:
  PeerGroup();
  ~PeerGroup() override;

  uint32_t id() const { return id_; }  // behind "shared:" and "master:" in mountinfo; the lowest free one at its birth
  const std::vector<Mount*>& peers() const { return peers_; }
  const std::vector<Mount*>& slaves() const { return slaves_; }

 private:
  friend class Mount;
  uint32_t id_;
  std::vector<Mount*> peers_;
  std::vector<Mount*> slaves_;
};

}  // namespace usl::vfs
