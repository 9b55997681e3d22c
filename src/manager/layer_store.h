// The layers of a user's distributions and images: read-only trees in VolFs's format that are shared by name.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "manager/archive_reader.h"
#include "manager/registry.h"

namespace usl::manager {

// Whoever makes something in the data directory that no registry names yet holds one, from before the first file until
// the registry names it: Sweep() removes nothing meanwhile.
class StoreHold {
 public:
  // Waits for a sweep that runs. Makes the data directory. On failure `why` has a line for people.
  static Result<StoreHold> Take(const Registry& registry, std::string* why);
  int fd() const { return fd_.get(); }

 private:
  explicit StoreHold(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

struct NewLayer {
  std::string id;
  std::string sha256;  // of the uncompressed archive; the same as id
  uint64_t files = 0;
  bool is_new = false;  // false: it was there already
};

class LayerStore {
 public:
  explicit LayerStore(const Registry& registry) : registry_(registry) {}

  // Unpacks an archive (see ExtractArchive) into a layer of its own and gives it its place. `expected`, if not empty,
  // is the SHA-256 that the uncompressed archive must have (an OCI diff_id): EBADMSG otherwise. `source` is noted
  // beside the layer. Nothing is left behind on failure. On failure `why` has a line for people.
  Result<NewLayer> Import(const StoreHold& hold, int fd, const ExtractOptions& options, const std::string& expected,
                          const std::string& source, std::string* why) const;
  bool Has(const std::string& id) const;
  // A fresh random name for a layer that is an upper tree.
  static std::string RandomId();

  // A new, empty directory in tmp/, which the caller renames or removes; a later sweep removes it if it is left.
  Result<std::string> MakeTemporary(const StoreHold& hold, std::string* why) const;
  // Removes a tree of the data directory: moved to tmp/ first, so that it is there whole or not at all.
  void Remove(const StoreHold& hold, const std::string& path) const;
  // Removes what no registry names: layers, distributions, tmp/. Does nothing while somebody holds the store,
  // nor when the registry was lost and began anew, and is content with what it can do: the next one goes on.
  void Sweep() const;

 private:
  const Registry& registry_;
};

}  // namespace usl::manager
