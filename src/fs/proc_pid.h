// /proc/PID and /proc/PID/task/TID.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/procfs.h"

namespace usl::fs {

// Mixed into the inodes that belong to a process. They are reused while they live, unless the number has a new owner.
class ProcBound {
 public:
  ProcBound(ProcFs& proc, const ProcId& id) : proc_(proc), id_(id) {}
  virtual ~ProcBound() = default;
  ProcFs& proc() const { return proc_; }
  const ProcId& id() const { return id_; }
  // ESRCH when the process has gone.
  Result<ProcTarget> Target() const { return proc_.Target(id_); }
  // The process, if `context` may access it so; EACCES.
  Result<ProcTarget> CheckedTarget(const vfs::Context& context, ProcAccess access) const;
  // The owner that Linux shows: the effective ids of a dumpable process, else root (but for directories with 0555).
  void FillProcOwner(vfs::Attributes& attributes) const;

 private:
  ProcFs& proc_;
  ProcId id_;
};

// The live inode of `path` if it belongs to `id`, else what `make` makes.
template <typename Make>
Ref<vfs::Inode> ReuseOrMake(ProcFs& proc, const std::string& path, const ProcId& id, Make make) {
  if (Ref<SyntheticInode> live = proc.FindLive(path)) {
    const auto* bound = dynamic_cast<ProcBound*>(live.get());
    if (bound && bound->id() == id) return live;
  }
  return make();
}

Ref<vfs::Inode> FindOrMakePidDirectory(ProcFs& proc, const std::string& path, const ProcId& id);
// The process whose /proc/PID this is, which pidfd_send_signal(2) takes for a pidfd; null for all other inodes, those
// below task/ too.
const ProcId* ProcessOfPidDirectory(const vfs::Inode& inode);

// Directories and links below it (proc_pid_fd.cc, proc_pid_links.cc, proc_net.cc).
Ref<vfs::Inode> MakeFdDirectory(ProcFs& proc, const std::string& path, const ProcId& id);
Ref<vfs::Inode> MakeFdInfoDirectory(ProcFs& proc, const std::string& path, const ProcId& id);
Ref<vfs::Inode> MakeNsDirectory(ProcFs& proc, const std::string& path, const ProcId& id);
Ref<vfs::Inode> MakeNetDirectory(ProcFs& proc, const std::string& path, const ProcId& id);
enum class PlaceLink { kExe, kCwd, kRoot };
Ref<vfs::Inode> MakePlaceLink(ProcFs& proc, const std::string& path, const ProcId& id, PlaceLink which);

// What a /proc/PID/ns link leads to: an object without a place, recognised by its path in the memfd's name.
inline constexpr std::string_view kNamespaceObjectPath = "/.ns/";
Ref<vfs::Inode> MakeNamespaceObject(ProcFs& proc, std::string_view path);

// A text file of /proc/PID, from a row of the table in proc_pid.cc.
struct ProcRead {
  ProcFs& proc;
  const ProcTarget& target;
  const vfs::Context& context;
};
using ProcTextReader = Result<std::string> (*)(const ProcRead&);
using ProcTextWriter = Result<void> (*)(ProcFs&, const ProcTarget&, const WriterContext&, std::string_view data);

// The numeric names in a host directory relative to `directory`, ascending.
std::vector<int64_t> ListNumbers(int directory, const char* name);

// proc_pid_files.cc
Result<std::string> ReadProcStatus(const ProcRead& read);
Result<std::string> ReadProcStat(const ProcRead& read);
Result<std::string> ReadProcSyscall(const ProcRead& read);
Result<std::string> ReadProcCmdline(const ProcRead& read);
Result<std::string> ReadProcLimits(const ProcRead& read);
Result<std::string> ReadProcChildren(const ProcRead& read);
Result<std::string> ReadProcOomScoreAdj(const ProcRead& read);
Result<std::string> ReadProcOomAdj(const ProcRead& read);
Result<void> WriteProcOomScoreAdj(ProcFs& proc, const ProcTarget& target, const WriterContext& writer,
                                  std::string_view data);
Result<void> WriteProcOomAdj(ProcFs& proc, const ProcTarget& target, const WriterContext& writer,
                             std::string_view data);
// proc_pid_auxv.cc
Result<std::string> ReadProcAuxv(const ProcRead& read);
// proc_pid_maps.cc
Result<std::string> ReadProcMaps(const ProcRead& read);
Result<std::string> ReadProcSmaps(const ProcRead& read);
Result<std::string> ReadProcSmapsRollup(const ProcRead& read);
Result<std::string> ReadProcNumaMaps(const ProcRead& read);
// proc_pid_mounts.cc
Result<std::string> ReadProcMounts(const ProcRead& read);
Result<std::string> ReadProcMountInfo(const ProcRead& read);
Result<std::string> ReadProcMountStats(const ProcRead& read);

}  // namespace usl::fs
