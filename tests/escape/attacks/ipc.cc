// Name spaces of the host's IPC: System V, POSIX queues and shared memory, keyrings.
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <mqueue.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

Outcome SharedMemory() {
  const int id = static_cast<int>(FactNumber("shm_id"));
  const auto key = static_cast<key_t>(FactNumber("ipc_key"));
  int by_key = shmget(key, 0, 0);
  for (int candidate : {id, by_key}) {
    if (candidate < 0) continue;
    void* page = shmat(candidate, nullptr, 0);
    if (page != reinterpret_cast<void*>(-1)) {
      return HasMarker(std::string(static_cast<char*>(page), 64)) ? Escaped("shmat shows the secret")
                                                                  : Escaped("shmat");
    }
    shmid_ds status;
    if (shmctl(candidate, IPC_STAT, &status) == 0) return Escaped("IPC_STAT");
    if (shmctl(candidate, SHM_LOCK, nullptr) == 0) return Escaped("SHM_LOCK");
    if (shmctl(candidate, IPC_RMID, nullptr) == 0) return Escaped("IPC_RMID");
  }
  for (int index = 0; index < 64; ++index) {
    shmid_ds status;
    if (shmctl(index, SHM_STAT, &status) == id || shmctl(index, 15 /* SHM_STAT_ANY */, &status) == id)
      return Escaped("SHM_STAT");
  }
  return HeldErrno("shmctl");
}
ESCAPE_ATTACK(SharedMemory, "ipc.shared_memory", kEscapes, "view");

Outcome Semaphores() {
  const int id = static_cast<int>(FactNumber("sem_id"));
  sembuf operation{0, -1, IPC_NOWAIT};
  semid_ds status;
  if (semget(static_cast<key_t>(FactNumber("ipc_key")), 0, 0) >= 0) return Escaped("semget");
  if (semop(id, &operation, 1) == 0) return Escaped("semop");
  const timespec wait{0, 0};
  if (semtimedop(id, &operation, 1, &wait) == 0) return Escaped("semtimedop");
  if (semctl(id, 0, GETVAL) >= 0) return Escaped("GETVAL");
  if (semctl(id, 0, SETVAL, 1) >= 0) return Escaped("SETVAL");
  if (semctl(id, 0, IPC_STAT, &status) >= 0) return Escaped("IPC_STAT");
  if (semctl(id, 0, IPC_RMID) >= 0) return Escaped("IPC_RMID");
  return HeldErrno("semctl");
}
ESCAPE_ATTACK(Semaphores, "ipc.semaphores", kEscapes, "view");

Outcome Messages() {
  const int id = static_cast<int>(FactNumber("msg_id"));
  struct {
    long type;
    char text[128];
  } message{1, {}};
  msqid_ds status;
  if (msgget(static_cast<key_t>(FactNumber("ipc_key")), 0) >= 0) return Escaped("msgget");
  if (msgrcv(id, &message, sizeof message.text, 0, IPC_NOWAIT | MSG_NOERROR) >= 0) return Escaped("msgrcv");
  if (msgrcv(id, &message, sizeof message.text, 0, IPC_NOWAIT | 040000 /* MSG_COPY */) >= 0) return Escaped("MSG_COPY");
  message.type = 1;
  if (msgsnd(id, &message, 4, IPC_NOWAIT) == 0) return Escaped("msgsnd");
  if (msgctl(id, IPC_STAT, &status) == 0) return Escaped("IPC_STAT");
  if (msgctl(id, IPC_RMID, nullptr) == 0) return Escaped("IPC_RMID");
  return HeldErrno("msgctl");
}
ESCAPE_ATTACK(Messages, "ipc.messages", kEscapes, "view");

Outcome PosixQueue() {
  const std::string name = Fact("mq_name");
  mqd_t queue = mq_open(name.c_str(), O_RDWR | O_NONBLOCK);
  if (queue == static_cast<mqd_t>(-1)) {
    if (mq_unlink(name.c_str()) == 0) return Escaped("mq_unlink");
    return HeldErrno("mq_open and mq_unlink");
  }
  char text[8192];
  return mq_receive(queue, text, sizeof text, nullptr) > 0 ? Escaped("mq_receive") : Escaped("mq_open");
}
ESCAPE_ATTACK(PosixQueue, "ipc.posix_queue", kEscapes, "view");

Outcome PosixSharedMemory() {
  return TryOpen(Fact("posix_shm"));
}
ESCAPE_ATTACK(PosixSharedMemory, "ipc.posix_shared_memory", kEscapes, "view");

Outcome Keyrings() {
  const std::string name = Fact("key_name");
  char text[256] = "";
  long key = syscall(SYS_request_key, "user", name.c_str(), nullptr, 0);
  if (key < 0) key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, "user", name.c_str(), 0);
  if (key < 0) key = FactNumber("key_id");
  if (syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text - 1) > 0)
    return Escaped(HasMarker(text) ? "the key's secret" : "a key");
  if (syscall(SYS_keyctl, KEYCTL_DESCRIBE, key, text, sizeof text - 1) > 0) return Escaped("KEYCTL_DESCRIBE");
  // Into a user keyring of the instance's own: the host side looks whether it arrived in the host's.
  const Outcome held = HeldErrno("KEYCTL_DESCRIBE");
  syscall(SYS_add_key, "user", "usl-escape-made", "x", 1, KEY_SPEC_USER_KEYRING);
  return held;
}
ESCAPE_ATTACK(Keyrings, "ipc.keyrings", kDepends, "view");

}  // namespace
}  // namespace escape
