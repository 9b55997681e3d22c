// exe, cwd, root and ns/*.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <charconv>

#include "base/format.h"
#include "fs/proc_namespace.h"
#include "fs/proc_pid.h"

namespace usl::fs {
namespace {

class PlaceLinkInode final : public SyntheticInode, public ProcBound {
 public:
  PlaceLinkInode(ProcFs& proc, std::string path, const ProcId& id, PlaceLink which)
      : SyntheticInode(proc, std::move(path), S_IFLNK | 0777), ProcBound(proc, id), which_(which) {}

  Result<std::string> ReadLink(const vfs::Context& context) override {
    return proc().guests().PathText(USL_TRY(Place(context)), context.root);
  }
  bool IsMagicLink() const override { return true; }
  Result<UniqueFd> Follow(const vfs::Context& context, vfs::Path& path) override {
    path = USL_TRY(Place(context));
    return UniqueFd();
  }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }

 private:
  Result<vfs::Path> Place(const vfs::Context& context) const {
    const ProcTarget target = USL_TRY(CheckedTarget(context, ProcAccess::kRead));
    const ProcProcess& process = target.process;
    const vfs::Path& path = which_ == PlaceLink::kExe   ? process.executable
                            : which_ == PlaceLink::kCwd ? process.cwd
                                                        : process.root;
    if (!path) return Fail(ENOENT);
    return path;
  }
  const PlaceLink which_;
};

struct NsName {
  std::string_view name;    // in ns/
  std::string_view prefix;  // in the link's text
  ProcNamespace kind;
};
constexpr NsName kNsNames[] = {
    {"cgroup", "cgroup", ProcNamespace::kCgroup}, {"ipc", "ipc", ProcNamespace::kIpc},
    {"mnt", "mnt", ProcNamespace::kMount},        {"net", "net", ProcNamespace::kNet},
    {"pid", "pid", ProcNamespace::kPid},          {"pid_for_children", "pid", ProcNamespace::kPid},
    {"time", "time", ProcNamespace::kTime},       {"time_for_children", "time", ProcNamespace::kTime},
    {"user", "user", ProcNamespace::kUser},       {"uts", "uts", ProcNamespace::kUts},
};

// The open namespace itself (nsfs): content-less, its inode number is the namespace's.
class NamespaceObject final : public SyntheticInode {
 public:
  NamespaceObject(ProcFs& proc, std::string path, uint64_t number)
      : SyntheticInode(proc, std::move(path), S_IFREG | 0444), number_(number) {}
  Result<vfs::Attributes> GetAttributes() override {
    vfs::Attributes attributes = USL_TRY(SyntheticInode::GetAttributes());
    attributes.ino = number_;
    return attributes;
  }
  uint64_t number() const { return number_; }

 private:
  const uint64_t number_;
};

class NsLink final : public SyntheticInode, public ProcBound {
 public:
  NsLink(ProcFs& proc, std::string path, const ProcId& id, const NsName& name)
      : SyntheticInode(proc, std::move(path), S_IFLNK | 0777), ProcBound(proc, id), name_(name) {}

  Result<std::string> ReadLink(const vfs::Context& context) override {
    USL_TRY_VOID(CheckedTarget(context, ProcAccess::kRead));
    return format("{}:[{}]", name_.prefix, proc().guests().NamespaceId(id().pid, name_.kind));
  }
  bool IsMagicLink() const override { return true; }
  Result<UniqueFd> Follow(const vfs::Context& context, vfs::Path&) override {
    // setns(2) finds the name again by PathOfHostFile().
    return proc().NamespaceFd(format("{}{}", kNamespaceObjectPath, USL_TRY(ReadLink(context))));
  }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }

 private:
  const NsName& name_;
};

class NsDirectory final : public SyntheticDirectory, public ProcBound {
 public:
  NsDirectory(ProcFs& proc, std::string path, const ProcId& id)
      : SyntheticDirectory(proc, std::move(path), 0511), ProcBound(proc, id) {}

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context&) override {
    const auto found = std::ranges::find(kNsNames, name, &NsName::name);
    if (found == std::end(kNsNames)) return Fail(ENOENT);
    const std::string child = ChildPath(name);
    return ReuseOrMake(proc(), child, id(), [&] { return MakeRef<NsLink>(proc(), child, id(), *found); });
  }
  bool CacheableNames() const override { return false; }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }
  Result<std::vector<SyntheticEntry>> List() override {
    std::vector<SyntheticEntry> entries;
    int64_t position = kFirstPosition;
    for (const NsName& name : kNsNames) entries.push_back({std::string(name.name), DT_LNK, position++});
    return entries;
  }
};

}  // namespace

Ref<vfs::Inode> MakePlaceLink(ProcFs& proc, const std::string& path, const ProcId& id, PlaceLink which) {
  return MakeRef<PlaceLinkInode>(proc, path, id, which);
}

Ref<vfs::Inode> MakeNsDirectory(ProcFs& proc, const std::string& path, const ProcId& id) {
  return MakeRef<NsDirectory>(proc, path, id);
}

std::optional<NamespaceIdentity> NamespaceOf(const vfs::Inode& inode) {
  const auto* object = dynamic_cast<const NamespaceObject*>(&inode);
  if (!object) return std::nullopt;
  std::string_view prefix = object->path();
  prefix.remove_prefix(kNamespaceObjectPath.size());
  prefix = prefix.substr(0, prefix.find(':'));
  const auto found = std::ranges::find(kNsNames, prefix, &NsName::prefix);
  if (found == std::end(kNsNames)) return std::nullopt;
  return NamespaceIdentity{found->kind, object->number()};
}

Ref<vfs::Inode> MakeNamespaceObject(ProcFs& proc, std::string_view path) {
  const size_t bracket = path.find('[');
  uint64_t number = 0;
  if (bracket == std::string_view::npos) return nullptr;
  std::from_chars(path.data() + bracket + 1, path.data() + path.size(), number);
  return MakeRef<NamespaceObject>(proc, std::string(path), number);
}

}  // namespace usl::fs
