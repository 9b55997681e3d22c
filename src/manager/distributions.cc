#include "manager/distributions.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/format.h"
#include "fs/host_file.h"
#include "fs/volfs.h"
#include "manager/config.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

std::unexpected<Error> Tell(std::string* why, int code, std::string text) {
  *why = std::move(text);
  return Fail(code);
}

std::string ExplainBadName(const std::string& name) {
  return format("\"{}\" is no name for a distribution: use 1 to 64 letters, digits, '.', '_' and '-'", name);
}

std::string ExplainTaken(const std::string& name) {
  return format("there is a distribution \"{}\" already; choose another name, or `usl remove {}` first", name, name);
}

bool IsEmptyDirectory(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  bool is_empty = static_cast<bool>(fd);
  (void)fs::ForEachEntry(fd.get(), [&](const char*, uint64_t, unsigned char) { return is_empty = false; });
  return is_empty;
}

// USL made the tree, so it may become a layer and is removed with the distribution.
bool OwnsUpper(const Distribution& distribution) {
  return distribution.upper.empty() || distribution.upper.ends_with("/usl-" + distribution.id);
}

Snapshot* FindSnapshot(Distribution& distribution, const std::string& name) {
  const auto found = std::ranges::find_if(
      distribution.snapshots, [&](const Snapshot& each) { return strcasecmp(each.name.c_str(), name.c_str()) == 0; });
  return found == distribution.snapshots.end() ? nullptr : &*found;
}

std::string ExplainNoSnapshot(const Distribution& distribution, const std::string& name) {
  if (distribution.snapshots.empty()) {
    return format("\"{}\" has no snapshots; `usl snapshot {}` takes one", distribution.name, distribution.name);
  }
  return format("\"{}\" has no snapshot \"{}\"; `usl snapshot {} --list` tells what there is", distribution.name, name,
                distribution.name);
}

std::string TimeName() {
  const time_t now = time(nullptr);
  tm parts;
  gmtime_r(&now, &parts);
  return format("{:04}-{:02}-{:02}T{:02}.{:02}.{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                parts.tm_hour, parts.tm_min, parts.tm_sec);
}

Distribution* FindById(RegistryData& data, const std::string& id) {
  const auto found = std::ranges::find(data.distributions, id, &Distribution::id);
  return found == data.distributions.end() ? nullptr : &*found;
}

}  // namespace

void UseDistribution(const Registry& registry, const Distribution& distribution, RunOptions& options) {
  options.rootfs = registry.UpperPath(distribution);
  options.layers.clear();
  for (const std::string& id : distribution.layers) options.layers.push_back(registry.LayerPath(id));
  options.host_config.push_back(ReadHostConfig());
  options.host_config.push_back(ReadStoredOptions(distribution));
}

Result<void> Distributions::CheckNewName(const std::string& name, std::string* why) const {
  if (!IsValidName(name)) return Tell(why, EINVAL, ExplainBadName(name));
  const RegistryData data = USL_TRY(registry_.Read(why));
  if (const Distribution* other = data.Find(name)) return Tell(why, EEXIST, ExplainTaken(other->name));
  return {};
}

Result<Distribution> Distributions::MakePlace(const StoreHold& hold, const NewDistribution& wanted,
                                              std::string* why) const {
  Distribution made;
  made.name = wanted.name;
  made.id = MakeUuid();
  made.layers = wanted.layers;
  made.source = wanted.source;
  made.default_user = wanted.default_user;
  made.config = wanted.config;
  made.created = time(nullptr);
  made.upper = wanted.in_place;
  if (!wanted.location.empty()) {
    if (auto result = MakeDirectories(wanted.location); !result) {
      return Tell(why, result.error().code(),
                  format("cannot make \"{}\": {}", wanted.location, ErrorText(result.error().code())));
    }
    made.upper = wanted.location + "/usl-" + made.id;
  }
  const std::string directory = registry_.DistributionPath(made);
  if (mkdir(directory.c_str(), 0700) < 0) {
    return Tell(why, errno, format("cannot make \"{}\": {}", directory, ErrorText(errno)));
  }
  // 0755: what a guest sees of a root that no archive tells the mode of. The directory above keeps others out.
  const std::string upper = registry_.UpperPath(made);
  if (wanted.in_place.empty() && mkdir(upper.c_str(), 0755) < 0) {
    const int error = errno;
    RemovePlace(hold, made);
    return Tell(why, error, format("cannot make \"{}\": {}", upper, ErrorText(error)));
  }
  return made;
}

void Distributions::RemovePlace(const StoreHold& hold, const Distribution& distribution) const {
  if (!distribution.upper.empty() && OwnsUpper(distribution)) store_.Remove(hold, distribution.upper);
  store_.Remove(hold, registry_.DistributionPath(distribution));
}

Result<void> Distributions::Add(const StoreHold& hold, const NewDistribution& wanted, std::string* why) const {
  USL_TRY_VOID(CheckNewName(wanted.name, why));
  const Distribution made = USL_TRY(MakePlace(hold, wanted, why));
  auto changed = registry_.Change(
      [&](RegistryData& data) -> std::string {
        if (const Distribution* other = data.Find(made.name)) return ExplainTaken(other->name);
        for (const std::string& id : made.layers) {
          if (!store_.Has(id)) return format("the layer \"{}\" is not there any more", registry_.LayerPath(id));
        }
        if (data.distributions.empty()) data.default_distribution = made.name;
        data.distributions.push_back(made);
        return {};
      },
      why);
  if (!changed) RemovePlace(hold, made);
  return changed;
}

Result<void> Distributions::Import(int fd, const ExtractOptions& options, NewDistribution distribution,
                                   std::string* why) const {
  USL_TRY_VOID(CheckNewName(distribution.name, why));
  store_.Sweep();
  Result<void> result;
  {
    const StoreHold hold = USL_TRY(StoreHold::Take(registry_, why));
    const NewLayer layer = USL_TRY(store_.Import(hold, fd, options, "", distribution.source, why));
    distribution.layers = {layer.id};
    result = Add(hold, distribution, why);
  }
  // The layer of one that could not be added has no name.
  if (!result) store_.Sweep();
  return result;
}

namespace {

// Carries out what a killed kernel had begun, too.
Result<Ref<fs::VolFs>> OpenTree(const Registry& registry, const Distribution& distribution, std::string* why) {
  RunOptions places;
  UseDistribution(registry, distribution, places);
  fs::VolFsOptions volfs{.upper = fs::LayerOptions{.path = places.rootfs}};
  for (const std::string& layer : places.layers) volfs.lowers.push_back({.path = layer});
  auto tree = fs::VolFs::Open(std::move(volfs));
  if (tree) return tree;
  return Tell(why, tree.error().code(),
              format("cannot read the files of \"{}\" in \"{}\": {}", distribution.name, places.rootfs,
                     ErrorText(tree.error().code())));
}

}  // namespace

Result<PackedArchive> Distributions::Export(const std::string& name, int fd, const PackOptions& options,
                                            std::string* why) const {
  const DistributionLock lock = USL_TRY(DistributionLock::Take(registry_, name, why));
  const auto tree = USL_TRY(OpenTree(registry_, lock.distribution(), why));
  return PackTree(*tree, fd, options, why);
}

Result<void> Distributions::Remove(const std::string& name, std::string* why) const {
  {
    const StoreHold hold = USL_TRY(StoreHold::Take(registry_, why));
    const DistributionLock lock = USL_TRY(DistributionLock::Take(registry_, name, why));
    const Distribution& gone = lock.distribution();
    USL_TRY_VOID(registry_.Change(
        [&](RegistryData& data) -> std::string {
          std::erase_if(data.distributions, [&](const Distribution& each) { return each.id == gone.id; });
          if (!data.Find(data.default_distribution)) {
            data.default_distribution = data.distributions.empty() ? "" : data.distributions.front().name;
          }
          return {};
        },
        why));
    RemovePlace(hold, gone);
  }
  store_.Sweep();
  return {};
}

Result<void> Distributions::Rename(const std::string& name, const std::string& new_name, std::string* why) const {
  if (!IsValidName(new_name)) return Tell(why, EINVAL, ExplainBadName(new_name));
  const DistributionLock lock = USL_TRY(DistributionLock::Take(registry_, name, why));
  return registry_.Change(
      [&](RegistryData& data) -> std::string {
        Distribution* distribution = FindById(data, lock.distribution().id);
        if (!distribution) return ExplainNoDistribution(data, name);
        const Distribution* other = data.Find(new_name);
        if (other && other != distribution) return ExplainTaken(other->name);
        const bool is_default = data.Find(data.default_distribution) == distribution;
        distribution->name = new_name;
        if (is_default) data.default_distribution = new_name;
        return {};
      },
      why);
}

Result<void> Distributions::SetDefault(const std::string& name, std::string* why) const {
  return registry_.Change(
      [&](RegistryData& data) -> std::string {
        const Distribution* distribution = data.Find(name);
        if (!distribution) return ExplainNoDistribution(data, name);
        data.default_distribution = distribution->name;
        return {};
      },
      why);
}

Result<void> Distributions::SetDefaultUser(const std::string& name, const std::string& user, std::string* why) const {
  return registry_.Change(
      [&](RegistryData& data) -> std::string {
        Distribution* distribution = data.Find(name);
        if (!distribution) return ExplainNoDistribution(data, name);
        distribution->default_user = user;
        return {};
      },
      why);
}

Result<void> Distributions::Freeze(const DistributionLock& lock,
                                   const std::function<std::string(RegistryData&, Distribution&)>& change,
                                   std::string* why) const {
  const Distribution& distribution = lock.distribution();
  if (!OwnsUpper(distribution)) {
    return Tell(why, EINVAL,
                format("\"{}\" was imported in place and its tree \"{}\" stays as it is: export it, import that, and "
                       "use the new one",
                       distribution.name, distribution.upper));
  }
  const std::string upper = registry_.UpperPath(distribution);
  if (IsEmptyDirectory(upper)) {
    return registry_.Change(
        [&](RegistryData& data) -> std::string {
          Distribution* now = FindById(data, distribution.id);
          return now ? change(data, *now) : ExplainNoDistribution(data, distribution.name);
        },
        why);
  }
  struct stat upper_status, layers_status;
  if (stat(upper.c_str(), &upper_status) == 0 &&
      stat((registry_.directory() + "/layers").c_str(), &layers_status) == 0 &&
      upper_status.st_dev != layers_status.st_dev) {
    return Tell(why, EXDEV,
                format("the files of \"{}\" in \"{}\" are on another file system than \"{}\", where layers are; "
                       "export and import it instead",
                       distribution.name, upper, registry_.directory()));
  }
  USL_TRY_VOID(OpenTree(registry_, distribution, why));  // as a layer it will be read only
  const std::string id = LayerStore::RandomId();
  return ReplaceUpper(
      registry_, lock, registry_.LayerPath(id),
      [&](RegistryData& data, Distribution& now) {
        now.layers.insert(now.layers.begin(), id);
        return change(data, now);
      },
      why);
}

Result<void> Distributions::Clone(const std::string& name, const std::string& new_name, std::string* why) const {
  USL_TRY_VOID(CheckNewName(new_name, why));
  store_.Sweep();
  const StoreHold hold = USL_TRY(StoreHold::Take(registry_, why));
  const DistributionLock lock = USL_TRY(DistributionLock::Take(registry_, name, why));
  const Distribution& original = lock.distribution();
  const Distribution made = USL_TRY(MakePlace(
      hold,
      {.name = new_name, .source = original.source, .default_user = original.default_user, .config = original.config},
      why));
  auto frozen = Freeze(
      lock,
      [&](RegistryData& data, Distribution& now) -> std::string {
        if (const Distribution* other = data.Find(new_name)) return ExplainTaken(other->name);
        Distribution clone = made;
        clone.layers = now.layers;
        clone.options = now.options;
        data.distributions.push_back(std::move(clone));  // `now` may be moved by it
        return {};
      },
      why);
  if (!frozen) RemovePlace(hold, made);
  return frozen;
}

Result<std::string> Distributions::TakeSnapshot(const std::string& name, const std::string& snapshot,
                                                std::string* why) const {
  const std::string given = snapshot.empty() ? TimeName() : snapshot;
  if (!IsValidName(given)) {
    return Tell(why, EINVAL,
                format("\"{}\" is no name for a snapshot: use 1 to 64 letters, digits, '.', '_' and '-'", given));
  }
  const StoreHold hold = USL_TRY(StoreHold::Take(registry_, why));
  const DistributionLock lock = USL_TRY(DistributionLock::Take(registry_, name, why));
  USL_TRY_VOID(Freeze(
      lock,
      [&](RegistryData&, Distribution& now) -> std::string {
        if (FindSnapshot(now, given)) return format("\"{}\" has a snapshot \"{}\" already", now.name, given);
        now.snapshots.push_back({given, now.layers, time(nullptr)});
        return {};
      },
      why));
  return given;
}

Result<void> Distributions::DropSnapshot(const std::string& name, const std::string& snapshot, std::string* why) const {
  USL_TRY_VOID(registry_.Change(
      [&](RegistryData& data) -> std::string {
        Distribution* distribution = data.Find(name);
        if (!distribution) return ExplainNoDistribution(data, name);
        const Snapshot* found = FindSnapshot(*distribution, snapshot);
        if (!found) return ExplainNoSnapshot(*distribution, snapshot);
        distribution->snapshots.erase(distribution->snapshots.begin() + (found - distribution->snapshots.data()));
        return {};
      },
      why));
  store_.Sweep();
  return {};
}

Result<std::string> Distributions::RollBack(const std::string& name, const std::string& snapshot,
                                            std::string* why) const {
  std::string used;
  {
    const StoreHold hold = USL_TRY(StoreHold::Take(registry_, why));
    const DistributionLock lock = USL_TRY(DistributionLock::Take(registry_, name, why));
    USL_TRY_VOID(ReplaceUpper(
        registry_, lock, "",
        [&](RegistryData&, Distribution& now) -> std::string {
          const Snapshot* found = snapshot.empty() ? (now.snapshots.empty() ? nullptr : &now.snapshots.back())
                                                   : FindSnapshot(now, snapshot);
          if (!found) return ExplainNoSnapshot(now, snapshot);
          used = found->name;
          now.layers = found->layers;
          return {};
        },
        why));
  }
  // Layers between the snapshot and now may have lost their last name.
  store_.Sweep();
  return used;
}

}  // namespace usl::manager
