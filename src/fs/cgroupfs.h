// cgroup2 with the one group that an instance has: what JVMs, node, Go and systemd look at. Groups cannot be made.
#pragma once

#include "fs/proc_source.h"
#include "fs/synthetic.h"

namespace usl::fs {

class CgroupFs final : public SyntheticFileSystem {
 public:
  // `source` and `instance` outlive the file system.
  static Ref<CgroupFs> Create(ProcSource& source, const SyntheticInstance& instance);

 private:
  template <typename T, typename... Args>
  friend Ref<T> usl::MakeRef(Args&&...);
  explicit CgroupFs(const SyntheticInstance& instance);
};

}  // namespace usl::fs
