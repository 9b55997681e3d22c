// The right to use or change the trees of one distribution.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "manager/registry.h"

namespace usl::manager {

// Lasts as long as the object, and as long as a process that was forked meanwhile has the descriptor.
class DistributionLock {
 public:
  // Locks the distribution of that name and returns what the registry has of it under the lock, with its upper tree
  // there; what a killed command left half done is undone first. An instance of it that nobody uses is ended. ENOENT:
  // there is none. EBUSY: an instance or another command uses it. On failure `why` has a line for people.
  static Result<DistributionLock> Take(const Registry& registry, const std::string& name, std::string* why);

  const Distribution& distribution() const { return distribution_; }
  int fd() const { return fd_.get(); }
  // For whoever keeps the lock beyond this object.
  UniqueFd TakeFd() { return std::move(fd_); }

 private:
  DistributionLock(UniqueFd fd, Distribution distribution)
      : fd_(std::move(fd)), distribution_(std::move(distribution)) {}
  UniqueFd fd_;
  Distribution distribution_;
};

// Does somebody hold the lock: an instance that runs, or another command?
bool IsInUse(const Registry& registry, const Distribution& distribution);

// The line for a name that no distribution has.
std::string ExplainNoDistribution(const RegistryData& data, const std::string& name);

// Finishes or undoes what a killed command left of a change of the upper tree; takes the lock only if there is
// something. False when somebody else has it, or it failed.
bool RecoverDistribution(const Registry& registry, const Distribution& distribution);

// Replaces the upper tree of a locked distribution by an empty one, in one step with a change of the registry: after a
// crash both have happened or neither. The old tree becomes `target`, which is on the same file system: the place of a
// layer, or "" to have it removed. `change` edits the registry, where `distribution` is the locked one; its layers
// must change unless the tree is removed. On failure all is as it was, and `why` has a line for people.
Result<void> ReplaceUpper(const Registry& registry, const DistributionLock& lock, const std::string& target,
                          const std::function<std::string(RegistryData&, Distribution& distribution)>& change,
                          std::string* why);

}  // namespace usl::manager
