#include "manager/catalogue.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "manager/host_paths.h"
#include "manager/registry.h"
#include "manager/run_options.h"

namespace usl::manager {
namespace {

using Json = nlohmann::json;

std::vector<std::string> CataloguePaths() {
  std::vector<std::string> paths;
  char program[4096];
  const ssize_t size = readlink("/proc/self/exe", program, sizeof program);
  if (size > 0 && size < static_cast<ssize_t>(sizeof program)) {
    const std::string path(program, static_cast<size_t>(size));
    paths.push_back(path.substr(0, path.rfind('/')) + "/../share/usl/catalogue.json");
  }
  const char* config = getenv("XDG_CONFIG_HOME");
  const std::string home = HostHome();
  if (config && config[0] == '/') {
    paths.push_back(std::string(config) + "/usl/catalogue.json");
  } else if (!home.empty()) {
    paths.push_back(home + "/.config/usl/catalogue.json");
  }
  return paths;
}

std::string Text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool IsHttp(const std::string& url) {
  return url.starts_with("https://") || url.starts_with("http://");
}

// What is wrong with it, or nothing.
std::string Check(const Json& object, const CatalogueEntry& entry) {
  for (const auto& item : object.items()) {
    if (!item.value().is_string()) return format("\"{}\" is no text", item.key());
  }
  if (!IsValidName(entry.name)) return format("\"{}\" is no name for a distribution", entry.name);
  if (!IsHttp(entry.url)) return format("\"{}\" has no \"url\" of http or https", entry.name);
  // Whoever can change a download on its way must not be able to change the digest too.
  const bool has_digest = IsLayerId(entry.sha256), has_source = entry.sha256_url.starts_with("https://");
  if (has_digest == has_source) {
    return format("\"{}\" needs either \"sha256\" of 64 lower-case hexadecimal digits or \"sha256_url\" of https",
                  entry.name);
  }
  return {};
}

}  // namespace

Result<std::vector<CatalogueEntry>> ParseCatalogue(const std::string& text, std::string* why) {
  const Json json = Json::parse(text, nullptr, false);
  const auto refuse = [&](const std::string& what) {
    *why = what;
    return Fail(EINVAL);
  };
  if (!json.is_object()) return refuse("it is no JSON object");
  if (const auto version = json.find("version"); version == json.end() || *version != 1) {
    return refuse("its \"version\" is not 1");
  }
  const auto list = json.find("distributions");
  if (list == json.end() || !list->is_array()) return refuse("it has no list \"distributions\"");
  std::vector<CatalogueEntry> entries;
  for (const Json& object : *list) {
    if (!object.is_object()) return refuse("a member of \"distributions\" is no object");
    CatalogueEntry entry{Text(object, "name"), Text(object, "description"), Text(object, "url"), Text(object, "sha256"),
                         Text(object, "sha256_url")};
    if (const std::string wrong = Check(object, entry); !wrong.empty()) return refuse(wrong);
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<std::vector<CatalogueEntry>> ReadCatalogue(std::string* why) {
  std::vector<CatalogueEntry> all = {
      {"debian", "Debian, from its packages (debian:SUITE; needs mmdebstrap)", "", "", ""},
      {"ubuntu", "Ubuntu, from its packages (ubuntu:SUITE; needs mmdebstrap and ubuntu-keyring)", "", "", ""},
  };
  for (const std::string& path : CataloguePaths()) {
    if (access(path.c_str(), F_OK) < 0) continue;
    std::ifstream file(path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file) {
      *why = format("cannot read the catalogue \"{}\"", path);
      return Fail(EIO);
    }
    std::string wrong;
    auto entries = ParseCatalogue(text, &wrong);
    if (!entries) {
      *why = format("cannot use the catalogue \"{}\": {}; put it right, or move it away", path, wrong);
      return Fail(entries.error());
    }
    for (CatalogueEntry& entry : *entries) {
      std::erase_if(all, [&](const CatalogueEntry& each) { return each.name == entry.name; });
      all.push_back(std::move(entry));
    }
  }
  return all;
}

}  // namespace usl::manager
