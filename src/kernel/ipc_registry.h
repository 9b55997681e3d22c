// System V IPC (sysvipc(7)) of the instance. Each object is a host object made with IPC_PRIVATE, so no host process
// finds it by a key; keys, owners and modes are the instance's and kept here. Ids are the host's, which makes the calls
// that use an object native after a check of the id. Guarded by the kernel lock.
#pragma once

#include <sys/ipc.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cred/credentials.h"

namespace usl::kernel {

enum class IpcKind { kSharedMemory, kSemaphores, kMessages };

struct IpcObject {
  IpcKind kind = IpcKind::kSharedMemory;
  int id = -1;
  key_t key = IPC_PRIVATE;
  uid_t uid = 0, cuid = 0;  // owner and creator
  gid_t gid = 0, cgid = 0;
  unsigned mode = 0;     // nine permission bits
  pid_t creator = 0;     // process that made it
  uint64_t size = 0;     // bytes of a segment, number of semaphores
  bool removed = false;  // a segment that was removed and lives until its last detach
};

// What ipcperms() of Linux asks for; a mask of these for each of owner, group and others.
inline constexpr unsigned kIpcRead = 0444, kIpcWrite = 0222, kIpcExec = 0111;

class IpcRegistry {
 public:
  IpcRegistry() = default;
  IpcRegistry(const IpcRegistry&) = delete;
  IpcRegistry& operator=(const IpcRegistry&) = delete;
  ~IpcRegistry() { RemoveAll(); }
  // Removes all objects from the host: nothing of the instance stays behind. At its end, as that is an _exit().
  void RemoveAll();
  // From now on the objects' host ids stand in a file of this directory, for RemoveIpcLeftovers. Without it (a full
  // disk) a killed kernel process leaves them behind; nothing else changes.
  void RecordIn(const std::string& directory);

  // The host user that guests run as, when it is not the kernel's own: objects must be its.
  void SetHostOwner(uid_t uid, gid_t gid) {
    host_uid_ = uid;
    host_gid_ = gid;
    has_host_owner_ = true;
  }

  // shmget(2), semget(2), msgget(2): finds or makes the object and returns its id. `size` as IpcObject::size. ENOENT,
  // EEXIST, EACCES, EINVAL (size), and the host's ENOSPC and ENOMEM.
  Result<int> Get(IpcKind kind, key_t key, uint64_t size, int flags, const cred::Credentials& credentials,
                  pid_t creator);
  // The object, which stays valid until Remove. EINVAL when the instance has none of this id.
  Result<IpcObject*> Find(IpcKind kind, int id);
  // The object, if `credentials` may do `wanted` (kIpcRead...) to it. EINVAL, EACCES.
  Result<IpcObject*> Check(IpcKind kind, int id, const cred::Credentials& credentials, unsigned wanted);
  // The object, if `credentials` may change or remove it. EINVAL, EPERM.
  Result<IpcObject*> CheckOwner(IpcKind kind, int id, const cred::Credentials& credentials);
  // IPC_RMID.
  Result<void> Remove(IpcObject& object);

  // The objects of a kind, in the order of the indices that SHM_STAT and its like take.
  std::vector<IpcObject*> List(IpcKind kind);

 private:
  void Record() const;
  void Forget(IpcKind kind, int id);
  void DropDetached();

  std::vector<std::unique_ptr<IpcObject>> objects_;
  UniqueFd record_;
  bool has_host_owner_ = false;
  uid_t host_uid_ = 0;
  gid_t host_gid_ = 0;
};

// Removes what a kernel process that was killed left, by the record in its directory.
void RemoveIpcLeftovers(const std::string& directory);

// ipcperms() of Linux. Pure.
bool MayUseIpc(const IpcObject& object, const cred::Credentials& credentials, unsigned wanted);

}  // namespace usl::kernel
