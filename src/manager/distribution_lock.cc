#include "manager/distribution_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/format.h"
#include "base/log.h"
#include "manager/change_tree.h"
#include "manager/host_paths.h"
#include "manager/instance_client.h"

namespace usl::manager {
namespace {

std::unexpected<Error> Tell(std::string* why, int code, const std::string& what) {
  *why = format("{}: {}", what, ErrorText(code));
  return Fail(code);
}

bool Exists(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0;
}

Result<void> SyncParent(const std::string& path) {
  const UniqueFd fd(open(path.substr(0, path.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) < 0) return FailErrno();
  return {};
}

Distribution* FindById(RegistryData& data, const std::string& id) {
  const auto found = std::ranges::find(data.distributions, id, &Distribution::id);
  return found == data.distributions.end() ? nullptr : &*found;
}

// Of a change that is under way: where the old upper tree goes, and the layers before. One path or name a line.
struct Intent {
  std::string target;
  std::vector<std::string> old_layers;
};

std::string IntentPath(const Registry& registry, const Distribution& distribution) {
  return registry.DistributionPath(distribution) + "/change";
}

Result<void> WriteIntent(const std::string& path, const Intent& intent) {
  std::string text = intent.target + "\n";
  for (const std::string& layer : intent.old_layers) text += layer + "\n";
  const std::string next = path + ".new";
  const UniqueFd fd(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return FailErrno();
  const ssize_t n = write(fd.get(), text.data(), text.size());
  if (n < 0 || fsync(fd.get()) < 0) return FailErrno();
  if (n != static_cast<ssize_t>(text.size())) return Fail(ENOSPC);
  if (rename(next.c_str(), path.c_str()) < 0) return FailErrno();
  return SyncParent(path);
}

std::optional<Intent> ReadIntent(const std::string& path) {
  std::ifstream file(path);
  Intent intent;
  std::string line;
  if (!std::getline(file, intent.target) || intent.target.empty()) return std::nullopt;
  while (std::getline(file, line)) intent.old_layers.push_back(line);
  return intent;
}

// A tree that is not wanted any more goes to tmp/ whole, where a sweep finds it if this process is killed.
std::string MoveAway(const Registry& registry, const std::string& tree) {
  const std::string gone = registry.directory() + "/tmp/" + MakeUuid();
  if (!MakeDirectories(registry.directory() + "/tmp") || rename(tree.c_str(), gone.c_str()) < 0) return tree;
  return gone;
}

void RemoveTreeAt(const std::string& path) {
  const size_t slash = path.rfind('/');
  const UniqueFd parent(open(path.substr(0, slash).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent) RemoveTree(parent.get(), path.substr(slash + 1).c_str());
}

// Under the lock. `now` is what the registry has.
Result<void> Recover(const Registry& registry, const Distribution& now) {
  const std::string path = IntentPath(registry, now), upper = registry.UpperPath(now);
  if (!Exists(path)) {
    // The upper tree of a distribution that was moved or restored without its empty directories.
    if (now.upper.empty() && mkdir(upper.c_str(), 0755) < 0 && errno != EEXIST) return FailErrno();
    return {};
  }
  const auto intent = ReadIntent(path);
  if (!intent) return Fail(EIO);
  std::string gone;
  if (now.layers == intent->old_layers) {
    if (Exists(intent->target)) {
      // The new one is empty: nobody used it without recovering first.
      if (rmdir(upper.c_str()) < 0 && errno != ENOENT) return FailErrno();
      if (rename(intent->target.c_str(), upper.c_str()) < 0) return FailErrno();
    }
  } else {
    if (mkdir(upper.c_str(), 0755) < 0 && errno != EEXIST) return FailErrno();
    // By its name, however the data directory was called then.
    const bool is_layer = IsLayerId(intent->target.substr(intent->target.rfind('/') + 1));
    if (!is_layer && Exists(intent->target)) gone = MoveAway(registry, intent->target);
  }
  if (unlink(path.c_str()) < 0) return FailErrno();
  if (!gone.empty()) RemoveTreeAt(gone);
  return SyncParent(path);
}

Result<UniqueFd> OpenAndLock(const Registry& registry, const Distribution& distribution) {
  const std::string directory = registry.DistributionPath(distribution);
  // One whose tree lies elsewhere may have none yet.
  USL_TRY_VOID(MakeDirectories(directory));
  UniqueFd fd(open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return FailErrno();
  if (flock(fd.get(), LOCK_EX | LOCK_NB) < 0) return Fail(errno == EWOULDBLOCK ? EBUSY : errno);
  return fd;
}

}  // namespace

bool IsInUse(const Registry& registry, const Distribution& distribution) {
  const UniqueFd fd(
      open((registry.DistributionPath(distribution) + "/lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  return fd && flock(fd.get(), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

std::string ExplainNoDistribution(const RegistryData& data, const std::string& name) {
  if (data.distributions.empty()) {
    return format("there is no distribution \"{}\", as none is installed; `usl install` installs one", name);
  }
  return format("there is no distribution \"{}\"; `usl list` tells what there is", name);
}

Result<DistributionLock> DistributionLock::Take(const Registry& registry, const std::string& name, std::string* why) {
  const auto find = [&]() -> Result<Distribution> {
    const RegistryData data = USL_TRY(registry.Read(why));
    const Distribution* found = data.Find(name);
    if (found) return *found;
    *why = ExplainNoDistribution(data, name);
    return Fail(ENOENT);
  };
  const Distribution before = USL_TRY(find());
  auto fd = OpenAndLock(registry, before);
  // One that only waits for its next session makes way.
  if (!fd && fd.error().code() == EBUSY && EndIdleInstance(before.id)) fd = OpenAndLock(registry, before);
  if (!fd && fd.error().code() == EBUSY) {
    *why = format("\"{}\" is in use: it runs, or another command changes it; end that first", before.name);
    return Fail(EBUSY);
  }
  // It may have been removed, or another one may have got the name, before the lock was there.
  const Distribution now = USL_TRY(find());
  if (now.id != before.id) return Take(registry, name, why);
  const std::string directory = registry.DistributionPath(now);
  if (!fd) return Tell(why, fd.error().code(), format("cannot lock \"{}\"", directory));
  if (auto recovered = Recover(registry, now); !recovered) {
    return Tell(
        why, recovered.error().code(),
        format("cannot put \"{}\" right, which an earlier command left half changed in \"{}\"", now.name, directory));
  }
  return DistributionLock(std::move(*fd), now);
}

bool RecoverDistribution(const Registry& registry, const Distribution& distribution) {
  if (!Exists(IntentPath(registry, distribution))) return true;
  std::string why;
  return DistributionLock::Take(registry, distribution.name, &why).has_value();
}

Result<void> ReplaceUpper(const Registry& registry, const DistributionLock& lock, const std::string& target,
                          const std::function<std::string(RegistryData&, Distribution& distribution)>& change,
                          std::string* why) {
  const Distribution& distribution = lock.distribution();
  const std::string upper = registry.UpperPath(distribution), path = IntentPath(registry, distribution);
  const std::string place = target.empty() ? upper + "." + MakeUuid() : target;
  if (auto written = WriteIntent(path, {place, distribution.layers}); !written) {
    return Tell(why, written.error().code(), format("cannot write \"{}\"", path));
  }
  auto changed = registry.Change(
      [&](RegistryData& data) -> std::string {
        Distribution* now = FindById(data, distribution.id);
        if (!now) return ExplainNoDistribution(data, distribution.name);
        if (std::string refusal = change(data, *now); !refusal.empty()) return refusal;
        if (rename(upper.c_str(), place.c_str()) < 0) {
          return format("cannot rename \"{}\" to \"{}\": {}", upper, place, ErrorText(errno));
        }
        if (mkdir(upper.c_str(), 0755) < 0) return format("cannot make \"{}\": {}", upper, ErrorText(errno));
        if (!SyncParent(upper) || !SyncParent(place)) return format("cannot write \"{}\"", upper);
        return {};
      },
      why);
  if (!changed) {
    // What cannot be put right now is by the next one that takes the lock.
    std::string trouble;
    auto data = registry.Read(&trouble);
    const Distribution* now = data ? FindById(*data, distribution.id) : nullptr;
    if (now) (void)Recover(registry, *now);
    return changed;
  }
  std::string gone;
  if (target.empty()) gone = MoveAway(registry, place);
  // It has happened; what is left is put right by the next one that takes the lock.
  if (unlink(path.c_str()) < 0) Log(LogLevel::kWarning, "cannot remove \"{}\": {}", path, ErrorText(errno));
  if (!gone.empty()) RemoveTreeAt(gone);
  return {};
}

}  // namespace usl::manager
