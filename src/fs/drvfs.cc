#include "fs/drvfs.h"

#include <fcntl.h>
#include <stdlib.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "fs/volfs.h"

namespace usl::fs {
namespace {

std::string ShownOptions(const DrvFsOptions& options) {
  std::string text = format("uid={},gid={}", options.uid.value_or(0), options.gid.value_or(0));
  if (options.umask) text += format(",umask={:03o}", options.umask);
  if (options.fmask) text += format(",fmask={:03o}", options.fmask);
  if (options.dmask) text += format(",dmask={:03o}", options.dmask);
  if (options.metadata) text += ",metadata";
  if (options.host_modes) text += ",modes=host";
  if (options.name_case == NameCase::kOff) text += ",case=off";
  if (options.name_case == NameCase::kDir) text += ",case=dir";
  return text;
}

template <typename T>
Result<T> ParseNumber(std::string_view text, int base, T limit) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || value > limit) return Fail(EINVAL);
  return value;
}

}  // namespace

Result<DrvFsSource> OpenDrvFsSource(const std::string& host_path) {
  if (!host_path.starts_with('/')) return Fail(EINVAL);
  std::unique_ptr<char, decltype(&::free)> real(::realpath(host_path.c_str(), nullptr), &::free);
  if (!real) return FailErrno();
  std::string path = real.get();
  struct stat status;
  if (::stat(path.c_str(), &status) < 0) return FailErrno();
  DrvFsSource source{.directory = {}, .single_file = {}, .name = host_path};
  if (!S_ISDIR(status.st_mode)) {
    const size_t slash = path.rfind('/');
    source.single_file = path.substr(slash + 1);
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
  source.directory = UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!source.directory) return FailErrno();
  return source;
}

Result<Ref<vfs::FileSystem>> MakeDrvFs(DrvFsSource source, const DrvFsOptions& options) {
  VolFsOptions volfs;
  LayerOptions layer;
  // The very directory, whatever stands at its path by now.
  layer.path = FdPath(source.directory.get());
  layer.owners = Owners::kMapped;
  layer.mapped_uid = options.uid.value_or(0);
  layer.mapped_gid = options.gid.value_or(0);
  layer.file_mask = (options.umask | options.fmask) & 0777;
  layer.directory_mask = (options.umask | options.dmask) & 0777;
  layer.metadata = options.metadata;
  layer.host_modes = options.host_modes;
  if (options.read_only) {
    volfs.lowers.push_back(std::move(layer));
  } else {
    volfs.upper = std::move(layer);
  }
  volfs.single_file = std::move(source.single_file);
  volfs.live = true;
  volfs.exclusive = false;
  volfs.name_case = options.name_case;
  volfs.type_name = "drvfs";
  volfs.source = std::move(source.name);
  volfs.shown_options = ShownOptions(options);
  return Ref<vfs::FileSystem>(USL_TRY(VolFs::Open(std::move(volfs))));
}

Result<void> ApplyDrvFsOption(std::string_view option, DrvFsOptions& options) {
  const size_t equals = std::min(option.find('='), option.size());
  const std::string_view name = option.substr(0, equals);
  const std::string_view value = option.substr(std::min(equals + 1, option.size()));
  constexpr uint32_t kLastId = 0xfffffffe;
  if (option == "metadata") {
    options.metadata = true;
  } else if (name == "uid") {
    options.uid = USL_TRY(ParseNumber<uint32_t>(value, 10, kLastId));
  } else if (name == "gid") {
    options.gid = USL_TRY(ParseNumber<uint32_t>(value, 10, kLastId));
  } else if (name == "umask") {
    options.umask = USL_TRY(ParseNumber<mode_t>(value, 8, 0777));
  } else if (name == "fmask") {
    options.fmask = USL_TRY(ParseNumber<mode_t>(value, 8, 0777));
  } else if (name == "dmask") {
    options.dmask = USL_TRY(ParseNumber<mode_t>(value, 8, 0777));
  } else if (option == "case=off") {
    options.name_case = NameCase::kOff;
  } else if (option == "case=dir") {
    options.name_case = NameCase::kDir;
  } else if (option == "case=force") {
    options.name_case = NameCase::kForce;
  } else if (option == "modes=host") {
    options.host_modes = true;
  } else if (option == "modes=wsl") {
    options.host_modes = false;
  } else if (name != "symlinkroot" && name != "fallback" && name != "cache" && name != "aname" && name != "trans" &&
             name != "msize") {
    return Fail(EINVAL);
  }
  return {};
}

Result<void> ApplyDrvFsOptions(std::string_view list, DrvFsOptions& options) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    const std::string_view option = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    if (!option.empty()) USL_TRY_VOID(ApplyDrvFsOption(option, options));
  }
  return {};
}

}  // namespace usl::fs
