#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/distribution_support.h"
#include "manager/catalogue.h"
#include "manager/distribution_lock.h"

namespace usl::cli {
namespace {

struct ListOptions {
  bool quiet = false, verbose = false, all = false, running = false, online = false, json = false;
};

int ListOnline(const ListOptions& options) {
  std::string why;
  const auto catalogue = manager::ReadCatalogue(&why);
  if (!catalogue) return Fail(why);
  size_t width = 4;
  for (const auto& entry : *catalogue) width = std::max(width, entry.name.size());
  if (!options.quiet) printf("%-*s  %s\n", static_cast<int>(width), "NAME", "DESCRIPTION");
  for (const auto& entry : *catalogue) {
    if (options.quiet) {
      puts(entry.name.c_str());
    } else {
      printf("%-*s  %s\n", static_cast<int>(width), entry.name.c_str(), entry.description.c_str());
    }
  }
  return 0;
}

void PrintJson(const manager::Registry& registry, const manager::RegistryData& data,
               const std::vector<const manager::Distribution*>& shown) {
  auto list = nlohmann::json::array();
  for (const manager::Distribution* each : shown) {
    auto snapshots = nlohmann::json::array();
    for (const auto& snapshot : each->snapshots) {
      snapshots.push_back({{"name", snapshot.name}, {"created", snapshot.created}});
    }
    list.push_back({{"name", each->name},
                    {"id", each->id},
                    {"default", data.Find(data.default_distribution) == each},
                    {"running", manager::IsInUse(registry, *each)},
                    {"source", each->source},
                    {"created", each->created},
                    {"layers", each->layers},
                    {"upper", registry.UpperPath(*each)},
                    {"user", each->default_user},
                    {"snapshots", snapshots}});
  }
  puts(list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

int List(const ListOptions& options) {
  if (options.online) return ListOnline(options);
  std::string why;
  const manager::Registry registry = manager::Registry::OfUser();
  const auto data = registry.Read(&why);
  if (!data) return Fail(why);
  std::vector<const manager::Distribution*> shown;
  size_t width = 4;
  for (const auto& each : data->distributions) {
    if (options.running && !manager::IsInUse(registry, each)) continue;
    shown.push_back(&each);
    width = std::max(width, each.name.size());
  }
  const manager::Distribution* is_default = data->Find(data->default_distribution);
  if (options.json) {
    PrintJson(registry, *data, shown);
  } else if (options.quiet) {
    for (const auto* each : shown) puts(each->name.c_str());
  } else if (shown.empty()) {
    puts(data->distributions.empty() ? "No distribution is installed; `usl install` installs one."
                                     : "No distribution runs.");
  } else if (options.verbose) {
    printf("  %-*s  %-7s  %s\n", static_cast<int>(width), "NAME", "STATE", "VERSION");
    for (const auto* each : shown) {
      printf("%c %-*s  %-7s  %d\n", each == is_default ? '*' : ' ', static_cast<int>(width), each->name.c_str(),
             manager::IsInUse(registry, *each) ? "Running" : "Stopped", 1);
    }
  } else {
    for (const auto* each : shown) printf("%s%s\n", each->name.c_str(), each == is_default ? " (Default)" : "");
  }
  return 0;
}

}  // namespace

Command AddList(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("list", "List the distributions");
  auto options = std::make_shared<ListOptions>();
  app->add_flag("-q,--quiet", options->quiet, "Names alone");
  app->add_flag("-v,--verbose", options->verbose, "With their states");
  app->add_flag("--all", options->all, "Those that are being installed too (they have no names before they are there)");
  app->add_flag("--running", options->running, "Those that run alone");
  app->add_flag("-o,--online", options->online, "What `usl install` can get");
  app->add_flag("--json", options->json, "Print a JSON list");
  return {.app = app, .action = [options](const std::vector<std::string>&) { return List(*options); }};
}

}  // namespace usl::cli
