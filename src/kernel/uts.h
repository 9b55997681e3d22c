// The names that uname(2) shows; one for the instance, copied by unshare(CLONE_NEWUTS).
#pragma once

#include <string>

#include "base/ref.h"

namespace usl::kernel {

struct UtsNames : RefCounted {
  std::string node_name;
  std::string domain_name = "(none)";
};

}  // namespace usl::kernel
