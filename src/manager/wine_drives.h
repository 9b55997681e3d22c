// Windows paths on a Linux host: the drives of a Wine prefix ("C:" is what $WINEPREFIX/dosdevices/c: leads to).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace usl::manager {

class WineDrives {
 public:
  // Those of $WINEPREFIX, or of ~/.wine; none where there is no such directory.
  static WineDrives OfUser();
  // Those of a given prefix. Links that lead nowhere, and devices (com1, "c::"), are left out.
  explicit WineDrives(const std::string& prefix);

  // Letter ('a' to 'z') to absolute host path without symlinks.
  const std::map<char, std::string>& list() const { return drives_; }

  // Does the text start as a path with a drive does ("C:", "c:\x", "C:/x")?
  static bool IsDosPath(std::string_view text);
  // The host path of such a text. Each component is taken as it is if it exists so, else as the existing one that
  // differs in case only, as Wine does; what is missing stays as written. ENODEV for a drive that there is not, EINVAL
  // for what is no absolute path with a drive ("C:x" too).
  Result<std::string> ToHost(std::string_view text) const;
  // The text with a drive for a host path: that of the drive that leads nearest to it (of several the first letter).
  // ENOENT when none does.
  Result<std::string> FromHost(const std::string& host_path, char separator = '\\') const;

  // The components behind the drive, or nullopt for no absolute DOS path.
  static std::optional<std::vector<std::string>> Components(std::string_view text);

 private:
  std::map<char, std::string> drives_;
};

}  // namespace usl::manager
