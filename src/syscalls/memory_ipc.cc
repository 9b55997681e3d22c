// System V shared memory, semaphores and message queues. Names are virtual (kernel/ipc_registry.h); calls that only use
// an object, which its id in a register names for good, are checked and then the host's.
#include <linux/capability.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "kernel/kernel.h"
#include "protocol/exec_plan.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/ipc_status.h"

namespace usl::syscalls {
namespace {

using kernel::IpcKind;
using kernel::IpcObject;
using kernel::kIpcExec;
using kernel::kIpcRead;
using kernel::kIpcWrite;

constexpr size_t kMaxSemaphoreOperations = 500;  // SEMOPM of Linux

Result<IpcObject*> Check(const SyscallContext& context, IpcKind kind, unsigned wanted) {
  return context.kernel().ipc().Check(kind, context.IntArg(0), context.credentials(), wanted);
}

Result<IpcObject*> CheckOwner(const SyscallContext& context, IpcKind kind) {
  return context.kernel().ipc().CheckOwner(kind, context.IntArg(0), context.credentials());
}

Result<Reply> Get(SyscallContext& context, IpcKind kind, uint64_t size, int flags) {
  return int64_t{USL_TRY(context.kernel().ipc().Get(kind, context.IntArg(0), size, flags, context.credentials(),
                                                    context.process().pid()))};
}

// The object that SHM_STAT and its like mean by an index into the instance's own list.
Result<IpcObject*> ByIndex(const SyscallContext& context, IpcKind kind, bool any) {
  const int index = context.IntArg(0);
  const std::vector<IpcObject*> list = context.kernel().ipc().List(kind);
  if (index < 0 || static_cast<size_t>(index) >= list.size()) return Fail(EINVAL);
  IpcObject* object = list[static_cast<size_t>(index)];
  if (!any && !kernel::MayUseIpc(*object, context.credentials(), kIpcRead)) return Fail(EACCES);
  return object;
}

int64_t HighestIndex(const SyscallContext& context, IpcKind kind) {
  const size_t count = context.kernel().ipc().List(kind).size();
  return count == 0 ? 0 : static_cast<int64_t>(count) - 1;
}

// IPC_SET changes the owner and the mode; the host's object keeps its own.
void SetOwnerAndMode(IpcObject& object, const ipc_perm& wanted) {
  object.uid = wanted.uid;
  object.gid = wanted.gid;
  object.mode = wanted.mode & 0777;
}

// IPC_STAT, and the *_STAT forms, which return the id.
template <typename Status>
Result<Reply> GiveStatus(SyscallContext& context, const IpcObject& object, int address_index, int64_t result) {
  const Status status = USL_TRY(ReadIpcStatus<Status>(object));
  USL_TRY_VOID(context.CopyOut(address_index, status));
  return result;
}

Result<Reply> LockSegment(SyscallContext& context, int command) {
  const IpcObject* object = USL_TRY(context.kernel().ipc().Find(IpcKind::kSharedMemory, context.IntArg(0)));
  const cred::Credentials& own = context.credentials();
  if (own.euid != object->uid && own.euid != object->cuid && !own.Has(CAP_IPC_LOCK)) return Fail(EPERM);
  if (shmctl(object->id, command, nullptr) < 0) return FailErrno();
  return 0;
}

Result<Reply> SegmentLimits(SyscallContext& context, int command) {
  if (command == IPC_INFO) {
    shminfo limits{};
    if (shmctl(0, IPC_INFO, reinterpret_cast<shmid_ds*>(&limits)) < 0) return FailErrno();
    USL_TRY_VOID(context.CopyOut(2, limits));
  } else {
    struct shm_info usage {};
    const auto page_size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    for (const IpcObject* object : context.kernel().ipc().List(IpcKind::kSharedMemory)) {
      ++usage.used_ids;
      usage.shm_tot += (object->size + page_size - 1) / page_size;
    }
    USL_TRY_VOID(context.CopyOut(2, usage));
  }
  return HighestIndex(context, IpcKind::kSharedMemory);
}

Result<Reply> MessageLimits(SyscallContext& context, int command) {
  msginfo limits{};
  if (msgctl(0, IPC_INFO, reinterpret_cast<msqid_ds*>(&limits)) < 0) return FailErrno();
  if (command == MSG_INFO) {
    limits.msgpool = limits.msgmap = limits.msgtql = 0;
    for (const IpcObject* object : context.kernel().ipc().List(IpcKind::kMessages)) {
      const auto status = ReadIpcStatus<msqid_ds>(*object);
      if (!status) continue;
      ++limits.msgpool;
      limits.msgmap += static_cast<int>(status->msg_qnum);
      limits.msgtql += static_cast<int>(status->__msg_cbytes);
    }
  }
  USL_TRY_VOID(context.CopyOut(2, limits));
  return HighestIndex(context, IpcKind::kMessages);
}

Result<Reply> SemaphoreLimits(SyscallContext& context, int command) {
  seminfo limits{};
  if (semctl(0, 0, IPC_INFO, SemaphoreArgument{.info = &limits}) < 0) return FailErrno();
  if (command == SEM_INFO) {
    limits.semusz = limits.semaem = 0;
    for (const IpcObject* object : context.kernel().ipc().List(IpcKind::kSemaphores)) {
      ++limits.semusz;
      limits.semaem += static_cast<int>(object->size);
    }
  }
  USL_TRY_VOID(context.CopyOut(3, limits));
  return HighestIndex(context, IpcKind::kSemaphores);
}

// Who may only look at a set may only wait for zero. What an operation is stands in memory, where it could change after
// a look at it: so the kernel does it itself, and as it must not wait, the caller is told EAGAIN.
Result<Reply> OperateReadOnly(SyscallContext& context, int id, size_t count) {
  std::vector<sembuf> operations(count);
  USL_TRY_VOID(context.memory().Read(context.AddressArg(1), operations.data(), count * sizeof(sembuf)));
  for (sembuf& operation : operations) {
    if (operation.sem_op != 0) return Fail(EACCES);
    operation.sem_flg = IPC_NOWAIT;
  }
  if (semop(id, operations.data(), count) < 0) return FailErrno();
  return 0;
}

Result<Reply> Operate(SyscallContext& context) {
  const uint64_t count = context.Arg(2);
  if (count < 1 || context.IntArg(0) < 0) return Fail(EINVAL);
  if (count > kMaxSemaphoreOperations) return Fail(E2BIG);
  const IpcObject* object = USL_TRY(context.kernel().ipc().Find(IpcKind::kSemaphores, context.IntArg(0)));
  if (kernel::MayUseIpc(*object, context.credentials(), kIpcWrite)) return Reply::ContinueByRegisters();
  if (!kernel::MayUseIpc(*object, context.credentials(), kIpcRead)) return Fail(EACCES);
  return OperateReadOnly(context, object->id, count);
}

// Would the segment lie over the pico page, which SHM_REMAP can replace?
bool CoversPicoPage(const SyscallContext& context, const IpcObject& segment) {
  const uint64_t address = context.Arg(1);
  if (address == 0) return false;
  const uint64_t base = context.kernel().options().pico_base;
  const uint64_t start = address & ~(protocol::kPicoSize - 1);
  return start < base + protocol::kPicoSize && (segment.size > ~start || start + segment.size > base);
}

}  // namespace

Result<Reply> sys_shmget(SyscallContext& context) {
  return Get(context, IpcKind::kSharedMemory, context.Arg(1), context.IntArg(2));
}

Result<Reply> sys_shmat(SyscallContext& context) {
  const int flags = context.IntArg(2);
  unsigned wanted = flags & SHM_RDONLY ? kIpcRead : kIpcRead | kIpcWrite;
  if (flags & SHM_EXEC) wanted |= kIpcExec;
  const IpcObject* object = USL_TRY(Check(context, IpcKind::kSharedMemory, wanted));
  if (CoversPicoPage(context, *object)) return Fail(EINVAL);
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_shmctl(SyscallContext& context) {
  const int command = context.IntArg(1);
  if (context.IntArg(0) < 0 || command < 0) return Fail(EINVAL);
  switch (command) {
    case IPC_INFO:
    case SHM_INFO: return SegmentLimits(context, command);
    case IPC_STAT:
      return GiveStatus<shmid_ds>(context, *USL_TRY(Check(context, IpcKind::kSharedMemory, kIpcRead)), 2, 0);
    case SHM_STAT:
    case SHM_STAT_ANY: {
      const IpcObject* object = USL_TRY(ByIndex(context, IpcKind::kSharedMemory, command == SHM_STAT_ANY));
      return GiveStatus<shmid_ds>(context, *object, 2, object->id);
    }
    case IPC_SET: {
      const auto wanted = USL_TRY(context.memory().ReadObject<shmid_ds>(context.AddressArg(2)));
      SetOwnerAndMode(*USL_TRY(CheckOwner(context, IpcKind::kSharedMemory)), wanted.shm_perm);
      return 0;
    }
    case IPC_RMID: return Done(context.kernel().ipc().Remove(*USL_TRY(CheckOwner(context, IpcKind::kSharedMemory))));
    case SHM_LOCK:
    case SHM_UNLOCK: return LockSegment(context, command);
    default: return Fail(EINVAL);
  }
}

Result<Reply> sys_semget(SyscallContext& context) {
  const int count = context.IntArg(1);
  if (count < 0) return Fail(EINVAL);
  return Get(context, IpcKind::kSemaphores, static_cast<uint64_t>(count), context.IntArg(2));
}

Result<Reply> sys_semop(SyscallContext& context) {
  return Operate(context);
}
Result<Reply> sys_semtimedop(SyscallContext& context) {
  return Operate(context);
}

Result<Reply> sys_semctl(SyscallContext& context) {
  const int command = context.IntArg(2);
  if (context.IntArg(0) < 0) return Fail(EINVAL);
  switch (command) {
    case IPC_INFO:
    case SEM_INFO: return SemaphoreLimits(context, command);
    case IPC_STAT: return GiveStatus<semid_ds>(context, *USL_TRY(Check(context, IpcKind::kSemaphores, kIpcRead)), 3, 0);
    case SEM_STAT:
    case SEM_STAT_ANY: {
      const IpcObject* object = USL_TRY(ByIndex(context, IpcKind::kSemaphores, command == SEM_STAT_ANY));
      return GiveStatus<semid_ds>(context, *object, 3, object->id);
    }
    // The value is in a register; GETALL's and SETALL's arrays are mere data.
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
    case GETALL: USL_TRY(Check(context, IpcKind::kSemaphores, kIpcRead)); return Reply::ContinueByRegisters();
    case SETVAL:
    case SETALL: USL_TRY(Check(context, IpcKind::kSemaphores, kIpcWrite)); return Reply::ContinueByRegisters();
    case IPC_SET: {
      const auto wanted = USL_TRY(context.memory().ReadObject<semid_ds>(context.AddressArg(3)));
      SetOwnerAndMode(*USL_TRY(CheckOwner(context, IpcKind::kSemaphores)), wanted.sem_perm);
      return 0;
    }
    case IPC_RMID: return Done(context.kernel().ipc().Remove(*USL_TRY(CheckOwner(context, IpcKind::kSemaphores))));
    default: return Fail(EINVAL);
  }
}

Result<Reply> sys_msgget(SyscallContext& context) {
  return Get(context, IpcKind::kMessages, 0, context.IntArg(1));
}

Result<Reply> sys_msgsnd(SyscallContext& context) {
  USL_TRY(Check(context, IpcKind::kMessages, kIpcWrite));
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_msgrcv(SyscallContext& context) {
  USL_TRY(Check(context, IpcKind::kMessages, kIpcRead));
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_msgctl(SyscallContext& context) {
  const int command = context.IntArg(1);
  if (context.IntArg(0) < 0 || command < 0) return Fail(EINVAL);
  switch (command) {
    case IPC_INFO:
    case MSG_INFO: return MessageLimits(context, command);
    case IPC_STAT: return GiveStatus<msqid_ds>(context, *USL_TRY(Check(context, IpcKind::kMessages, kIpcRead)), 2, 0);
    case MSG_STAT:
    case MSG_STAT_ANY: {
      const IpcObject* object = USL_TRY(ByIndex(context, IpcKind::kMessages, command == MSG_STAT_ANY));
      return GiveStatus<msqid_ds>(context, *object, 2, object->id);
    }
    case IPC_SET: {
      const auto wanted = USL_TRY(context.memory().ReadObject<msqid_ds>(context.AddressArg(2)));
      IpcObject* object = USL_TRY(CheckOwner(context, IpcKind::kMessages));
      USL_TRY_VOID(SetQueueSize(*object, wanted.msg_qbytes));
      SetOwnerAndMode(*object, wanted.msg_perm);
      return 0;
    }
    case IPC_RMID: return Done(context.kernel().ipc().Remove(*USL_TRY(CheckOwner(context, IpcKind::kMessages))));
    default: return Fail(EINVAL);
  }
}

}  // namespace usl::syscalls
