// Debian and its kin from their packages: mmdebstrap, run as the guest's root in a view of this machine, so that it
// needs no privilege.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::manager {

struct BootstrapSource {
  std::string distribution;  // "debian" or "ubuntu"
  std::string suite;         // empty: the host's own, else the stable one
};

// Parses "debian", "ubuntu:noble"...; nothing for other texts.
std::optional<BootstrapSource> ParseBootstrap(const std::string& text);

// A bootstrap that runs in a child process and writes a tar archive to a pipe.
class Bootstrap {
 public:
  // ENOENT: no mmdebstrap on this machine. Call it while the process is single-threaded.
  static Result<Bootstrap> Start(const BootstrapSource& source, bool quiet, std::string* why);
  Bootstrap(Bootstrap&& other) noexcept;
  Bootstrap& operator=(Bootstrap&&) = delete;
  // Ends it.
  ~Bootstrap();

  int output() const { return output_.get(); }
  // Waits until it has ended; its exit status.
  int Wait();

 private:
  Bootstrap(pid_t child, UniqueFd output) : child_(child), output_(std::move(output)) {}
  pid_t child_;
  UniqueFd output_;
};

}  // namespace usl::manager
