#include "syscalls/ipc_status.h"

namespace usl::syscalls {
namespace {

void ShowGuestOwner(ipc_perm& permissions, const kernel::IpcObject& object) {
  permissions.__key = object.key;
  permissions.uid = object.uid;
  permissions.gid = object.gid;
  permissions.cuid = object.cuid;
  permissions.cgid = object.cgid;
  // SHM_DEST and SHM_LOCKED are the host's to say.
  permissions.mode = (permissions.mode & ~0777u) | object.mode;
}

}  // namespace

template <>
Result<shmid_ds> ReadIpcStatus(const kernel::IpcObject& object) {
  shmid_ds status{};
  if (shmctl(object.id, IPC_STAT, &status) < 0) return FailErrno();
  ShowGuestOwner(status.shm_perm, object);
  status.shm_cpid = object.creator;
  return status;
}

template <>
Result<semid_ds> ReadIpcStatus(const kernel::IpcObject& object) {
  semid_ds status{};
  if (semctl(object.id, 0, IPC_STAT, SemaphoreArgument{.buffer = &status}) < 0) return FailErrno();
  ShowGuestOwner(status.sem_perm, object);
  return status;
}

template <>
Result<msqid_ds> ReadIpcStatus(const kernel::IpcObject& object) {
  msqid_ds status{};
  if (msgctl(object.id, IPC_STAT, &status) < 0) return FailErrno();
  ShowGuestOwner(status.msg_perm, object);
  return status;
}

Result<void> SetQueueSize(const kernel::IpcObject& queue, uint64_t bytes) {
  msqid_ds status{};
  if (msgctl(queue.id, IPC_STAT, &status) < 0) return FailErrno();
  if (status.msg_qbytes == bytes) return {};
  status.msg_qbytes = bytes;
  if (msgctl(queue.id, IPC_SET, &status) < 0) return FailErrno();
  return {};
}

}  // namespace usl::syscalls
