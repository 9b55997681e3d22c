#include "kernel/ipc_registry.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>

namespace usl::kernel {
namespace {

union SemaphoreArgument {
  int value;
  semid_ds* buffer;
};

// Only the host user may open it; guests' permissions are checked here. Segments carry execute, which SHM_EXEC asks
// for.
constexpr int kHostMode = 0600, kHostSegmentMode = 0700;
constexpr int kSegmentFlags = SHM_HUGETLB | SHM_NORESERVE | (0x3f << 26);  // SHM_HUGE_SHIFT

Result<int> MakeHostObject(IpcKind kind, uint64_t size, int flags) {
  int id = -1;
  switch (kind) {
    case IpcKind::kSharedMemory:
      id = shmget(IPC_PRIVATE, size, IPC_CREAT | kHostSegmentMode | (flags & kSegmentFlags));
      break;
    case IpcKind::kSemaphores: id = semget(IPC_PRIVATE, static_cast<int>(size), IPC_CREAT | kHostMode); break;
    case IpcKind::kMessages: id = msgget(IPC_PRIVATE, IPC_CREAT | kHostMode); break;
  }
  if (id < 0) return FailErrno();
  return id;
}

int RemoveHostObject(IpcKind kind, int id) {
  switch (kind) {
    case IpcKind::kSharedMemory: return shmctl(id, IPC_RMID, nullptr);
    case IpcKind::kSemaphores: return semctl(id, 0, IPC_RMID);
    case IpcKind::kMessages: return msgctl(id, IPC_RMID, nullptr);
  }
  return -1;
}

int GiveHostObject(IpcKind kind, int id, uid_t uid, gid_t gid) {
  switch (kind) {
    case IpcKind::kSharedMemory: {
      shmid_ds status{};
      if (shmctl(id, IPC_STAT, &status) < 0) return -1;
      status.shm_perm.uid = uid;
      status.shm_perm.gid = gid;
      return shmctl(id, IPC_SET, &status);
    }
    case IpcKind::kSemaphores: {
      semid_ds status{};
      if (semctl(id, 0, IPC_STAT, SemaphoreArgument{.buffer = &status}) < 0) return -1;
      status.sem_perm.uid = uid;
      status.sem_perm.gid = gid;
      return semctl(id, 0, IPC_SET, SemaphoreArgument{.buffer = &status});
    }
    case IpcKind::kMessages: {
      msqid_ds status{};
      if (msgctl(id, IPC_STAT, &status) < 0) return -1;
      status.msg_perm.uid = uid;
      status.msg_perm.gid = gid;
      return msgctl(id, IPC_SET, &status);
    }
  }
  return -1;
}

struct RecordedId {
  int32_t kind, id;
};

std::string RecordPath(const std::string& directory) {
  return directory + "/ipc";
}

bool IsOwner(const IpcObject& object, const cred::Credentials& credentials) {
  return credentials.euid == object.uid || credentials.euid == object.cuid;
}

}  // namespace

bool MayUseIpc(const IpcObject& object, const cred::Credentials& credentials, unsigned wanted) {
  const unsigned requested = (wanted >> 6) | (wanted >> 3) | wanted;
  unsigned granted = object.mode;
  if (IsOwner(object, credentials)) {
    granted >>= 6;
  } else if (credentials.InGroup(object.cgid) || credentials.InGroup(object.gid)) {
    granted >>= 3;
  }
  return (requested & ~granted & 07) == 0 || credentials.Has(CAP_IPC_OWNER);
}

void IpcRegistry::RemoveAll() {
  for (const auto& object : objects_) RemoveHostObject(object->kind, object->id);
  objects_.clear();
  Record();
}

void IpcRegistry::RecordIn(const std::string& directory) {
  record_.Reset(open(RecordPath(directory).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
}

void IpcRegistry::Record() const {
  if (!record_) return;
  std::vector<RecordedId> ids;
  for (const auto& object : objects_) ids.push_back({static_cast<int32_t>(object->kind), object->id});
  // Killed in between, it leaves entries too many at the end, never too few.
  const size_t size = ids.size() * sizeof(RecordedId);
  if (pwrite(record_.get(), ids.data(), size, 0) == static_cast<ssize_t>(size)) {
    (void)!ftruncate(record_.get(), static_cast<off_t>(size));
  }
}

void RemoveIpcLeftovers(const std::string& directory) {
  const UniqueFd record(open(RecordPath(directory).c_str(), O_RDONLY | O_CLOEXEC));
  RecordedId recorded;
  while (record && read(record.get(), &recorded, sizeof recorded) == sizeof recorded) {
    RemoveHostObject(static_cast<IpcKind>(recorded.kind), recorded.id);
  }
}

Result<int> IpcRegistry::Get(IpcKind kind, key_t key, uint64_t size, int flags, const cred::Credentials& credentials,
                             pid_t creator) {
  DropDetached();
  if (key != IPC_PRIVATE) {
    for (const auto& object : objects_) {
      if (object->kind != kind || object->key != key) continue;
      if ((flags & IPC_CREAT) && (flags & IPC_EXCL)) return Fail(EEXIST);
      if (size > object->size) return Fail(EINVAL);
      if (!MayUseIpc(*object, credentials, static_cast<unsigned>(flags) & 0777)) return Fail(EACCES);
      return object->id;
    }
    if (!(flags & IPC_CREAT)) return Fail(ENOENT);
  }
  const int id = USL_TRY(MakeHostObject(kind, size, flags));
  if (has_host_owner_ && GiveHostObject(kind, id, host_uid_, host_gid_) < 0) {
    const Error error = Error::FromErrno();
    RemoveHostObject(kind, id);
    return Fail(error);
  }
  // The host gives out only ids that are free, so a record of this one is of an object that is gone.
  Forget(kind, id);
  objects_.push_back(std::make_unique<IpcObject>(IpcObject{.kind = kind,
                                                           .id = id,
                                                           .key = key,
                                                           .uid = credentials.euid,
                                                           .cuid = credentials.euid,
                                                           .gid = credentials.egid,
                                                           .cgid = credentials.egid,
                                                           .mode = static_cast<unsigned>(flags) & 0777,
                                                           .creator = creator,
                                                           .size = size}));
  Record();
  return id;
}

Result<IpcObject*> IpcRegistry::Find(IpcKind kind, int id) {
  DropDetached();
  for (const auto& object : objects_) {
    if (object->kind == kind && object->id == id) return object.get();
  }
  return Fail(EINVAL);
}

Result<IpcObject*> IpcRegistry::Check(IpcKind kind, int id, const cred::Credentials& credentials, unsigned wanted) {
  IpcObject* object = USL_TRY(Find(kind, id));
  if (!MayUseIpc(*object, credentials, wanted)) return Fail(EACCES);
  return object;
}

Result<IpcObject*> IpcRegistry::CheckOwner(IpcKind kind, int id, const cred::Credentials& credentials) {
  IpcObject* object = USL_TRY(Find(kind, id));
  if (!IsOwner(*object, credentials) && !credentials.Has(CAP_SYS_ADMIN)) return Fail(EPERM);
  return object;
}

Result<void> IpcRegistry::Remove(IpcObject& object) {
  if (RemoveHostObject(object.kind, object.id) < 0) return FailErrno();
  if (object.kind == IpcKind::kSharedMemory) {
    object.removed = true;
    object.key = IPC_PRIVATE;
    DropDetached();
  } else {
    Forget(object.kind, object.id);
  }
  return {};
}

std::vector<IpcObject*> IpcRegistry::List(IpcKind kind) {
  DropDetached();
  std::vector<IpcObject*> list;
  for (const auto& object : objects_) {
    if (object->kind == kind) list.push_back(object.get());
  }
  return list;
}

void IpcRegistry::Forget(IpcKind kind, int id) {
  if (std::erase_if(objects_, [=](const auto& object) { return object->kind == kind && object->id == id; })) Record();
}

void IpcRegistry::DropDetached() {
  const size_t gone = std::erase_if(objects_, [](const auto& object) {
    shmid_ds status;
    return object->removed && shmctl(object->id, IPC_STAT, &status) < 0;
  });
  if (gone) Record();
}

}  // namespace usl::kernel
