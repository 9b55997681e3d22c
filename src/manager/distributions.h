// What can be done with distributions as a whole. Each function is one step for the user: done, or nothing of it, with
// a line in `why` that says what, where and what to do. Names are compared without regard to case.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "manager/archive_writer.h"
#include "manager/distribution_lock.h"
#include "manager/layer_store.h"
#include "manager/registry.h"
#include "manager/run_options.h"

namespace usl::manager {

struct NewDistribution {
  std::string name;
  std::vector<std::string> layers;  // the topmost first; all are there
  std::string location;             // a directory for the writable tree; empty: in the data directory
  std::string in_place;             // a tree to be used as it is, instead of layers and location
  std::string source;
  std::string default_user;
  ImageConfig config;
};

class Distributions {
 public:
  explicit Distributions(Registry registry) : registry_(std::move(registry)), store_(registry_) {}
  Distributions(const Distributions&) = delete;
  Distributions& operator=(const Distributions&) = delete;

  const Registry& registry() const { return registry_; }
  const LayerStore& store() const { return store_; }

  // Can this name be given? EINVAL, EEXIST.
  Result<void> CheckNewName(const std::string& name, std::string* why) const;
  // Registers it, as the default if it is the first.
  Result<void> Add(const StoreHold& hold, const NewDistribution& distribution, std::string* why) const;
  // A layer of the archive, and a distribution of that.
  Result<void> Import(int fd, const ExtractOptions& options, NewDistribution distribution, std::string* why) const;
  // Everything in it as one archive. EBUSY while it runs.
  Result<PackedArchive> Export(const std::string& name, int fd, const PackOptions& options, std::string* why) const;
  // With its files, but for a tree that was imported in place. EBUSY while it runs.
  Result<void> Remove(const std::string& name, std::string* why) const;
  Result<void> Rename(const std::string& name, const std::string& new_name, std::string* why) const;
  Result<void> SetDefault(const std::string& name, std::string* why) const;
  Result<void> SetDefaultUser(const std::string& name, const std::string& user, std::string* why) const;
  Result<void> Clone(const std::string& name, const std::string& new_name, std::string* why) const;
  // An empty name becomes one of date and time. Returns the name.
  Result<std::string> TakeSnapshot(const std::string& name, const std::string& snapshot, std::string* why) const;
  Result<void> DropSnapshot(const std::string& name, const std::string& snapshot, std::string* why) const;
  // What changed since goes; an empty name is the latest snapshot. Returns the name.
  Result<std::string> RollBack(const std::string& name, const std::string& snapshot, std::string* why) const;

 private:
  // Makes the upper tree of a locked distribution a layer, unless it is empty, in one step with `change`, which is
  // given the layers that hold all.
  Result<void> Freeze(const DistributionLock& lock,
                      const std::function<std::string(RegistryData&, Distribution&)>& change, std::string* why) const;
  Result<Distribution> MakePlace(const StoreHold& hold, const NewDistribution& distribution, std::string* why) const;
  void RemovePlace(const StoreHold& hold, const Distribution& distribution) const;

  Registry registry_;
  LayerStore store_;
};

// Where the files of a distribution are, for a run: the upper tree and the layers below it.
void UseDistribution(const Registry& registry, const Distribution& distribution, RunOptions& options);

}  // namespace usl::manager
