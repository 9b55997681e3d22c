#include "manager/config.h"

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "cli/commands.h"
#include "manager/config_schema.h"
#include "manager/distributions.h"
#include "manager/host_paths.h"
#include "manager/stored_tree.h"
#include "manager/supervisor.h"

namespace usl::cli {
namespace {

using manager::Config;
using manager::ConfigKey;
using manager::ConfigValue;

int Refuse(const std::string& why) {
  fprintf(stderr, "usl: %s\n", why.c_str());
  return manager::kOwnFailure;
}

std::string NoSuchDistribution(const std::string& name) {
  return format("there is no distribution \"{}\"; `usl list` shows those that there are",
                manager::PrintableConfig(name));
}

struct Shown {
  std::string name;  // empty: the host's settings alone
  Config config;
};

// Reads what holds for a distribution or a tree. On failure `why` has a line for people.
Result<Shown> Collect(const std::string& name, const std::string& rootfs, std::string* why) {
  manager::RunOptions options;
  Shown shown{.name = name, .config = {}};
  if (!rootfs.empty()) {
    options.rootfs = rootfs;
  } else {
    const manager::Registry registry = manager::Registry::OfUser();
    const manager::RegistryData data = USL_TRY(registry.Read(why));
    if (shown.name.empty()) shown.name = data.default_distribution;
    const manager::Distribution* distribution = shown.name.empty() ? nullptr : data.Find(shown.name);
    if (!distribution && !shown.name.empty()) {
      *why = NoSuchDistribution(shown.name);
      return Fail(ENOENT);
    }
    if (distribution) {
      shown.name = distribution->name;
      manager::UseDistribution(registry, *distribution, options);
    } else {
      options.host_config.push_back(manager::ReadHostConfig());
    }
  }
  std::vector<manager::ConfigFile> files = options.host_config;
  if (!options.rootfs.empty()) {
    const auto tree = manager::StoredTree::Open(options);
    if (!tree) {
      *why = format("cannot read the files in \"{}\": {}", options.rootfs, manager::ErrorText(tree.error().code()));
      return Fail(tree.error());
    }
    const manager::GuestView view = tree->view();
    for (manager::ConfigFile& file : manager::ReadGuestConfig(
             [&view](const std::string& path) { return view.ReadFile(path, manager::kMaxConfigSize); })) {
      files.push_back(std::move(file));
    }
  }
  shown.config = Config::Merge(std::move(files));
  return shown;
}

std::string_view RestartName(manager::ServiceRestart restart) {
  switch (restart) {
    case manager::ServiceRestart::kNever: return "never";
    case manager::ServiceRestart::kOnFailure: return "on-failure";
    case manager::ServiceRestart::kAlways: return "always";
  }
  return "";
}

// Keys that mean nothing here are shown where somebody set them only.
bool IsShown(const ConfigKey& key, const ConfigValue& value) {
  return key.type != manager::ConfigType::kIgnored || value.origin != manager::ConfigOrigin::kBuiltIn;
}

void PrintJson(const Shown& shown) {
  nlohmann::ordered_json json;
  json["distribution"] = shown.name;
  json["values"] = nlohmann::ordered_json::object();
  for (const ConfigKey& key : manager::ConfigKeys()) {
    const ConfigValue& value = shown.config.Of(key.name);
    if (!IsShown(key, value)) continue;
    json["values"][std::string(key.name)] = {{"value", value.text},
                                             {"origin", std::string(manager::ConfigOriginName(value.origin))},
                                             {"where", value.where},
                                             {"ignored", key.type == manager::ConfigType::kIgnored}};
  }
  json["services"] = nlohmann::ordered_json::array();
  for (const manager::ServiceSetting& service : shown.config.services()) {
    json["services"].push_back({{"name", service.name},
                                {"command", service.command},
                                {"user", service.user},
                                {"restart", std::string(RestartName(service.restart))}});
  }
  json["warnings"] = shown.config.warnings();
  // A guest wrote the texts: what is no UTF-8 is replaced.
  puts(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void Print(const Shown& shown) {
  for (const ConfigKey& key : manager::ConfigKeys()) {
    const ConfigValue& value = shown.config.Of(key.name);
    if (!IsShown(key, value)) continue;
    const bool ignored = key.type == manager::ConfigType::kIgnored;
    std::string text = manager::PrintableConfig(value.text);
    if (key.type == manager::ConfigType::kDuration && text != "never") text += "ms";
    printf("%-28s %-20s %s%s%s\n", std::string(key.name).c_str(), text.empty() ? "-" : text.c_str(),
           value.where.empty() ? "built in" : manager::PrintableConfig(value.where).c_str(),
           ignored ? "; no effect: " : "", ignored ? std::string(key.effect).c_str() : "");
  }
  for (const manager::ServiceSetting& service : shown.config.services()) {
    printf("%-28s %-20s %s\n", ("service " + service.name).c_str(), manager::PrintableConfig(service.command).c_str(),
           std::string(RestartName(service.restart)).c_str());
  }
}

int ShowConfig(const std::string& name, const std::string& rootfs, bool json) {
  std::string why = "cannot read the configuration";
  const auto shown = Collect(name, rootfs, &why);
  if (!shown) return Refuse(why);
  for (const std::string& warning : shown->config.warnings()) fprintf(stderr, "usl: %s\n", warning.c_str());
  if (json) {
    PrintJson(*shown);
  } else {
    Print(*shown);
  }
  return 0;
}

// The stored text is the user's own: what it means may depend on the home.
int SetOption(const std::string& name, const std::string& key, const std::string& value, bool unset) {
  std::string why;
  const ConfigKey* known = manager::FindConfigKey(key);
  if (!unset) {
    const auto setting = manager::CheckSetting(key, value, manager::ConfigOrigin::kSet, "usl set", &why);
    if (!setting) {
      return Refuse(known ? why : why + "; docs/configuration.md and `usl config` have all");
    }
  }
  const auto changed = manager::Registry::OfUser().Change(
      [&](manager::RegistryData& data) {
        manager::Distribution* distribution = data.Find(name);
        if (!distribution) return NoSuchDistribution(name);
        const std::string stored = known ? std::string(known->name) : key;
        if (stored == "user.default") {
          distribution->default_user = unset ? "" : value;
        } else if (unset) {
          distribution->options.erase(stored);
        } else {
          distribution->options[stored] = value;
        }
        return std::string();
      },
      &why);
  return changed ? 0 : Refuse(why);
}

}  // namespace

Command AddConfig(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("config", "Show a distribution's configuration, and where each value is from");
  struct Options {
    std::string name, rootfs;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::Option* name =
      app->add_option("name", options->name, "Which one (default: the default distribution)")->type_name("NAME");
  app->add_option("--rootfs", options->rootfs, "The files of a tree that is no distribution")
      ->type_name("DIR")
      ->excludes(name);
  app->add_flag("--json", options->json, "Print one JSON object");
  app->footer(
      "Precedence: the command line, `usl set`, the distribution's /etc/usl.conf and /etc/wsl.conf, the host's\n"
      "~/.config/usl/config.toml, built in. What opens something of the host's a distribution's files cannot set.");
  return {.app = app, .action = [options](const std::vector<std::string>&) {
            return ShowConfig(options->name, options->rootfs, options->json);
          }};
}

Command AddSet(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("set", "Set an option of a distribution; it counts from the next start on");
  struct Options {
    std::string name, key, value;
    bool unset = false;
  };
  auto options = std::make_shared<Options>();
  app->add_option("name", options->name, "Which one")->required()->type_name("NAME");
  app->add_option("key", options->key, "What, as `usl config` shows it")->required()->type_name("KEY");
  CLI::Option* value = app->add_option("value", options->value, "Its new value")->type_name("VALUE");
  app->add_flag("--unset", options->unset, "Forget what was set")->excludes(value);
  return {.app = app, .action = [options, value](const std::vector<std::string>&) {
            if (!options->unset && value->count() == 0) {
              return Refuse(format("set: give a value for {}, or --unset", manager::PrintableConfig(options->key)));
            }
            return SetOption(options->name, options->key, options->value, options->unset);
          }};
}

}  // namespace usl::cli
