// The distributions and images of a user, and where their trees are.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace usl::manager {

// A name for a state of a distribution: the layers that stood below its upper tree then.
struct Snapshot {
  std::string name;
  std::vector<std::string> layers;  // the topmost first
  int64_t created = 0;              // seconds since 1970
};

// What an OCI image's configuration says of running it; empty for everything else.
struct ImageConfig {
  std::vector<std::string> entrypoint, command, environment;
  std::string user, working_directory, stop_signal;
};

struct Image {
  std::string reference;            // as it was asked for: "docker://host/name:tag", "debian:bookworm"
  std::string digest;               // "sha256:..." of the manifest, where there is one
  std::vector<std::string> layers;  // the topmost first
  ImageConfig config;
  int64_t created = 0;
};

struct Distribution {
  std::string name;
  std::string id;                   // UUID, for good
  std::vector<std::string> layers;  // the topmost first; may be empty
  std::string upper;                // absolute path; empty: distributions/ID/upper below the data directory
  std::string default_user;         // empty = what usl.conf or wsl.conf says, else root
  std::string source;               // what it was installed or imported from
  ImageConfig config;
  std::map<std::string, std::string> options;  // of `usl set`; keys and values are checked by config
  std::vector<Snapshot> snapshots;
  int64_t created = 0;
};

// 64 lower-case hexadecimal digits: the name of a directory in layers/.
bool IsLayerId(const std::string& text);
// A UUID in lower case, as MakeUuid (RFC 9562, version 4) makes them.
bool IsUuid(const std::string& text);
std::string MakeUuid();

struct RegistryData {
  std::string id;                    // a UUID, from the first change on
  std::string default_distribution;  // a name, or empty
  std::vector<Distribution> distributions;
  std::vector<Image> images;

  // Names are compared without regard to ASCII case, as wsl.exe does. Null when there is none.
  Distribution* Find(const std::string& name);
  const Distribution* Find(const std::string& name) const;
  Image* FindImage(const std::string& reference);
};

class Registry {
 public:
  // Of this user. Nothing is made until the first change.
  static Registry OfUser();
  explicit Registry(std::string data_directory);

  const std::string& directory() const { return directory_; }
  std::string UpperPath(const Distribution& distribution) const;
  // distributions/ID, which holds the lock and, by default, the upper tree.
  std::string DistributionPath(const Distribution& distribution) const;
  std::string LayerPath(const std::string& id) const { return directory_ + "/layers/" + id; }

  // Reads all, under the shared lock; nothing there yet is an empty registry. On failure (a newer version, garbage)
  // `why` has a line that says which file and what to do.
  Result<RegistryData> Read(std::string* why) const;
  // Is this the registry that the trees in the directory were made for? Not when registry.json was moved away and began
  // anew: then what it does not name is not garbage. Its id stands in the file registry.id.
  bool IsFirst(const RegistryData& data) const;
  // Reads, lets `change` edit, and writes crash-safely, all under the exclusive lock. `change` returns a line for
  // people to leave everything as it is, or nothing. The error is EINVAL then, EIO, ENOSPC and the like when writing
  // failed.
  Result<void> Change(const std::function<std::string(RegistryData&)>& change, std::string* why) const;

 private:
  std::string directory_;
};

}  // namespace usl::manager
