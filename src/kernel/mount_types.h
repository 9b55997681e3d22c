// The types of file systems that mount(2) can make, by name. Filled when the instance is set up; guarded by the kernel
// lock.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/ref.h"
#include "base/result.h"
#include "vfs/context.h"
#include "vfs/file_system.h"

namespace usl::kernel {

// What mount(2) was asked for, texts as the guest gave them.
struct MountRequest {
  const vfs::Context& view;  // of the caller, who has CAP_SYS_ADMIN
  std::string source;
  std::string options;  // of the file system itself: "size=64m,mode=1777"
  unsigned flags = 0;   // MS_* of the mount
};

class MountTypes {
 public:
  // Makes a new file system, or gives an existing one that is to be mounted once more (as proc of the same instance).
  // EINVAL for options that it does not know, as Linux's does.
  using Factory = std::function<Result<Ref<vfs::FileSystem>>(const MountRequest&)>;

  // `needs_device`: false is shown as "nodev" in /proc/filesystems.
  void Add(std::string type, Factory factory, bool needs_device = false) {
    types_[std::move(type)] = {std::move(factory), needs_device, nullptr};
  }
  // Says whether a type knows one option, "size=64m" or "newinstance": ENOENT for an unknown name, EINVAL for a wrong
  // value. A type without a check knows all.
  using OptionCheck = std::function<Result<void>(std::string_view option)>;
  void SetCheck(std::string_view type, OptionCheck check) {
    const auto found = types_.find(type);
    if (found != types_.end()) found->second.check = std::move(check);
  }
  Result<void> Check(std::string_view type, std::string_view option) const {
    const auto found = types_.find(type);
    if (found == types_.end() || !found->second.check) return {};
    return found->second.check(option);
  }
  bool Has(std::string_view type) const { return types_.contains(type); }

  // ENODEV for an unknown type, EINVAL for an option that its check refuses.
  Result<Ref<vfs::FileSystem>> Make(std::string_view type, const MountRequest& request) const {
    const auto found = types_.find(type);
    if (found == types_.end()) return Fail(ENODEV);
    std::string_view rest = request.options;
    while (!rest.empty()) {
      const std::string_view option = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(option.size() + 1, rest.size()));
      if (!option.empty() && !Check(type, option)) return Fail(EINVAL);
    }
    return found->second.factory(request);
  }
  // The lines of /proc/filesystems.
  std::string List() const {
    std::string text;
    for (const auto& [name, type] : types_) text += (type.needs_device ? "\t" : "nodev\t") + name + "\n";
    return text;
  }

 private:
  struct Type {
    Factory factory;
    bool needs_device;
    OptionCheck check;
  };
  std::map<std::string, Type, std::less<>> types_;
};

}  // namespace usl::kernel
