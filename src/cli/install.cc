#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/distribution_support.h"
#include "cli/fetch_display.h"
#include "manager/bootstrap.h"
#include "manager/catalogue.h"
#include "manager/fetch.h"
#include "manager/host_paths.h"
#include "manager/image_install.h"

namespace usl::cli {
namespace {

using manager::Distributions;

struct InstallOptions {
  std::string what, file, name, location;
  bool quiet = false, no_launch = false, list = false, plain_http = false;
};

class Installer {
 public:
  explicit Installer(const InstallOptions& options) : options_(options), distributions_(manager::Registry::OfUser()) {}

  int Run() {
    CatchInterrupts();
    if (!Install()) {
      Fail(why_);
      return StatusOfFailure();
    }
    if (!options_.quiet)
      fprintf(stderr, "usl: \"%s\" is installed; `usl run -d %s` starts it\n", wanted_.name.c_str(),
              wanted_.name.c_str());
    return 0;
  }

 private:
  bool Refuse(std::string why) {
    why_ = std::move(why);
    return false;
  }

  bool Install() {
    if (!options_.file.empty()) return FromFile(options_.file);
    if (options_.what.empty()) return Refuse("say what to install: a name of `usl list --online`, or an archive");
    if (const auto source = manager::ParseBootstrap(options_.what)) return FromPackages(*source);
    if (manager::HasImageTransport(options_.what)) return FromImage();
    const auto catalogue = manager::ReadCatalogue(&why_);
    if (!catalogue) return false;
    const auto entry = std::ranges::find(*catalogue, options_.what, &manager::CatalogueEntry::name);
    if (entry != catalogue->end()) return FromCatalogue(*entry);
    if (options_.what.find('/') != std::string::npos || access(options_.what.c_str(), F_OK) == 0) {
      return FromFile(options_.what);
    }
    return Refuse(
        format("there is no distribution \"{}\" to install and no file of that name; `usl list --online` "
               "tells what there is",
               options_.what));
  }

  // `name` is what it is called unless the user says.
  bool Prepare(const std::string& name) {
    wanted_.name = options_.name.empty() ? name : options_.name;
    wanted_.source = options_.file.empty() ? options_.what : options_.file;
    if (!options_.location.empty()) {
      if (auto made = manager::MakeDirectories(options_.location); !made) {
        return Refuse(format("cannot make \"{}\": {}", options_.location, manager::ErrorText(made.error().code())));
      }
      char* real = realpath(options_.location.c_str(), nullptr);
      wanted_.location = real ? real : "";
      free(real);
    }
    return distributions_.CheckNewName(wanted_.name, &why_).has_value();
  }

  bool FromFile(const std::string& path) {
    if (!Prepare(NameOfArchive(path))) return false;
    const auto fd = OpenInput(path, &why_);
    return fd && Unpack(fd->get(), path);
  }

  bool Unpack(int fd, const std::string& what) {
    Progress progress(format("unpacking \"{}\"", what), options_.quiet);
    return distributions_.Import(fd, {.what = what, .progress = progress.Callback()}, wanted_, &why_).has_value();
  }

  bool FromImage() {
    const auto reference = manager::ParseImageReference(options_.what, &why_);
    if (!reference || !Prepare(manager::NameOfImage(*reference))) return false;
    wanted_.source = reference->Text();
    FetchDisplay display(options_.quiet);
    const manager::FetchOptions fetch{
        .plain_http = options_.plain_http,
        .progress = [&](const manager::FetchStep& step) { return display.Show(step) && !WasInterrupted(); }};
    return manager::InstallImage(distributions_, *reference, fetch, wanted_, &why_).has_value();
  }

  // The archive is unpacked while it is made; that it is whole is known at the end only.
  bool FromPackages(const manager::BootstrapSource& source) {
    if (!Prepare(source.suite.empty() ? source.distribution : source.distribution + "-" + source.suite)) return false;
    distributions_.store().Sweep();
    const auto hold = manager::StoreHold::Take(distributions_.registry(), &why_);
    if (!hold) return false;
    auto bootstrap = manager::Bootstrap::Start(source, options_.quiet, &why_);
    if (!bootstrap) return false;
    const std::string what = options_.what;
    manager::ExtractOptions extract{.what = what};
    extract.progress = [](const manager::ArchiveProgress&) { return !WasInterrupted(); };
    const auto layer = distributions_.store().Import(*hold, bootstrap->output(), extract, "", what, &why_);
    if (!layer && WasInterrupted()) return false;  // ends the bootstrap
    const int status = bootstrap->Wait();
    // It ends badly because nobody reads what it makes.
    if (!layer && layer.error().code() != EBADMSG) return false;
    if (status != 0) {
      return Refuse(format("mmdebstrap could not make \"{}\" (status {}); its messages are above", what, status));
    }
    if (!layer) return false;
    wanted_.layers = {layer->id};
    return distributions_.Add(*hold, wanted_, &why_).has_value();
  }

  bool FromCatalogue(const manager::CatalogueEntry& entry) {
    if (!Prepare(entry.name)) return false;
    const std::string cache = distributions_.registry().directory() + "/cache";
    if (auto made = manager::MakeDirectories(cache); !made) {
      return Refuse(format("cannot make \"{}\": {}", cache, manager::ErrorText(made.error().code())));
    }
    Progress progress(format("downloading \"{}\"", entry.url), options_.quiet);
    manager::Fetcher fetcher([&](const manager::TransferProgress& now) {
      return progress.Show({.done = now.done, .total = now.total, .files = 0});
    });
    std::string sha256 = entry.sha256;
    if (sha256.empty()) {
      const auto reply = fetcher.Get({.url = entry.sha256_url, .max_size = 65536}, &why_);
      if (!reply) return false;
      sha256 = reply->body.substr(0, 64);
      if (reply->status != 200 || !manager::IsLayerId(sha256)) {
        return Refuse(format("\"{}\" is no SHA-256 (HTTP status {})", entry.sha256_url, reply->status));
      }
    }
    const std::string path = cache + "/" + sha256;
    constexpr uint64_t kMaxArchive = uint64_t{64} << 30;
    if (!fetcher.Download({.http = {.url = entry.url, .max_size = kMaxArchive}, .path = path, .sha256 = sha256},
                          &why_)) {
      return false;
    }
    progress.Clear();
    const auto fd = OpenInput(path, &why_);
    const bool unpacked = fd && Unpack(fd->get(), entry.url);
    // The layer has it now.
    if (unpacked) unlink(path.c_str());
    return unpacked;
  }

  const InstallOptions& options_;
  Distributions distributions_;
  manager::NewDistribution wanted_;
  std::string why_;
};

}  // namespace

Command AddInstall(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand(
      "install", "Install a distribution, from packages, an archive, a container image or the catalogue");
  auto options = std::make_shared<InstallOptions>();
  app->add_option("what", options->what,
                  "debian[:SUITE], ubuntu[:SUITE], a name of `usl list --online`, a tar archive, or a container image: "
                  "docker://[REGISTRY/]NAME[:TAG], oci:DIR, oci-archive:FILE, docker-archive:FILE")
      ->type_name("WHAT");
  app->add_option("-f,--from-file", options->file, "The archive to install")->type_name("FILE");
  app->add_option("--name", options->name, "What to call it (default: as it is called there)")->type_name("NAME");
  app->add_option("-l,--location", options->location, "Keep its changed files below this directory")->type_name("DIR");
  app->add_flag("-n,--no-launch", options->no_launch, "Do not start it, which `usl install` never does");
  app->add_flag("-q,--quiet", options->quiet, "Show no progress");
  app->add_flag("--plain-http", options->plain_http, "Fetch an image without encryption from a registry without TLS");
  return {.app = app, .action = [options](const std::vector<std::string>&) { return Installer(*options).Run(); }};
}

}  // namespace usl::cli
