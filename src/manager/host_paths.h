// Where USL keeps things on the host (the XDG base directories), found without NSS.
#pragma once

#include <string>

#include "base/result.h"

namespace usl::manager {

// The host user's home: $HOME, else /etc/passwd's; empty when neither tells.
std::string HostHome();
// $XDG_DATA_HOME/usl, or ~/.local/share/usl, or /var/tmp/usl-UID-data without a home. Not created.
std::string DataDirectory();
// Makes a directory and its missing parents, mode 0700. Errors as mkdir(2); ENOTDIR.
Result<void> MakeDirectories(const std::string& path);

// The log text of an errno.
std::string ErrorText(int error);

}  // namespace usl::manager
