// What IPC_STAT shows: the host object's state with the guest's owner, mode and key.
#pragma once

#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "base/result.h"
#include "kernel/ipc_registry.h"

namespace usl::syscalls {

// The fourth argument of semctl(2), which programs must declare themselves.
union SemaphoreArgument {
  int value;
  semid_ds* buffer;
  unsigned short* array;
  seminfo* info;
};

// `Status` is shmid_ds, semid_ds or msqid_ds. EINVAL, EIDRM: the host's object is gone.
template <typename Status>
Result<Status> ReadIpcStatus(const kernel::IpcObject& object);
template <>
Result<shmid_ds> ReadIpcStatus(const kernel::IpcObject& object);
template <>
Result<semid_ds> ReadIpcStatus(const kernel::IpcObject& object);
template <>
Result<msqid_ds> ReadIpcStatus(const kernel::IpcObject& object);

// IPC_SET of msg_qbytes. EPERM beyond the host's limit.
Result<void> SetQueueSize(const kernel::IpcObject& queue, uint64_t bytes);

}  // namespace usl::syscalls
