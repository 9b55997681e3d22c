// One host tree of a VolFs: the writable one, or a read-only one below it. What its files' owners, modes and types are
// for the guest is the layer's to say.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/attribute_store.h"
#include "fs/directory_cache.h"
#include "fs/host_file.h"

namespace usl::fs {

// What a layer does with a host file of a certain path (the host view's secrets). A tree along the path's components.
struct HostRule {
  enum class Action {
    kNone,
    kHidden,              // as if it were not there
    kEmpty,               // a directory: shown without its content
    kEmptyIfUnreadable,   // the same where the host user may not read it
    kHiddenIfUnreadable,  // a file: absent where the host user may not read it
  };
  Action action = Action::kNone;
  std::map<std::string, HostRule, std::less<>> members;

  // Sets the action for a path below this rule: "etc/shadow" (a leading slash is ignored).
  void Set(std::string_view path, Action action);
  const HostRule* Find(std::string_view name) const;
};

enum class Owners {
  kRecord,  // the attribute record; without one: root, the host's mode
  kHost,    // the host's own owners and modes; records are not looked at
  kMapped,  // the host user's files belong to a given guest user (DrvFs); records count with `metadata`
};

// How the members of a DrvFs's directories are found.
enum class NameCase {
  kForce,  // by their exact names, as on Linux
  kDir,    // without regard to case, but in directories that are marked as sensitive
  kOff,    // without regard to case
};

struct LayerOptions {
  std::string path;  // the host directory; symlinks in it are followed once, when it is opened
  Owners owners = Owners::kRecord;
  bool cross_mounts = true;      // kHost: false shows what is mounted below as empty, unless it is a disk file system
  HostRule rules;                // kHost
  std::vector<HostKey> emptied;  // kHost: directories that are shown empty wherever they appear
  uid_t mapped_uid = 0;          // kMapped
  gid_t mapped_gid = 0;
  mode_t file_mask = 0, directory_mask = 0;
  bool metadata = false;
  bool host_modes =
      true;  // kMapped: false shows what the host user may do as 0777, and everything as the mapped user's
};

// One name of one layer.
struct HostEntry {
  struct statx status;
  std::unique_ptr<AttributeRecord> record;  // null when there is none
  const HostRule* rule = nullptr;
  bool shown_empty = false;

  uint32_t host_type() const { return status.stx_mode & S_IFMT; }
  uint32_t type() const { return record && record->type ? record->type : host_type(); }
  // A regular host file standing for the device 0:0: the name is removed from the layers below.
  bool IsWhiteout() const { return record && record->type == S_IFCHR && record->rdev == 0; }
};

struct Ownership {
  uint32_t mode;  // the twelve permission bits
  uid_t uid;
  gid_t gid;
};

class Layer {
 public:
  // Opens the tree. Errors of open(2).
  static Result<std::unique_ptr<Layer>> Open(LayerOptions options, std::unique_ptr<AttributeStore> store);

  const Ref<HostDirectory>& root() const { return root_; }
  int root_fd() const { return root_fd_->fd(); }
  AttributeStore& store() { return *store_; }
  Owners owners() const { return options_.owners; }
  const LayerOptions& options() const { return options_; }
  // Are records looked at and written here?
  bool UsesRecords() const {
    return options_.owners == Owners::kRecord || (options_.owners == Owners::kMapped && options_.metadata);
  }

  // Looks one name up; nullopt when it is not there or hidden. `directory` is of this layer, `cache` opens it.
  Result<std::optional<HostEntry>> Probe(DirectoryCache& cache, HostDirectory& directory, std::string_view name);
  // The same for the file behind an fd of this layer, without rules.
  Result<HostEntry> ProbePlace(const HostPlace& place);
  Ownership OwnershipOf(const struct statx& status, const AttributeRecord* record) const;
  // Will reading a file with these times leave its access time as it is, for the next 12 hours at least? By the host
  // mount's flags (mount(8): relatime, noatime).
  bool AccessTimeRests(const timespec& atime, const timespec& mtime, const timespec& ctime) const;
  // Is `path` (from readlink of /proc/self/fd) inside the tree? The rest of it, without a leading slash.
  std::optional<std::string> RelativePath(std::string_view path) const;

 private:
  Layer(LayerOptions options, std::unique_ptr<AttributeStore> store);
  // The permission bits that every guest user gets on a file of a kMapped layer without host_modes.
  uint32_t EffectiveMode(const struct statx& status) const;
  // Applies the rules to a found entry: false when it is to be hidden.
  bool ApplyRules(const HostDirectory& directory, const HostPlace& place, std::string_view name,
                  HostEntry& entry) const;

  LayerOptions options_;
  std::unique_ptr<AttributeStore> store_;
  Ref<OpenDirectory> root_fd_;
  Ref<HostDirectory> root_;
  uid_t host_uid_;
  gid_t host_gid_;
  unsigned long mount_flags_ = 0;  // ST_* of statfs(2)
  std::vector<gid_t> host_groups_;
};

}  // namespace usl::fs
