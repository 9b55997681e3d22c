#include "manager/image_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "base/format.h"
#include "manager/fetch.h"
#include "manager/host_paths.h"
#include "manager/image_source.h"

namespace usl::manager {
namespace {

constexpr size_t kShortDigest = 12;
// Half downloads that nobody went on with.
constexpr time_t kCacheSeconds = 14 * 24 * 3600;

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

void SweepBlobs(const std::string& directory) {
  const std::unique_ptr<DIR, CloseDirectory> listing(opendir(directory.c_str()));
  if (!listing) return;
  const int here = dirfd(listing.get());
  while (const dirent* entry = readdir(listing.get())) {
    struct stat status;
    if (fstatat(here, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(status.st_mode)) continue;
    if (status.st_mtime + kCacheSeconds > time(nullptr)) continue;
    // One that is being downloaded is locked.
    const UniqueFd fd(openat(here, entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) == 0) unlinkat(here, entry->d_name, 0);
  }
}

class ImageFetcher {
 public:
  ImageFetcher(const Registry& registry, const StoreHold& hold, const ImageReference& reference,
               const FetchOptions& options)
      : store_(registry),
        hold_(hold),
        reference_(reference),
        options_(options),
        cache_(registry.directory() + "/cache"),
        fetcher_([this](const TransferProgress& progress) { return OnDownload(progress); }) {}

  Result<Image> Run(std::string* why) {
    SweepBlobs(cache_ + "/blobs");
    step_.name = reference_.Text();
    if (!Tell()) return Cancel(why);
    source_ = USL_TRY(OpenImageSource(reference_, {cache_, options_.plain_http}, fetcher_, why));
    const ResolvedImage resolved = USL_TRY(source_->Resolve(why));
    step_.layers = resolved.layers.size();
    if (resolved.layers.empty()) {
      *why = format("{} has no layers: there is nothing in it", reference_.Text());
      return Fail(ENOEXEC);
    }
    for (const ImageLayer& layer : resolved.layers) {
      ++step_.layer;
      USL_TRY_VOID(FetchLayer(layer, why));
    }
    // Only now: if this is interrupted, the layers that have no name yet are swept away, and need not be fetched again.
    for (const ImageLayer& layer : resolved.layers) source_->Forget(layer);
    Image image{.reference = reference_.Text(), .digest = resolved.digest, .config = resolved.config};
    // The topmost first. Of two that are the same the lower one shows nothing that the upper one does not.
    for (auto layer = resolved.layers.rbegin(); layer != resolved.layers.rend(); ++layer) {
      if (std::ranges::find(image.layers, layer->diff_id) == image.layers.end()) image.layers.push_back(layer->diff_id);
    }
    image.created = time(nullptr);
    return image;
  }

 private:
  bool Tell() const { return !options_.progress || options_.progress(step_); }

  std::unexpected<Error> Cancel(std::string* why) const {
    *why = format("fetching {} was interrupted; what has been downloaded stays for the next time", reference_.Text());
    return Fail(ECANCELED);
  }

  bool Enter(FetchStep::Phase phase) {
    step_.phase = phase;
    step_.done = step_.total = 0;
    step_.note.clear();
    return Tell();
  }

  bool OnDownload(const TransferProgress& progress) {
    if (step_.phase == FetchStep::Phase::kDownload) step_.done = progress.done, step_.total = progress.total;
    step_.note = progress.note;
    return Tell();
  }

  Result<void> FetchLayer(const ImageLayer& layer, std::string* why) {
    step_.name = "sha256:" + (layer.blob.empty() ? layer.diff_id : layer.blob).substr(0, kShortDigest);
    if (store_.Has(layer.diff_id)) {
      if (!Enter(FetchStep::Phase::kPresent)) return Cancel(why);
      return {};
    }
    if (!Enter(FetchStep::Phase::kDownload)) return Cancel(why);
    const auto fd = source_->OpenLayer(layer, why);
    if (!fd) {
      // Another command that fetched the same layer is done with it, and has taken the blob out of the cache.
      if (fd.error().code() == ENOENT && store_.Has(layer.diff_id)) return {};
      return Fail(fd.error());
    }
    if (!Enter(FetchStep::Phase::kUnpack)) return Cancel(why);
    const ExtractOptions extract{.what = format("layer {} of {}", step_.layer, reference_.Text()),
                                 .whiteouts = true,
                                 .progress = [this](const ArchiveProgress& progress) {
                                   step_.done = progress.done, step_.total = progress.total;
                                   return Tell();
                                 }};
    USL_TRY(store_.Import(hold_, fd->get(), extract, layer.diff_id, reference_.Text(), why));
    return {};
  }

  LayerStore store_;
  const StoreHold& hold_;
  const ImageReference& reference_;
  const FetchOptions& options_;
  std::string cache_;
  FetchStep step_;
  Fetcher fetcher_;
  std::unique_ptr<ImageSource> source_;
};

bool IsSameImage(const Image& one, const Image& other) {
  return one.digest == other.digest && one.layers == other.layers;
}

}  // namespace

Result<Image> FetchImage(const Registry& registry, const StoreHold& hold, const ImageReference& reference,
                         const FetchOptions& options, std::string* why) {
  return ImageFetcher(registry, hold, reference, options).Run(why);
}

Result<Image> PullImage(const Registry& registry, const ImageReference& reference, const FetchOptions& options,
                        bool* is_new, std::string* why) {
  LayerStore(registry).Sweep();  // what killed commands left
  bool is_replaced = false;
  Image image;
  {
    const StoreHold hold = USL_TRY(StoreHold::Take(registry, why));
    image = USL_TRY(FetchImage(registry, hold, reference, options, why));
    *is_new = true;
    const auto add = [&](RegistryData& data) -> std::string {
      Image* old = data.FindImage(image.reference);
      if (!old) {
        data.images.push_back(image);
        return {};
      }
      *is_new = !IsSameImage(*old, image);
      is_replaced = *is_new;
      *old = image;
      return {};
    };
    USL_TRY_VOID(registry.Change(add, why));
  }
  if (is_replaced) LayerStore(registry).Sweep();
  return image;
}

const Image* FindImage(const RegistryData& data, const std::string& text, std::string* why) {
  const auto named = [&](const std::string& reference) {
    const auto found = std::ranges::find(data.images, reference, &Image::reference);
    return found == data.images.end() ? nullptr : &*found;
  };
  if (const Image* image = named(text)) return image;
  std::string reason;
  if (const auto reference = ParseImageReference(text, &reason)) {
    if (const Image* image = named(reference->Text())) return image;
  }
  const std::string digits = text.starts_with("sha256:") ? text.substr(7) : text;
  const Image* found = nullptr;
  const bool is_digest = digits.size() >= 4 && digits.find_first_not_of("0123456789abcdef") == digits.npos;
  for (const Image& image : data.images) {
    if (!is_digest || !image.digest.starts_with("sha256:" + digits)) continue;
    if (found && found->digest != image.digest) {
      *why = format("\"{}\" is the beginning of several images' digests; give more of it", text);
      return nullptr;
    }
    found = &image;
  }
  if (!found) *why = format("there is no image \"{}\"; `usl images` lists what there is", text);
  return found;
}

Result<void> RemoveImages(const Registry& registry, const std::vector<std::string>& names, std::string* why) {
  const auto remove = [&](RegistryData& data) -> std::string {
    for (const std::string& name : names) {
      std::string reason;
      const Image* image = FindImage(data, name, &reason);
      if (!image) return reason;
      data.images.erase(data.images.begin() + (image - data.images.data()));
    }
    return {};
  };
  USL_TRY_VOID(registry.Change(remove, why));
  LayerStore(registry).Sweep();
  return {};
}

}  // namespace usl::manager
