// `usl` used as wsl.exe is: without a command of its own.
#pragma once

#include <string>
#include <vector>

namespace usl::cli {

// Turns the words of wsl.exe into those of usl's commands: "-d D -u U --cd DIR -e CMD", "~", "--", "--terminate D",
// "--shutdown", "--status", "-v". Without words it is the login shell in the default distribution, or where there is
// none nothing. All others come back as they are.
std::vector<std::string> TranslateFrontWords(const std::vector<std::string>& words);

}  // namespace usl::cli
