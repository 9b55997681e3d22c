#include "manager/layer_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <set>

#include "base/format.h"
#include "base/log.h"
#include "fs/host_file.h"
#include "fs/host_remove.h"
#include "manager/change_tree.h"
#include "manager/distribution_lock.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

std::unexpected<Error> Tell(std::string* why, int code, const std::string& what) {
  *why = format("{}: {}", what, ErrorText(code));
  return Fail(code);
}

Result<UniqueFd> OpenLock(const Registry& registry) {
  UniqueFd fd(open((registry.directory() + "/store.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return FailErrno();
  return fd;
}

Result<void> SyncDirectory(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) < 0) return FailErrno();
  return {};
}

// What is known of a layer, for people: nothing depends on it.
Result<void> WriteNote(const std::string& path, const ExtractedArchive& archive, const std::string& source) {
  nlohmann::json json{{"files", archive.files}, {"size", archive.size}, {"created", time(nullptr)}};
  if (!source.empty()) json["source"] = source;
  const std::string text = json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return FailErrno();
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return Fail(ENOSPC);
  return {};
}

std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return names;
  (void)fs::ForEachEntry(fd.get(), [&](const char* name, uint64_t, unsigned char) {
    names.emplace_back(name);
    return true;
  });
  return names;
}

void RemoveEntry(const std::string& directory, const std::string& name) {
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd || unlinkat(fd.get(), name.c_str(), 0) == 0 || errno == ENOENT) return;
  RemoveTree(fd.get(), name.c_str());
  // Deeper than there are descriptors for.
  struct stat status;
  if (fstatat(fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) return;
  if (auto removed = fs::RemoveHostTree(fd.get(), name.c_str()); !removed) {
    Log(LogLevel::kWarning, "cannot remove \"{}/{}\": {}", directory, name, ErrorText(removed.error().code()));
  }
}

}  // namespace

Result<StoreHold> StoreHold::Take(const Registry& registry, std::string* why) {
  const std::string& directory = registry.directory();
  for (const char* part : {"", "/layers", "/distributions", "/tmp"}) {
    if (auto made = MakeDirectories(directory + part); !made) {
      return Tell(why, made.error().code(), format("cannot make \"{}{}\"", directory, part));
    }
  }
  auto fd = OpenLock(registry);
  if (!fd) return Tell(why, fd.error().code(), format("cannot open \"{}/store.lock\"", directory));
  int result;
  do result = flock(fd->get(), LOCK_SH);
  while (result < 0 && errno == EINTR);
  if (result < 0) return Tell(why, errno, format("cannot lock \"{}/store.lock\"", directory));
  return StoreHold(std::move(*fd));
}

std::string LayerStore::RandomId() {
  std::string id;
  while (id.size() < 64) {
    for (const char c : MakeUuid()) {
      if (c != '-' && id.size() < 64) id += c;
    }
  }
  return id;
}

bool LayerStore::Has(const std::string& id) const {
  struct stat status;
  return IsLayerId(id) && lstat(registry_.LayerPath(id).c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

Result<std::string> LayerStore::MakeTemporary(const StoreHold&, std::string* why) const {
  const std::string path = registry_.directory() + "/tmp/" + MakeUuid();
  if (mkdir(path.c_str(), 0700) < 0) return Tell(why, errno, format("cannot make \"{}\"", path));
  return path;
}

void LayerStore::Remove(const StoreHold&, const std::string& path) const {
  const std::string parent = registry_.directory() + "/tmp", name = MakeUuid();
  if (rename(path.c_str(), (parent + "/" + name).c_str()) == 0) {
    RemoveEntry(parent, name);
  } else if (errno == EXDEV) {
    const size_t slash = path.rfind('/');
    RemoveEntry(path.substr(0, slash), path.substr(slash + 1));
  }
}

Result<NewLayer> LayerStore::Import(const StoreHold& hold, int fd, const ExtractOptions& options,
                                    const std::string& expected, const std::string& source, std::string* why) const {
  const std::string tree = USL_TRY(MakeTemporary(hold, why));
  auto extracted = ExtractArchive(fd, tree, options, why);
  if (extracted && !expected.empty() && extracted->sha256 != expected) {
    *why =
        format("\"{}\" is not what it should be: its SHA-256 is {}, not {}", options.what, extracted->sha256, expected);
    extracted = Fail(EBADMSG);
  }
  if (!extracted) {
    Remove(hold, tree);
    return Fail(extracted.error());
  }
  NewLayer layer{extracted->sha256, extracted->sha256, extracted->files, false};
  // The name is for what an image's layer is; one that was unpacked in another way is another layer.
  if (extracted->has_whiteouts && !options.whiteouts) layer.id = RandomId();
  const std::string path = registry_.LayerPath(layer.id);
  if (Has(layer.id)) {
    Remove(hold, tree);
    return layer;
  }
  (void)WriteNote(path + ".json", *extracted, source);
  if (rename(tree.c_str(), path.c_str()) == 0) {
    layer.is_new = true;
    if (auto synced = SyncDirectory(registry_.directory() + "/layers"); !synced) {
      return Tell(why, synced.error().code(), format("cannot write \"{}/layers\"", registry_.directory()));
    }
    return layer;
  }
  const int error = errno;
  Remove(hold, tree);
  // Another command was quicker with the same archive.
  if (Has(layer.id)) return layer;
  return Tell(why, error, format("cannot rename \"{}\" to \"{}\"", tree, path));
}

void LayerStore::Sweep() const {
  auto lock = OpenLock(registry_);
  if (!lock || flock(lock->get(), LOCK_EX | LOCK_NB) < 0) return;
  std::string why;
  auto data = registry_.Read(&why);
  // Whoever needs the registry tells what is wrong with it.
  if (!data || !registry_.IsFirst(*data)) return;
  // What a killed command left half done is undone first: its trees have names then.
  for (const Distribution& distribution : data->distributions) {
    if (!RecoverDistribution(registry_, distribution)) return;
  }
  std::set<std::string> layers, ids;
  for (const Distribution& distribution : data->distributions) {
    ids.insert(distribution.id);
    layers.insert(distribution.layers.begin(), distribution.layers.end());
    for (const Snapshot& snapshot : distribution.snapshots) {
      layers.insert(snapshot.layers.begin(), snapshot.layers.end());
    }
  }
  for (const Image& image : data->images) layers.insert(image.layers.begin(), image.layers.end());

  const std::string& directory = registry_.directory();
  for (const std::string& name : NamesIn(directory + "/layers")) {
    const std::string id = name.ends_with(".json") ? name.substr(0, name.size() - 5) : name;
    if (!IsLayerId(id) || layers.contains(id)) continue;
    // Half a layer must not have a layer's name.
    const std::string removed = MakeUuid();
    (void)rename((directory + "/layers/" + name).c_str(), (directory + "/tmp/" + removed).c_str());
  }
  for (const std::string& name : NamesIn(directory + "/distributions")) {
    if (IsUuid(name) && !ids.contains(name)) RemoveEntry(directory + "/distributions", name);
  }
  for (const std::string& name : NamesIn(directory + "/tmp")) RemoveEntry(directory + "/tmp", name);
}

}  // namespace usl::manager
