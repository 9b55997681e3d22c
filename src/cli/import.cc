#include <sys/stat.h>

#include <cstdlib>
#include <memory>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/distribution_support.h"
#include "manager/host_paths.h"
#include "manager/rootfs_check.h"

namespace usl::cli {
namespace {

// As the registry wants it. Empty, with a line in `why`, when there is no such directory.
std::string RealPath(const std::string& path, std::string* why) {
  char* real = realpath(path.c_str(), nullptr);
  if (!real) *why = format("cannot find \"{}\": {}", path, manager::ErrorText(errno));
  const std::string result = real ? real : "";
  free(real);
  return result;
}

struct ImportOptions {
  std::string name, file, location;
  bool quiet = false;
};

int Import(const ImportOptions& options) {
  CatchInterrupts();
  std::string why;
  manager::Distributions distributions(manager::Registry::OfUser());
  if (!distributions.CheckNewName(options.name, &why)) return Fail(why);
  auto fd = OpenInput(options.file, &why);
  if (!fd) return Fail(why);
  manager::NewDistribution wanted{.name = options.name, .source = options.file};
  if (!options.location.empty()) {
    if (auto made = manager::MakeDirectories(options.location); !made) {
      return Fail(format("cannot make \"{}\": {}", options.location, manager::ErrorText(made.error().code())));
    }
    wanted.location = RealPath(options.location, &why);
    if (wanted.location.empty()) return Fail(why);
  }
  Progress progress(format("unpacking \"{}\"", options.file), options.quiet);
  const auto imported =
      distributions.Import(fd->get(), {.what = options.file, .progress = progress.Callback()}, std::move(wanted), &why);
  progress.Clear();
  if (imported) return 0;
  Fail(why);
  return StatusOfFailure();
}

}  // namespace

Command AddImport(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("import", "Make a distribution of a tar archive");
  auto options = std::make_shared<ImportOptions>();
  app->add_option("name", options->name, "What to call it")->required()->type_name("NAME");
  app->add_option("file", options->file, "The archive (plain, gzip, bzip2, xz or zstd); - is standard input")
      ->required()
      ->type_name("FILE");
  app->add_option("--location", options->location, "Keep its changed files below this directory")->type_name("DIR");
  app->add_flag("-q,--quiet", options->quiet, "Show no progress");
  return {.app = app, .action = [options](const std::vector<std::string>&) { return Import(*options); }};
}

Command AddImportInPlace(CLI::App& parser) {
  CLI::App* app =
      parser.add_subcommand("import-in-place", "Make a distribution of a directory, which is used as it is");
  struct Options {
    std::string name, directory;
  };
  auto options = std::make_shared<Options>();
  app->add_option("name", options->name, "What to call it")->required()->type_name("NAME");
  app->add_option("directory", options->directory, "The root of its tree; it stays when the distribution is removed")
      ->required()
      ->type_name("DIR");
  return {.app = app, .action = [options](const std::vector<std::string>&) {
            std::string why;
            const std::string tree = RealPath(options->directory, &why);
            if (tree.empty()) return Fail(why);
            if (const std::string bad = manager::ExplainBadRootfs(tree); !bad.empty()) {
              return Fail(format("cannot use \"{}\": it {}", tree, bad));
            }
            manager::Distributions distributions(manager::Registry::OfUser());
            const auto hold = manager::StoreHold::Take(distributions.registry(), &why);
            if (!hold) return Fail(why);
            const auto added =
                distributions.Add(*hold, {.name = options->name, .in_place = tree, .source = tree}, &why);
            return added ? 0 : Fail(why);
          }};
}

}  // namespace usl::cli
