// usl pull, usl images, usl rmi.
#include <cstdio>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/distribution_support.h"
#include "cli/fetch_display.h"
#include "manager/image_store.h"

namespace usl::cli {
namespace {

using manager::Image;
using manager::Registry;

struct PullArguments {
  std::vector<std::string> images;
  bool quiet = false, plain_http = false;
};

int Pull(const PullArguments& arguments) {
  const Registry registry = Registry::OfUser();
  std::vector<manager::ImageReference> references;
  std::string why;
  for (const std::string& text : arguments.images) {
    const auto reference = manager::ParseImageReference(text, &why);
    if (!reference) return Fail(why);
    references.push_back(*reference);
  }
  CatchInterrupts();
  for (const manager::ImageReference& reference : references) {
    FetchDisplay display(arguments.quiet);
    bool is_new = false;
    const auto image = manager::PullImage(
        registry, reference,
        {.plain_http = arguments.plain_http,
         .progress = [&display](const manager::FetchStep& step) { return display.Show(step) && !WasInterrupted(); }},
        &is_new, &why);
    display.Finish();
    if (!image) {
      Fail(why);
      return StatusOfFailure();
    }
    if (arguments.quiet)
      puts(image->digest.c_str());
    else
      printf("%s %s %s\n", image->reference.c_str(), image->digest.c_str(), is_new ? "is new" : "is up to date");
  }
  return 0;
}

std::string DateText(int64_t seconds) {
  const auto time = static_cast<time_t>(seconds);
  tm parts{};
  char text[32] = "";
  if (localtime_r(&time, &parts)) strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
  return text;
}

void PrintImages(const std::vector<Image>& images) {
  size_t width = 5;
  for (const Image& image : images) width = std::max(width, image.reference.size());
  printf("%-*s  %-12s  %6s  %s\n", static_cast<int>(width), "IMAGE", "DIGEST", "LAYERS", "FETCHED");
  for (const Image& image : images) {
    const size_t colon = image.digest.find(':');
    const std::string digest = colon == image.digest.npos ? "" : image.digest.substr(colon + 1, 12);
    printf("%-*s  %-12s  %6zu  %s\n", static_cast<int>(width), image.reference.c_str(), digest.c_str(),
           image.layers.size(), DateText(image.created).c_str());
  }
}

void PrintJson(const std::vector<Image>& images) {
  using nlohmann::json;
  json list = json::array();
  for (const Image& image : images) {
    list.push_back({{"image", image.reference},
                    {"digest", image.digest},
                    {"layers", image.layers},
                    {"created", image.created},
                    {"config",
                     {{"entrypoint", image.config.entrypoint},
                      {"command", image.config.command},
                      {"environment", image.config.environment},
                      {"user", image.config.user},
                      {"working_directory", image.config.working_directory},
                      {"stop_signal", image.config.stop_signal}}}});
  }
  puts(list.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

struct ListArguments {
  bool json = false, quiet = false;
};

int List(const ListArguments& arguments) {
  std::string why;
  const auto data = Registry::OfUser().Read(&why);
  if (!data) return Fail(why);
  if (arguments.json) {
    PrintJson(data->images);
  } else if (arguments.quiet) {
    for (const Image& image : data->images) puts(image.reference.c_str());
  } else {
    PrintImages(data->images);
  }
  return 0;
}

}  // namespace

Command AddPull(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("pull", "Fetch container images, or newer ones of the same names");
  auto arguments = std::make_shared<PullArguments>();
  app->add_option("image", arguments->images,
                  "[docker://][REGISTRY/]NAME[:TAG][@sha256:...], oci:DIR[:TAG], oci-archive:FILE[:TAG] or "
                  "docker-archive:FILE[:NAME:TAG]")
      ->required()
      ->type_name("IMAGE");
  app->add_flag("-q,--quiet", arguments->quiet, "Print the digest only");
  app->add_flag("--plain-http", arguments->plain_http, "Speak to the registry without encryption where it has none");
  return {app, [arguments](const std::vector<std::string>&) { return Pull(*arguments); }};
}

Command AddImages(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("images", "List the container images that are here");
  auto arguments = std::make_shared<ListArguments>();
  app->add_flag("--json", arguments->json, "Print a JSON array with all that is known");
  app->add_flag("-q,--quiet", arguments->quiet, "Print the names only");
  return {app, [arguments](const std::vector<std::string>&) { return List(*arguments); }};
}

Command AddRmi(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand(
      "rmi", "Remove container images; distributions and instances that were made of them keep what they need");
  auto names = std::make_shared<std::vector<std::string>>();
  app->add_option("image", *names, "Name, digest or beginning of the digest")->required()->type_name("IMAGE");
  return {app, [names](const std::vector<std::string>&) {
            std::string why;
            const auto removed = manager::RemoveImages(Registry::OfUser(), *names, &why);
            return removed ? 0 : Fail(why);
          }};
}

}  // namespace usl::cli
