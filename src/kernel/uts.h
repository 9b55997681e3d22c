// The names that uname(2) shows; one for the instance, copied by unshare(CLONE_NEWUTS).
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/ref.h"

namespace usl::kernel {

struct UtsNames : RefCounted {
  // The number of the namespace, as in "uts:[N]", but for the first one's.
  const uint64_t id = NextId();
  std::string node_name;
  std::string domain_name = "(none)";

 private:
  static uint64_t NextId() {
    static std::atomic<uint64_t> next{0xf1000000};  // apart from the initial namespaces' and those of mounts
    return next.fetch_add(1);
  }
};

}  // namespace usl::kernel
