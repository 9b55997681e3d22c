#include "vfs/mount_propagation.h"

#include <algorithm>
#include <set>

#include "vfs/mount_copies.h"
#include "vfs/path.h"

namespace usl::vfs {

namespace {

bool Sees(const Mount& mount, const Dentry& dentry) {
  return mount.IsAttached() && dentry.IsBelow(*mount.root());
}

void AddSeers(const PeerGroup& group, const Dentry& dentry, std::set<const PeerGroup*>& visited,
              std::vector<Mount*>& seers) {
  if (!visited.insert(&group).second) return;
  for (Mount* peer : group.peers()) {
    if (Sees(*peer, dentry)) seers.push_back(peer);
  }
  for (Mount* slave : group.slaves()) {
    if (slave->group()) {
      AddSeers(*slave->group(), dentry, visited, seers);
    } else if (Sees(*slave, dentry)) {
      seers.push_back(slave);
    }
  }
}

// The mounts that an unmount takes along, and what stays of them.
class Unmount {
 public:
  explicit Unmount(const MountTree& going) : result_(going) {
    for (const Ref<Mount>& mount : going) going_.insert(mount.get());
    for (const Ref<Mount>& mount : going) {
      if (!mount->parent()) continue;
      for (Mount* place : SeenBy(*mount->parent(), *mount->mount_point())) {
        Mount* copy = place->FindMounted(*mount->mount_point());
        if (copy && going_.insert(copy).second) copies_.push_back(copy);
      }
    }
    DropBusy();
    for (Mount* copy : copies_) result_.emplace_back(copy);
  }

  const MountTree& result() const { return result_; }
  // Mounts that covered the root of one that goes, with where they are to be instead.
  std::vector<std::pair<Ref<Mount>, Path>> Survivors() const {
    std::vector<std::pair<Ref<Mount>, Path>> survivors;
    for (Mount* copy : copies_) {
      Mount* cover = copy->FindMounted(*copy->root());
      if (!cover || going_.contains(cover)) continue;
      const Mount* place = copy;
      while (going_.contains(place->parent())) place = place->parent();
      survivors.emplace_back(Ref<Mount>(cover), Path{place->parent_ref(), place->mount_point()});
    }
    return survivors;
  }

 private:
  bool LeavesSomething(const Mount& mount) const {
    if (!going_.contains(&mount)) return true;
    const Mount* cover = mount.FindMounted(*mount.root());
    return cover && LeavesSomething(*cover);
  }
  bool IsBusy(const Mount& mount) const {
    return std::ranges::any_of(mount.children(), [&](const Mount* child) {
      return child->mount_point() != mount.root() && LeavesSomething(*child);
    });
  }
  void DropBusy() {
    for (bool changed = true; changed;) {
      changed = std::erase_if(copies_, [&](const Mount* copy) {
                  if (!IsBusy(*copy)) return false;
                  going_.erase(copy);
                  return true;
                }) > 0;
    }
  }

  MountTree result_;
  std::vector<Mount*> copies_;
  std::set<const Mount*> going_;
};

}  // namespace

std::vector<Mount*> SeenBy(const Mount& mount, const Dentry& dentry) {
  std::vector<Mount*> seers;
  std::set<const PeerGroup*> visited;
  if (mount.group()) AddSeers(*mount.group(), dentry, visited, seers);
  std::erase(seers, &mount);
  return seers;
}

UnmountPlan PlanUnmount(const MountTree& going) {
  const Unmount unmount(going);
  return {unmount.result(), unmount.Survivors()};
}

void MountCopies::Make(const PeerGroup& group, const Mount* done, const Ref<Mount>& source) {
  if (!visited_.insert(&group).second) return;
  for (Mount* peer : group.peers()) {
    if (peer == done || !Sees(*peer, *dentry_)) continue;
    Add(*peer, MountNamespace::CopyTree(*source, source->root(), MountNamespace::CopyKind::kPlain, true));
  }
  for (Mount* slave : group.slaves()) {
    if (!slave->group()) {
      if (!Sees(*slave, *dentry_)) continue;
      Add(*slave, MountNamespace::CopyTree(*source, source->root(), MountNamespace::CopyKind::kSlave, true));
      continue;
    }
    if (visited_.contains(slave->group())) continue;
    // The first peer that sees the place has a slave of the source; the copies of the others are that one's peers.
    const auto& peers = slave->group()->peers();
    const auto first = std::ranges::find_if(peers, [&](const Mount* peer) { return Sees(*peer, *dentry_); });
    if (first == peers.end()) {
      Make(*slave->group(), nullptr, source);
      continue;
    }
    auto copy = MountNamespace::CopyTree(*source, source->root(), MountNamespace::CopyKind::kSharedSlave, true);
    const Ref<Mount> top = copy.front();
    Add(**first, std::move(copy));
    Make(*slave->group(), *first, top);
  }
}

}  // namespace usl::vfs
