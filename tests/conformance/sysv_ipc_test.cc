// System V IPC (sysvipc(7)).
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstring>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

union SemaphoreArgument {
  int value;
  semid_ds* buffer;
  unsigned short* array;
};

// Keys that no other run uses at the same time; the same in children.
key_t Key() {
  static const key_t key = 0x55000000 + getpid();
  return key;
}

class Segment {
 public:
  explicit Segment(int id) : id_(id) {}
  ~Segment() { shmctl(id_, IPC_RMID, nullptr); }
  int id() const { return id_; }

 private:
  int id_;
};

class Semaphores {
 public:
  explicit Semaphores(int id) : id_(id) {}
  ~Semaphores() { semctl(id_, 0, IPC_RMID); }
  int id() const { return id_; }

 private:
  int id_;
};

class Queue {
 public:
  explicit Queue(int id) : id_(id) {}
  ~Queue() { msgctl(id_, IPC_RMID, nullptr); }
  int id() const { return id_; }

 private:
  int id_;
};

void* const kFailed = reinterpret_cast<void*>(-1);

TEST(SharedMemory, IsShared) {
  const Segment segment(shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600));
  ASSERT_THAT(segment.id(), SyscallSucceeds());
  auto* memory = static_cast<char*>(shmat(segment.id(), nullptr, 0));
  ASSERT_NE(memory, kFailed);
  EXPECT_EQ(memory[8191], 0);
  EXPECT_TRUE(InChild([&] {
    auto* mine = static_cast<char*>(shmat(segment.id(), nullptr, 0));
    if (mine == kFailed) return false;
    strcpy(mine, "from the child");
    return shmdt(mine) == 0;
  }));
  EXPECT_STREQ(memory, "from the child");
  shmid_ds status;
  ASSERT_THAT(shmctl(segment.id(), IPC_STAT, &status), SyscallSucceeds());
  EXPECT_EQ(status.shm_nattch, 1u);
  EXPECT_EQ(status.shm_segsz, 8192u);
  EXPECT_EQ(status.shm_cpid, getpid());
  EXPECT_EQ(status.shm_perm.mode & 0777, 0600);
  EXPECT_EQ(status.shm_perm.uid, geteuid());
  EXPECT_THAT(shmdt(memory), SyscallSucceeds());
  EXPECT_THAT(shmdt(memory), SyscallFailsWithErrno(EINVAL));
}

TEST(SharedMemory, ReadOnlyAttachmentsAreReadOnly) {
  const Segment segment(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
  void* memory = shmat(segment.id(), nullptr, SHM_RDONLY);
  ASSERT_NE(memory, kFailed);
  EXPECT_THAT(syscall(SYS_getcwd, memory, 4096), SyscallFailsWithErrno(EFAULT));
  shmdt(memory);
}

TEST(SharedMemory, Keys) {
  const Segment segment(shmget(Key(), 4096, IPC_CREAT | IPC_EXCL | 0600));
  ASSERT_THAT(segment.id(), SyscallSucceeds());
  EXPECT_EQ(shmget(Key(), 0, 0), segment.id());
  EXPECT_EQ(shmget(Key(), 4096, IPC_CREAT | 0600), segment.id());
  EXPECT_THAT(shmget(Key(), 4096, IPC_CREAT | IPC_EXCL | 0600), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(shmget(Key(), 4097, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(shmget(Key() + 1, 4096, 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(shmget(IPC_PRIVATE, 0, IPC_CREAT | 0600), SyscallFailsWithErrno(EINVAL));
}

TEST(SharedMemory, PermissionsAndOwners) {
  const Segment segment(shmget(Key(), 4096, IPC_CREAT | 0640));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return shmat(segment.id(), nullptr, SHM_RDONLY) == kFailed ? -1 : 0; }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return shmget(Key(), 0, 0400); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return shmctl(segment.id(), IPC_RMID, nullptr); }), EPERM);
  shmid_ds status;
  ASSERT_THAT(shmctl(segment.id(), IPC_STAT, &status), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return shmctl(segment.id(), IPC_STAT, &status); }), EACCES);
  status.shm_perm.gid = kGroup;
  status.shm_perm.mode = 0640;
  ASSERT_THAT(shmctl(segment.id(), IPC_SET, &status), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return shmat(segment.id(), nullptr, SHM_RDONLY) == kFailed ? -1 : 0; }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return shmat(segment.id(), nullptr, 0) == kFailed ? -1 : 0; }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return shmctl(segment.id(), IPC_STAT, &status); }), 0);
}

TEST(SharedMemory, RemovalWaitsForTheLastDetach) {
  const int id = shmget(Key(), 4096, IPC_CREAT | 0600);
  auto* memory = static_cast<char*>(shmat(id, nullptr, 0));
  ASSERT_NE(memory, kFailed);
  ASSERT_THAT(shmctl(id, IPC_RMID, nullptr), SyscallSucceeds());
  memory[0] = 'x';
  shmid_ds status;
  ASSERT_THAT(shmctl(id, IPC_STAT, &status), SyscallSucceeds());
  EXPECT_TRUE(status.shm_perm.mode & SHM_DEST);
  EXPECT_THAT(shmget(Key(), 0, 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(shmdt(memory), SyscallSucceeds());
  EXPECT_EQ(shmat(id, nullptr, 0), kFailed);
  EXPECT_EQ(errno, EINVAL);
}

TEST(SharedMemory, BadArguments) {
  EXPECT_EQ(shmat(-1, nullptr, 0), kFailed);
  EXPECT_EQ(errno, EINVAL);
  shmid_ds status;
  EXPECT_THAT(shmctl(-1, IPC_STAT, &status), SyscallFailsWithErrno(EINVAL));
  const Segment segment(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
  EXPECT_THAT(shmctl(segment.id(), 99, &status), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_shmctl, segment.id(), IPC_STAT, kWildPointer), SyscallFailsWithErrno(EFAULT));
  EXPECT_EQ(shmat(segment.id(), reinterpret_cast<void*>(0x7001), 0), kFailed);
  EXPECT_EQ(errno, EINVAL);
}

TEST(SharedMemory, AFixedAddress) {
  void* place = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const Segment segment(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
  EXPECT_EQ(shmat(segment.id(), place, 0), kFailed);
  EXPECT_EQ(shmat(segment.id(), place, SHM_REMAP), place);
  EXPECT_THAT(shmdt(place), SyscallSucceeds());
}

TEST(SemaphoreSet, ValuesAndOperations) {
  const Semaphores set(semget(IPC_PRIVATE, 3, IPC_CREAT | 0600));
  ASSERT_THAT(set.id(), SyscallSucceeds());
  EXPECT_THAT(semctl(set.id(), 1, SETVAL, SemaphoreArgument{.value = 5}), SyscallSucceeds());
  EXPECT_THAT(semctl(set.id(), 1, GETVAL), SyscallSucceedsWithValue(5));
  sembuf take{1, -3, 0};
  EXPECT_THAT(semop(set.id(), &take, 1), SyscallSucceeds());
  EXPECT_THAT(semctl(set.id(), 1, GETVAL), SyscallSucceedsWithValue(2));
  take.sem_flg = IPC_NOWAIT;
  EXPECT_THAT(semop(set.id(), &take, 1), SyscallFailsWithErrno(EAGAIN));
  unsigned short values[3] = {7, 8, 9};
  EXPECT_THAT(semctl(set.id(), 0, SETALL, SemaphoreArgument{.array = values}), SyscallSucceeds());
  unsigned short back[3] = {};
  EXPECT_THAT(semctl(set.id(), 0, GETALL, SemaphoreArgument{.array = back}), SyscallSucceeds());
  EXPECT_EQ(back[2], 9);
  EXPECT_THAT(semctl(set.id(), 1, GETPID), SyscallSucceedsWithValue(getpid()));
  EXPECT_THAT(semctl(set.id(), 3, GETVAL), SyscallFailsWithErrno(EINVAL));
  semid_ds status;
  ASSERT_THAT(semctl(set.id(), 0, IPC_STAT, SemaphoreArgument{.buffer = &status}), SyscallSucceeds());
  EXPECT_EQ(status.sem_nsems, 3u);
  EXPECT_EQ(status.sem_perm.uid, geteuid());
}

TEST(SemaphoreSet, WaitsForAnotherProcess) {
  const Semaphores set(semget(IPC_PRIVATE, 2, IPC_CREAT | 0600));
  const pid_t child = fork();
  if (child == 0) {
    sembuf give{0, 1, 0}, wait{1, -1, 0};
    _exit(semop(set.id(), &give, 1) == 0 && semop(set.id(), &wait, 1) == 0 ? 0 : 1);
  }
  sembuf take{0, -1, 0}, release{1, 1, 0};
  EXPECT_THAT(semop(set.id(), &take, 1), SyscallSucceeds());
  EXPECT_THAT(semop(set.id(), &release, 1), SyscallSucceeds());
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(SemaphoreSet, UndoAtExit) {
  const Semaphores set(semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
  EXPECT_TRUE(InChild([&] {
    sembuf give{0, 4, SEM_UNDO};
    return semop(set.id(), &give, 1) == 0 && semctl(set.id(), 0, GETVAL) == 4;
  }));
  EXPECT_THAT(semctl(set.id(), 0, GETVAL), SyscallSucceedsWithValue(0));
}

TEST(SemaphoreSet, PermissionsAndErrors) {
  const Semaphores set(semget(Key(), 2, IPC_CREAT | 0604));
  sembuf give{0, 1, 0}, zero{0, 0, IPC_NOWAIT};
  EXPECT_EQ(ErrnoAs(kUser, [&] { return semop(set.id(), &give, 1); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return semop(set.id(), &zero, 1); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return semctl(set.id(), 0, GETVAL); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return semctl(set.id(), 0, SETVAL, SemaphoreArgument{.value = 1}); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return semctl(set.id(), 0, IPC_RMID); }), EPERM);
  EXPECT_THAT(semget(Key(), 3, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(semget(Key() + 1, 0, IPC_CREAT | 0600), SyscallFailsWithErrno(EINVAL));
  sembuf beyond{5, 1, 0};
  EXPECT_THAT(semop(set.id(), &beyond, 1), SyscallFailsWithErrno(EFBIG));
  EXPECT_THAT(semop(set.id(), &give, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(semop(-1, &give, 1), SyscallFailsWithErrno(EINVAL));
  timespec short_time{0, 1000000};
  sembuf take{1, -1, 0};
  EXPECT_THAT(semtimedop(set.id(), &take, 1, &short_time), SyscallFailsWithErrno(EAGAIN));
}

TEST(SemaphoreSet, RemovalWakesWaiters) {
  const int id = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  const pid_t child = fork();
  if (child == 0) {
    sembuf take{0, -1, 0};
    _exit(semop(id, &take, 1) == -1 && errno == EIDRM ? 0 : 1);
  }
  while (semctl(id, 0, GETNCNT) == 0) sched_yield();
  ASSERT_THAT(semctl(id, 0, IPC_RMID), SyscallSucceeds());
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

struct Message {
  long type;
  char text[32];
};

TEST(MessageQueue, TypesAndOrder) {
  const Queue queue(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
  ASSERT_THAT(queue.id(), SyscallSucceeds());
  const Message first{1, "one"}, second{2, "two"};
  ASSERT_THAT(msgsnd(queue.id(), &first, 4, 0), SyscallSucceeds());
  ASSERT_THAT(msgsnd(queue.id(), &second, 4, 0), SyscallSucceeds());
  Message got{};
  EXPECT_THAT(msgrcv(queue.id(), &got, sizeof got.text, 2, 0), SyscallSucceedsWithValue(4));
  EXPECT_STREQ(got.text, "two");
  EXPECT_THAT(msgrcv(queue.id(), &got, 2, 0, 0), SyscallFailsWithErrno(E2BIG));
  EXPECT_THAT(msgrcv(queue.id(), &got, 2, 0, MSG_NOERROR), SyscallSucceedsWithValue(2));
  EXPECT_THAT(msgrcv(queue.id(), &got, sizeof got.text, 0, IPC_NOWAIT), SyscallFailsWithErrno(ENOMSG));
  const Message bad{0, "bad"};
  EXPECT_THAT(msgsnd(queue.id(), &bad, 4, 0), SyscallFailsWithErrno(EINVAL));
}

TEST(MessageQueue, BetweenProcesses) {
  const Queue queue(msgget(Key(), IPC_CREAT | 0600));
  ASSERT_THAT(queue.id(), SyscallSucceeds());
  const pid_t child = fork();
  if (child == 0) {
    const Message message{7, "hello"};
    _exit(msgsnd(msgget(Key(), 0), &message, 6, 0) == 0 ? 0 : 1);
  }
  Message got{};
  EXPECT_THAT(msgrcv(queue.id(), &got, sizeof got.text, 7, 0), SyscallSucceedsWithValue(6));
  EXPECT_STREQ(got.text, "hello");
  msqid_ds status;
  ASSERT_THAT(msgctl(queue.id(), IPC_STAT, &status), SyscallSucceeds());
  EXPECT_EQ(status.msg_qnum, 0u);
  EXPECT_EQ(status.msg_lspid, child);
  EXPECT_EQ(status.msg_perm.cuid, geteuid());
  waitpid(child, nullptr, 0);
}

TEST(MessageQueue, PermissionsAndLimits) {
  const Queue queue(msgget(Key(), IPC_CREAT | 0602));
  const Message message{1, "x"};
  Message got{};
  EXPECT_EQ(ErrnoAs(kUser, [&] { return msgsnd(queue.id(), &message, 2, 0); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return static_cast<int>(msgrcv(queue.id(), &got, 32, 0, IPC_NOWAIT)); }), EACCES);
  msqid_ds status;
  ASSERT_THAT(msgctl(queue.id(), IPC_STAT, &status), SyscallSucceeds());
  status.msg_qbytes = 64;
  ASSERT_THAT(msgctl(queue.id(), IPC_SET, &status), SyscallSucceeds());
  ASSERT_THAT(msgctl(queue.id(), IPC_STAT, &status), SyscallSucceeds());
  EXPECT_EQ(status.msg_qbytes, 64u);
  while (msgsnd(queue.id(), &message, 16, IPC_NOWAIT) == 0) continue;
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_THAT(msgget(Key() + 1, 0600), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(msgctl(-1, IPC_RMID, nullptr), SyscallFailsWithErrno(EINVAL));
}

}  // namespace
}  // namespace usl::conformance
