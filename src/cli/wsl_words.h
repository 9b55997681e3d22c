// The options of wsl.exe that are commands here.
#pragma once

#include <string>
#include <vector>

namespace usl::cli {

// `--import D DIR FILE` becomes `import D FILE --location DIR`, `-l -v` becomes `list -v`, and so on; other words stay
// as they are. What wsl.exe takes and USL has no use for (`--version 1`, `--web-download`) is left out.
std::vector<std::string> TranslateWslWords(const std::vector<std::string>& words);

}  // namespace usl::cli
