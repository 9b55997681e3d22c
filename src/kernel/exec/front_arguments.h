// The arguments that interpreters put in front of a program's own (fs/binfmt_script.c and fs/binfmt_misc.c of Linux).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace usl::kernel::exec {

class FrontArguments {
 public:
  // Takes the first argument off (remove_arg_zero): one that was put in front, else one of the caller's own, of which
  // there is always one at least (Linux makes an empty one where the caller gave none).
  void RemoveFirst() {
    if (list_.empty()) {
      ++dropped_;
    } else {
      list_.erase(list_.begin());
    }
  }
  // Puts an argument in front of all others.
  void Push(std::string argument) { list_.insert(list_.begin(), std::move(argument)); }

  // What stands in front, and how many of the caller's own arguments it replaces.
  const std::vector<std::string>& list() const { return list_; }
  uint32_t dropped() const { return dropped_; }

 private:
  std::vector<std::string> list_;
  uint32_t dropped_ = 0;
};

}  // namespace usl::kernel::exec
