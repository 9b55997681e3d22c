// mounts, mountinfo and mountstats.
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "base/format.h"
#include "fs/proc_pid.h"
#include "fs/proc_text.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace usl::fs {
namespace {

constexpr std::string_view kMangled = " \t\n\\#";  // mangle() of Linux's proc_namespace.c

// show_mnt_opts()
std::string MountOptions(unsigned flags) {
  static constexpr std::pair<unsigned, const char*> kNames[] = {
      {MS_NOSUID, ",nosuid"},           {MS_NODEV, ",nodev"},           {MS_NOEXEC, ",noexec"},
      {MS_NOATIME, ",noatime"},         {MS_NODIRATIME, ",nodiratime"}, {MS_RELATIME, ",relatime"},
      {MS_NOSYMFOLLOW, ",nosymfollow"},
  };
  std::string options = flags & MS_RDONLY ? "ro" : "rw";
  for (const auto& [flag, name] : kNames) {
    if (flags & flag) options += name;
  }
  return options;
}

std::string WithOptions(std::string text, const std::string& more) {
  if (!more.empty()) text.append(",").append(more);
  return text;
}

bool IsBelow(const vfs::Mount& mount, const vfs::Path& root) {
  const vfs::Mount* at = &mount;
  const vfs::Dentry* dentry = mount.root().get();
  while (at != root.mount.get()) {
    if (!at->parent()) return false;
    dentry = at->mount_point().get();
    at = at->parent();
  }
  return dentry->IsBelow(*root.dentry);
}

// get_dominating_id(): where events come from, as far as the reader sees; 0 when that is the master itself or nothing.
uint32_t DominatingGroup(const vfs::Mount& mount, const vfs::Path& root) {
  for (const vfs::PeerGroup* group = mount.master(); group;) {
    for (const vfs::Mount* peer : group->peers()) {
      if (peer->name_space() != mount.name_space() || !IsBelow(*peer, root)) continue;
      return group == mount.master() ? 0 : group->id();
    }
    group = group->peers().empty() ? nullptr : group->peers().front()->master();
  }
  return 0;
}

// The file system's own part: Linux shows here whether it is read-only itself.
std::string FileSystemOptions(const ProcMount& mount) {
  return WithOptions(mount.is_file_system_read_only ? "ro" : "rw", mount.options);
}

}  // namespace

Result<std::string> ReadProcMounts(const ProcRead& read) {
  std::string out;
  for (const ProcMount& mount : read.proc.guests().Mounts(read.target.id.pid)) {
    out += format(
        "{} {} {} {} 0 0\n", EscapeOctal(mount.source, kMangled), EscapeOctal(mount.mount_point, kMangled), mount.type,
        WithOptions(MountOptions(mount.flags | (mount.is_file_system_read_only ? MS_RDONLY : 0)), mount.options));
  }
  return out;
}

Result<std::string> ReadProcMountInfo(const ProcRead& read) {
  std::string out;
  for (const ProcMount& mount : read.proc.guests().Mounts(read.target.id.pid)) {
    std::string propagation;
    if (mount.peer_group) propagation = format(" shared:{}", mount.peer_group);
    if (mount.master_group) propagation += format(" master:{}", mount.master_group);
    if (mount.propagate_from) propagation += format(" propagate_from:{}", mount.propagate_from);
    if (mount.propagation & MS_UNBINDABLE) propagation += " unbindable";
    out += format("{} {} {}:{} {} {} {}{} - {} {} {}\n", mount.id, mount.parent_id, major(mount.device),
                  minor(mount.device), EscapeOctal(mount.root, kMangled), EscapeOctal(mount.mount_point, kMangled),
                  MountOptions(mount.flags), propagation, mount.type, EscapeOctal(mount.source, kMangled),
                  FileSystemOptions(mount));
  }
  return out;
}

Result<std::string> ReadProcMountStats(const ProcRead& read) {
  std::string out;
  for (const ProcMount& mount : read.proc.guests().Mounts(read.target.id.pid)) {
    out += format("device {} mounted on {} with fstype {}\n", EscapeOctal(mount.source, kMangled),
                  EscapeOctal(mount.mount_point, kMangled), mount.type);
  }
  return out;
}

ProcMount DescribeMount(vfs::Vfs& vfs, vfs::Mount& mount, const vfs::Path& root) {
  ProcMount entry;
  auto mount_point = vfs.WorkingDirectoryText(vfs::Path{Ref<vfs::Mount>(&mount), mount.root()}, root);
  if (mount_point && mount_point->starts_with('/')) entry.mount_point = *std::move(mount_point);
  entry.id = mount.id();
  entry.parent_id = mount.parent() ? mount.parent()->id() : mount.id();
  entry.device = mount.file_system().device();
  std::string inside;
  for (const vfs::Dentry* dentry = mount.root().get(); dentry->parent(); dentry = dentry->parent().get()) {
    inside = "/" + dentry->name() + inside;
  }
  entry.root = inside.empty() ? "/" : inside;
  if (!mount.root()->IsLinked()) entry.root += "//deleted";
  entry.flags = mount.flags();
  entry.is_file_system_read_only = mount.file_system().is_set_read_only() || mount.file_system().IsReadOnly();
  entry.propagation = mount.propagation();
  entry.peer_group = mount.peer_group();
  entry.master_group = mount.master_group();
  entry.propagate_from = DominatingGroup(mount, root);
  entry.type = mount.file_system().type_name();
  entry.source = mount.file_system().source();
  entry.options = mount.file_system().options();
  return entry;
}

std::vector<ProcMount> ListMounts(vfs::Vfs& vfs, const vfs::MountNamespace& mounts, const vfs::Path& root) {
  std::vector<ProcMount> list;
  for (const Ref<vfs::Mount>& mount : mounts.List()) {
    ProcMount entry = DescribeMount(vfs, *mount, root);
    if (!entry.mount_point.empty()) list.push_back(std::move(entry));  // else outside the reader's root
  }
  return list;
}

}  // namespace usl::fs
