// What `usl install NAME` can download: catalogue files in JSON, USL's own and the user's.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace usl::manager {

struct CatalogueEntry {
  std::string name;
  std::string description;
  // Of a root file system archive. Empty for those that are made from packages (debian, ubuntu).
  std::string url;
  std::string sha256;      // of the archive, 64 hexadecimal digits
  std::string sha256_url;  // where there is no fixed one: of a text that begins with it
};

// The built-in entries, those of usl/catalogue.json in the directory share/ beside the program's, and those of
// $XDG_CONFIG_HOME/usl/catalogue.json; a later one of the same name replaces an earlier. A file that is not there is
// no error; EINVAL and EIO, with a line in `why`, for one that is no catalogue.
Result<std::vector<CatalogueEntry>> ReadCatalogue(std::string* why);
// The entries of one file: {"version": 1, "distributions": [{"name", "description", "url", "sha256" or "sha256_url"}]}.
Result<std::vector<CatalogueEntry>> ParseCatalogue(const std::string& text, std::string* why);

}  // namespace usl::manager
