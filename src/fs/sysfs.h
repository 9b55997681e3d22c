// /sys: the parts of the host's that libc, lscpu, JVMs, node and ps-like tools read, by allow-list, read-only.
#pragma once

#include "fs/synthetic_mirror.h"

namespace usl::fs {

class SysFs final : public SyntheticFileSystem {
 public:
  // `network` false: no interfaces. `instance` outlives the file system.
  static Ref<SysFs> Create(const SyntheticInstance& instance, bool network);

  bool network() const { return network_; }
  const MirrorPolicy& policy() const { return policy_; }

 private:
  template <typename T, typename... Args>
  friend Ref<T> usl::MakeRef(Args&&...);
  SysFs(const SyntheticInstance& instance, bool network);

  const bool network_;
  MirrorPolicy policy_;
};

// May guests see this host path below /sys? Exposed for tests.
bool IsSysPathVisible(std::string_view host_path);

}  // namespace usl::fs
