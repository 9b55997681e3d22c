#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/distribution_support.h"
#include "manager/host_paths.h"

namespace usl::cli {
namespace {

struct ExportOptions {
  std::string name, file, form;
  bool quiet = false;
};

// Under another name until it is complete, so that a failure leaves an older archive as it is. A device or FIFO is
// written to as it is.
class OutputFile {
 public:
  explicit OutputFile(std::string path) : path_(std::move(path)) {
    char* target = realpath(path_.c_str(), nullptr);
    if (target) path_ = target;  // of a symlink the file is replaced
    free(target);
    struct stat status;
    is_replaced_ = stat(path_.c_str(), &status) < 0 || S_ISREG(status.st_mode);
    part_ = path_ + format(".usl-{}", getpid());
  }
  ~OutputFile() {
    if (fd_ && is_replaced_) unlink(part_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // 0, or the errno.
  int Open() {
    fd_.Reset(is_replaced_ ? open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)
                           : open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    return fd_ ? 0 : errno;
  }
  int fd() const { return fd_.get(); }
  int Commit() {
    if (!is_replaced_) return 0;
    if (fsync(fd_.get()) < 0 || rename(part_.c_str(), path_.c_str()) < 0) return errno;
    fd_.Reset();
    return 0;
  }

 private:
  std::string path_, part_;
  bool is_replaced_ = false;
  UniqueFd fd_;
};

int Export(const ExportOptions& options) {
  CatchInterrupts();
  const bool to_output = options.file == "-";
  const auto form = options.form.empty()
                        ? (to_output ? manager::Compression::kNone : manager::CompressionOf(options.file))
                        : manager::CompressionByName(options.form);
  if (!form) return Fail(format("there is no form \"{}\"; use tar, tar.gz, tar.xz or tar.zst", options.form));
  if (to_output && isatty(STDOUT_FILENO)) return Fail("an archive is not for a terminal; name a file, or use a pipe");
  OutputFile output(options.file);
  if (const int error = to_output ? 0 : output.Open()) {
    return Fail(format("cannot write \"{}\": {}", options.file, manager::ErrorText(error)));
  }
  std::string why;
  const manager::Distributions distributions(manager::Registry::OfUser());
  Progress progress(format("exporting \"{}\"", options.name), options.quiet);
  const auto packed =
      distributions.Export(options.name, to_output ? STDOUT_FILENO : output.fd(),
                           {.what = options.file, .compression = *form, .progress = progress.Callback()}, &why);
  progress.Clear();
  if (!packed) {
    Fail(why);
    return StatusOfFailure();
  }
  if (const int error = to_output ? 0 : output.Commit()) {
    return Fail(format("cannot write \"{}\": {}", options.file, manager::ErrorText(error)));
  }
  if (packed->sockets && !options.quiet) {
    fprintf(stderr, "usl: %llu sockets were left out, as tar has none\n",
            static_cast<unsigned long long>(packed->sockets));
  }
  return 0;
}

}  // namespace

Command AddExport(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("export", "Write all files of a distribution to a tar archive");
  auto options = std::make_shared<ExportOptions>();
  app->add_option("name", options->name, "Which distribution; it must not run")->required()->type_name("NAME");
  app->add_option("file", options->file, "The archive; - is standard output")->required()->type_name("FILE");
  app->add_option("--format", options->form, "By default as the end of FILE says")
      ->type_name("tar|tar.gz|tar.xz|tar.zst");
  app->add_flag("-q,--quiet", options->quiet, "Show no progress");
  return {.app = app, .action = [options](const std::vector<std::string>&) { return Export(*options); }};
}

}  // namespace usl::cli
