// What procfs shows of the instance's sockets, System V objects and keys.
#include <dirent.h>
#include <fcntl.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <memory>

#include "base/format.h"
#include "kernel/proc_source.h"

namespace usl::kernel {
namespace {

// Adds the sockets in a host directory /proc/PID/fd.
void CollectSockets(const std::string& directory, uid_t user, std::map<ino_t, uid_t>& sockets) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  if (!stream) return;
  while (const dirent* entry = readdir(stream.get())) {
    char text[64];
    const ssize_t size = readlinkat(dirfd(stream.get()), entry->d_name, text, sizeof text);
    std::string_view link(text, size > 0 ? static_cast<size_t>(size) : 0);
    static constexpr std::string_view kHead = "socket:[";
    if (!link.starts_with(kHead)) continue;
    link.remove_prefix(kHead.size());
    ino_t inode = 0;
    std::from_chars(link.data(), link.data() + link.size(), inode);
    if (inode != 0) sockets.emplace(inode, user);
  }
}

// The lines of ipc/shm.c, msg.c and sem.c of Linux. Empty: the object has gone.
std::string SegmentLine(const IpcObject& object) {
  shmid_ds state;
  if (shmctl(object.id, IPC_STAT, &state) != 0) return {};
  const unsigned mode = object.mode | (state.shm_perm.mode & ~0777u);
  return format("{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {:21} {:21}",
                object.key, object.id, mode, object.size, object.creator, state.shm_lpid, state.shm_nattch, object.uid,
                object.gid, object.cuid, object.cgid, state.shm_atime, state.shm_dtime, state.shm_ctime, 0, 0);
}

std::string QueueLine(const IpcObject& object) {
  msqid_ds state;
  if (msgctl(object.id, IPC_STAT, &state) != 0) return {};
  return format("{:10} {:10}  {:4o}  {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}", object.key,
                object.id, object.mode, state.__msg_cbytes, state.msg_qnum, state.msg_lspid, state.msg_lrpid,
                object.uid, object.gid, object.cuid, object.cgid, state.msg_stime, state.msg_rtime, state.msg_ctime);
}

std::string SemaphoreLine(const IpcObject& object) {
  semid_ds state;
  if (semctl(object.id, 0, IPC_STAT, &state) != 0) return {};
  return format("{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}", object.key, object.id, object.mode,
                object.size, object.uid, object.gid, object.cuid, object.cgid, state.sem_otime, state.sem_ctime);
}

}  // namespace

std::map<ino_t, uid_t> KernelProcSource::Sockets() {
  std::map<ino_t, uid_t> sockets;
  for (const Ref<Process>& process : kernel_.tasks().List()) {
    Ref<Task> leader = kernel_.tasks().FindTask(process->pid());
    const uid_t user = leader ? leader->credentials().euid : 0;
    CollectSockets(format("/proc/{}/fd", process->pid()), user, sockets);
    for (const pid_t tid : process->threads()) {
      Ref<Task> task = kernel_.tasks().FindTask(tid);
      if (!task || !task->own_descriptors) continue;
      CollectSockets(format("/proc/{}/task/{}/fd", process->pid(), tid), task->credentials().euid, sockets);
    }
  }
  return sockets;
}

std::vector<std::string> KernelProcSource::SysvObjects(fs::SysvKind kind) {
  const IpcKind wanted = kind == fs::SysvKind::kShm       ? IpcKind::kSharedMemory
                         : kind == fs::SysvKind::kMessage ? IpcKind::kMessages
                                                          : IpcKind::kSemaphores;
  std::vector<std::string> lines;
  for (const IpcObject* object : kernel_.ipc().List(wanted)) {
    std::string line = wanted == IpcKind::kSharedMemory ? SegmentLine(*object)
                       : wanted == IpcKind::kMessages   ? QueueLine(*object)
                                                        : SemaphoreLine(*object);
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

std::string KernelProcSource::Keys(const vfs::Context& context) {
  return kernel_.keys().DescribeKeys(context.credentials);
}

std::optional<std::string> KernelProcSource::SysctlValue(std::string_view path) {
  if (path == "kernel/ctrl-alt-del") return kernel_.ctrl_alt_del ? "1" : "0";
  if (path == "kernel/dmesg_restrict") return kernel_.log().restricted ? "1" : "0";
  return std::nullopt;
}

void KernelProcSource::SysctlWritten(std::string_view path, std::string_view value) {
  if (path == "kernel/ctrl-alt-del") kernel_.ctrl_alt_del = value == "1";
  if (path == "kernel/dmesg_restrict") kernel_.log().restricted = value != "0";
}

}  // namespace usl::kernel
