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

}  // namespace

Result<std::string> ReadProcMounts(const ProcRead& read) {
  std::string out;
  for (const ProcMount& mount : read.proc.guests().Mounts(read.target.id.pid)) {
    out += format("{} {} {} {} 0 0\n", EscapeOctal(mount.source, kMangled), EscapeOctal(mount.mount_point, kMangled),
                  mount.type, WithOptions(MountOptions(mount.flags), mount.options));
  }
  return out;
}

Result<std::string> ReadProcMountInfo(const ProcRead& read) {
  std::string out;
  for (const ProcMount& mount : read.proc.guests().Mounts(read.target.id.pid)) {
    std::string propagation;
    if (mount.peer_group) propagation = format(" shared:{}", mount.peer_group);
    if (mount.master_group) propagation += format(" master:{}", mount.master_group);
    if (mount.propagation & MS_UNBINDABLE) propagation += " unbindable";
    out += format("{} {} {}:{} {} {} {}{} - {} {} {}\n", mount.id, mount.parent_id, major(mount.device),
                  minor(mount.device), EscapeOctal(mount.root, kMangled), EscapeOctal(mount.mount_point, kMangled),
                  MountOptions(mount.flags), propagation, mount.type, EscapeOctal(mount.source, kMangled),
                  WithOptions(mount.flags & MS_RDONLY ? "ro" : "rw", mount.options));
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

std::vector<ProcMount> ListMounts(vfs::Vfs& vfs, const vfs::MountNamespace& mounts, const vfs::Path& root) {
  std::vector<ProcMount> list;
  for (const Ref<vfs::Mount>& mount : mounts.List()) {
    ProcMount entry;
    auto mount_point = vfs.WorkingDirectoryText(vfs::Path{mount, mount->root()}, root);
    if (!mount_point || !mount_point->starts_with('/')) continue;  // outside the reader's root
    entry.mount_point = *std::move(mount_point);
    entry.id = mount->id();
    entry.parent_id = mount->parent() ? mount->parent()->id() : mount->id();
    entry.device = mount->file_system().device();
    std::string inside;
    for (const vfs::Dentry* dentry = mount->root().get(); dentry->parent(); dentry = dentry->parent().get()) {
      inside = "/" + dentry->name() + inside;
    }
    entry.root = inside.empty() ? "/" : inside;
    entry.flags = mount->flags();
    if (mount->file_system().IsReadOnly()) entry.flags |= MS_RDONLY;
    entry.propagation = mount->propagation();
    entry.peer_group = mount->peer_group();
    entry.master_group = mount->master_group();
    entry.type = mount->file_system().type_name();
    entry.source = mount->file_system().source();
    entry.options = mount->file_system().options();
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace usl::fs
