#include "fs/drvfs.h"

#include <stdlib.h>

#include <memory>

#include "fs/volfs.h"

namespace usl::fs {
namespace {

std::string ShownOptions(const DrvFsOptions& options) {
  std::string text = format("uid={},gid={}", options.uid, options.gid);
  if (options.umask) text += format(",umask={:03o}", options.umask);
  if (options.fmask) text += format(",fmask={:03o}", options.fmask);
  if (options.dmask) text += format(",dmask={:03o}", options.dmask);
  if (options.metadata) text += ",metadata";
  return text;
}

}  // namespace

Result<Ref<vfs::FileSystem>> MakeDrvFs(const DrvFsOptions& options) {
  if (!options.host_path.starts_with('/')) return Fail(EINVAL);
  std::unique_ptr<char, decltype(&::free)> real(::realpath(options.host_path.c_str(), nullptr), &::free);
  if (!real) return FailErrno();
  std::string path = real.get();
  struct stat status;
  if (::stat(path.c_str(), &status) < 0) return FailErrno();

  VolFsOptions volfs;
  if (!S_ISDIR(status.st_mode)) {
    size_t slash = path.rfind('/');
    volfs.single_file = path.substr(slash + 1);
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
  LayerOptions layer;
  layer.path = path;
  layer.owners = Owners::kMapped;
  layer.mapped_uid = options.uid;
  layer.mapped_gid = options.gid;
  layer.file_mask = (options.umask | options.fmask) & 0777;
  layer.directory_mask = (options.umask | options.dmask) & 0777;
  layer.metadata = options.metadata;
  if (options.read_only) {
    volfs.lowers.push_back(std::move(layer));
  } else {
    volfs.upper = std::move(layer);
  }
  volfs.live = true;
  volfs.exclusive = false;
  volfs.type_name = "drvfs";
  volfs.source = options.host_path;
  volfs.shown_options = ShownOptions(options);
  return Ref<vfs::FileSystem>(USL_TRY(VolFs::Open(std::move(volfs))));
}

}  // namespace usl::fs
