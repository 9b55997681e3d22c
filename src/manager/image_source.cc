#include "manager/image_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <optional>

#include "base/format.h"
#include "base/sha256.h"
#include "manager/archive_members.h"
#include "manager/docker_registry.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

// An index may name an index; nobody nests them deeper.
constexpr int kMaxIndexes = 4;

// The bytes of a document that a descriptor names.
using ReadDocument = std::function<Result<std::string>(const Descriptor& descriptor, bool is_config, std::string* why)>;

// Reads and verifies the documents from the topmost down to the configuration.
class DocumentReader {
 public:
  DocumentReader(std::string where, ReadDocument read) : where_(std::move(where)), read_(std::move(read)) {}

  // `tag` chooses in the topmost index, where that is a layout's.
  Result<ResolvedImage> Resolve(std::string text, const std::string& tag, std::string* why) {
    std::string choose = tag;
    for (int depth = 0; depth < kMaxIndexes; ++depth) {
      const auto document = ParseImageDocument(text, why);
      if (!document) return Refuse("the manifest of ", why);
      if (document->manifest) return FromManifest(*document->manifest, Sha256Hex(text), why);
      const auto chosen = ChooseManifest(*document->index, choose, why);
      if (!chosen) return Refuse("", why, ENOENT);
      choose.clear();
      text = USL_TRY(Read(*chosen, false, why));
    }
    *why = "too many indexes are nested";
    return Refuse("", why);
  }

  Result<std::string> Read(const Descriptor& descriptor, bool is_config, std::string* why) {
    if (descriptor.size > kMaxDocument) {
      *why =
          format("it claims {} bytes for a document, more than the {} that are allowed", descriptor.size, kMaxDocument);
      return Refuse("", why);
    }
    std::string text = USL_TRY(read_(descriptor, is_config, why));
    if (text.size() == descriptor.size && Sha256Hex(text) == descriptor.digest) return text;
    *why = format("what it has for sha256:{} is something else", descriptor.digest);
    return Refuse("", why, EBADMSG);
  }

  std::unexpected<Error> Refuse(const std::string& part, std::string* why, int error = EINVAL) const {
    *why = format("{}{}: {}", part, where_, *why);
    return Fail(error);
  }

 private:
  Result<ResolvedImage> FromManifest(const ImageManifest& manifest, const std::string& digest, std::string* why) {
    const std::string text = USL_TRY(Read(manifest.config, true, why));
    const auto configuration = ParseImageConfiguration(text, why);
    if (!configuration) return Refuse("the configuration of ", why);
    if (configuration->diff_ids.size() != manifest.layers.size()) {
      *why = format("its manifest has {} layers and its configuration {}", manifest.layers.size(),
                    configuration->diff_ids.size());
      return Refuse("", why);
    }
    ResolvedImage image{"sha256:" + digest, configuration->config, {}};
    for (size_t i = 0; i < manifest.layers.size(); ++i) {
      const Descriptor& layer = manifest.layers[i];
      image.layers.push_back({configuration->diff_ids[i], layer.digest, {}, layer.size});
    }
    return image;
  }

  std::string where_;
  ReadDocument read_;
};

// Checks size and digest of a blob and puts it back to its start.
Result<void> VerifyBlob(int fd, const ImageLayer& layer, const std::string& where, std::string* why) {
  struct stat status;
  if (fstat(fd, &status) < 0) return FailErrno();
  const bool has_size = S_ISREG(status.st_mode) && static_cast<uint64_t>(status.st_size) == layer.size;
  if (has_size && USL_TRY(Sha256OfFile(fd)) == layer.blob) {
    if (lseek(fd, 0, SEEK_SET) < 0) return FailErrno();
    return {};
  }
  *why = format("the blob sha256:{} of {} is damaged", layer.blob, where);
  return Fail(EBADMSG);
}

class LayoutSource final : public ImageSource {
 public:
  explicit LayoutSource(const ImageReference& reference) : reference_(reference), where_(reference.Text()) {}

  Result<ResolvedImage> Resolve(std::string* why) override {
    if (const auto mark = ReadFile("oci-layout", why); !mark) {
      if (mark.error().code() == ENOENT)
        *why = format("\"{}\" is no OCI image layout: it has no \"oci-layout\"", reference_.path);
      return Fail(mark.error());
    }
    const std::string index = USL_TRY(ReadFile("index.json", why));
    DocumentReader reader(where_, [this](const Descriptor& descriptor, bool, std::string* reason) {
      return ReadFile("blobs/sha256/" + descriptor.digest, reason);
    });
    return reader.Resolve(index, reference_.tag, why);
  }

  Result<UniqueFd> OpenLayer(const ImageLayer& layer, std::string* why) override {
    UniqueFd fd = USL_TRY(OpenFile("blobs/sha256/" + layer.blob, why));
    USL_TRY_VOID(VerifyBlob(fd.get(), layer, where_, why));
    return fd;
  }

 private:
  Result<UniqueFd> OpenFile(const std::string& name, std::string* why) const {
    const std::string path = reference_.path + "/" + name;
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat status;
    if (fd && fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode)) return fd;
    const int error = fd ? EINVAL : errno;
    *why = format("cannot read \"{}\": {}", path, fd ? "it is no file" : ErrorText(error));
    return Fail(error);
  }

  Result<std::string> ReadFile(const std::string& name, std::string* why) const {
    const UniqueFd fd = USL_TRY(OpenFile(name, why));
    std::string text(kMaxDocument + 1, '\0');
    size_t size = 0;
    while (size < text.size()) {
      const ssize_t got = read(fd.get(), text.data() + size, text.size() - size);
      if (got < 0) {
        const int error = errno;
        *why = format("cannot read \"{}/{}\": {}", reference_.path, name, ErrorText(error));
        return Fail(error);
      }
      if (got == 0) break;
      size += static_cast<size_t>(got);
    }
    text.resize(size);
    return text;
  }

  ImageReference reference_;
  std::string where_;
};

class ArchiveSource final : public ImageSource {
 public:
  ArchiveSource(const ImageReference& reference, ArchiveMembers members)
      : reference_(reference), where_(reference.Text()), members_(std::move(members)) {}

  Result<ResolvedImage> Resolve(std::string* why) override {
    auto image = reference_.transport == ImageTransport::kOciArchive ? ResolveOci(why) : ResolveDocker(why);
    return image;
  }

  Result<UniqueFd> OpenLayer(const ImageLayer& layer, std::string* why) override {
    // One pass over the archive for all of them.
    if (!is_wanted_) {
      for (const std::string& member : layer_members_) members_.Want(member);
    }
    is_wanted_ = true;
    UniqueFd fd = USL_TRY(members_.Take(layer.member, why));
    if (!layer.blob.empty()) USL_TRY_VOID(VerifyBlob(fd.get(), layer, where_, why));
    return fd;
  }

 private:
  Result<ResolvedImage> ResolveOci(std::string* why) {
    if (members_.Resolve("index.json").empty()) {
      *why = format("\"{}\" is no OCI archive: it has no \"index.json\"", reference_.path);
      return Fail(EINVAL);
    }
    const std::string index = USL_TRY(members_.Read("index.json", kMaxDocument, why));
    DocumentReader reader(where_, [this](const Descriptor& descriptor, bool, std::string* reason) {
      return members_.Read("blobs/sha256/" + descriptor.digest, kMaxDocument, reason);
    });
    ResolvedImage image = USL_TRY(reader.Resolve(index, reference_.tag, why));
    for (ImageLayer& layer : image.layers) AddMember(layer, "blobs/sha256/" + layer.blob);
    return image;
  }

  Result<ResolvedImage> ResolveDocker(std::string* why) {
    if (members_.Resolve("manifest.json").empty()) {
      *why = format("\"{}\" is no archive of docker save: it has no \"manifest.json\"", reference_.path);
      return Fail(EINVAL);
    }
    const DocumentReader reader(where_, {});
    const auto entries = ParseDockerArchive(USL_TRY(members_.Read("manifest.json", kMaxDocument, why)), why);
    if (!entries) return reader.Refuse("\"manifest.json\" of ", why);
    const auto entry = ChooseArchiveEntry(*entries, reference_.tag, why);
    if (!entry) return reader.Refuse("", why, ENOENT);
    const std::string text = USL_TRY(members_.Read(entry->config, kMaxDocument, why));
    const auto configuration = ParseImageConfiguration(text, why);
    if (!configuration) return reader.Refuse("the configuration of ", why);
    if (configuration->diff_ids.size() != entry->layers.size()) {
      *why = format("its manifest has {} layers and its configuration {}", entry->layers.size(),
                    configuration->diff_ids.size());
      return reader.Refuse("", why);
    }
    ResolvedImage image{"sha256:" + Sha256Hex(text), configuration->config, {}};
    for (size_t i = 0; i < entry->layers.size(); ++i) {
      image.layers.push_back({configuration->diff_ids[i], {}, {}, 0});
      AddMember(image.layers.back(), entry->layers[i]);
    }
    return image;
  }

  void AddMember(ImageLayer& layer, const std::string& member) {
    layer.member = member;
    layer_members_.push_back(member);
  }

  ImageReference reference_;
  std::string where_;
  ArchiveMembers members_;
  std::vector<std::string> layer_members_;
  bool is_wanted_ = false;
};

class RegistrySource final : public ImageSource {
 public:
  RegistrySource(const ImageReference& reference, const ImageSourceOptions& options, Fetcher& fetcher)
      : reference_(reference),
        where_("\"" + reference.Text() + "\""),
        blobs_(options.cache + "/blobs"),
        registry_(fetcher, reference, options.plain_http) {}

  Result<ResolvedImage> Resolve(std::string* why) override {
    if (auto made = MakeDirectories(blobs_); !made) {
      *why = format("cannot make \"{}\": {}", blobs_, ErrorText(made.error().code()));
      return Fail(made.error());
    }
    const std::string name = reference_.digest.empty() ? reference_.tag : "sha256:" + reference_.digest;
    const std::string top = USL_TRY(registry_.Manifest(name, why));
    DocumentReader reader(where_, [this](const Descriptor& descriptor, bool is_config, std::string* reason) {
      return is_config ? registry_.SmallBlob(descriptor.digest, reason)
                       : registry_.Manifest("sha256:" + descriptor.digest, reason);
    });
    return reader.Resolve(top, {}, why);
  }

  Result<UniqueFd> OpenLayer(const ImageLayer& layer, std::string* why) override {
    return Open({.media_type = {}, .digest = layer.blob, .size = layer.size, .platform = {}, .annotations = {}}, why);
  }

  void Forget(const ImageLayer& layer) override { unlink(Path(layer.blob).c_str()); }

 private:
  std::string Path(const std::string& digest) const { return blobs_ + "/" + digest; }

  // From the cache where it is there and whole, else from the registry.
  Result<UniqueFd> Open(const Descriptor& descriptor, std::string* why) {
    const ImageLayer blob{.diff_id = {}, .blob = descriptor.digest, .member = {}, .size = descriptor.size};
    const std::string path = Path(descriptor.digest);
    for (bool is_new = false;; is_new = true) {
      UniqueFd fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
      if (fd) {
        const auto verified = VerifyBlob(fd.get(), blob, where_, why);
        if (verified) return fd;
        if (is_new) return Fail(verified.error());
        unlink(path.c_str());
      } else if (errno != ENOENT || is_new) {
        const int error = errno;
        *why = format("cannot read \"{}\": {}", path, ErrorText(error));
        return Fail(error);
      }
      USL_TRY_VOID(registry_.Blob(descriptor, path, why));
    }
  }

  ImageReference reference_;
  std::string where_;
  std::string blobs_;
  DockerRegistry registry_;
};

}  // namespace

Result<std::unique_ptr<ImageSource>> OpenImageSource(const ImageReference& reference, const ImageSourceOptions& options,
                                                     Fetcher& fetcher, std::string* why) {
  switch (reference.transport) {
    case ImageTransport::kRegistry: return std::make_unique<RegistrySource>(reference, options, fetcher);
    case ImageTransport::kLayout: return std::make_unique<LayoutSource>(reference);
    case ImageTransport::kOciArchive:
    case ImageTransport::kDockerArchive: break;
  }
  if (auto made = MakeDirectories(options.cache); !made) {
    *why = format("cannot make \"{}\": {}", options.cache, ErrorText(made.error().code()));
    return Fail(made.error());
  }
  auto members = USL_TRY(ArchiveMembers::Open(reference.path, options.cache, why));
  return std::make_unique<ArchiveSource>(reference, std::move(members));
}

}  // namespace usl::manager
