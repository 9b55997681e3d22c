// Locks on files: of processes (fcntl_locking(2), F_SETLK), of open file descriptions (F_OFD_SETLK) and flock(2).
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

struct flock Range(short type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}
int Lock(int fd, int command, short type, off_t start = 0, off_t length = 0) {
  struct flock lock = Range(type, start, length);
  return fcntl(fd, command, &lock);
}

class Locks : public ::testing::Test {
 protected:
  Locks() : path_(dir_.File("f", "0123456789")), fd_(open(path_.c_str(), O_RDWR)) {}
  // The errno of a lock that another process asks for.
  int Other(int command, short type, off_t start = 0, off_t length = 0) {
    return ErrnoAs(0, [&] { return Lock(Fd(open(path_.c_str(), O_RDWR)).get(), command, type, start, length); });
  }
  const TempDirectory dir_;
  std::string path_;
  Fd fd_;
};

TEST_F(Locks, OfProcessesByRange) {
  ASSERT_THAT(Lock(fd_.get(), F_SETLK, F_WRLCK, 2, 3), SyscallSucceeds());
  EXPECT_EQ(Other(F_SETLK, F_WRLCK, 0, 2), 0);
  EXPECT_EQ(Other(F_SETLK, F_RDLCK, 4, 1), EAGAIN);
  EXPECT_EQ(Other(F_SETLK, F_WRLCK, 5, 0), 0);
  ASSERT_THAT(Lock(fd_.get(), F_SETLK, F_RDLCK, 3, 1), SyscallSucceeds());
  EXPECT_EQ(Other(F_SETLK, F_RDLCK, 3, 1), 0);
  EXPECT_EQ(Other(F_SETLK, F_WRLCK, 3, 1), EAGAIN);
  ASSERT_THAT(Lock(fd_.get(), F_SETLK, F_UNLCK), SyscallSucceeds());
  EXPECT_EQ(Other(F_SETLK, F_WRLCK), 0);
}

TEST_F(Locks, TellWhoHoldsThem) {
  ASSERT_THAT(Lock(fd_.get(), F_SETLK, F_WRLCK, 2, 3), SyscallSucceeds());
  const pid_t self = getpid();
  EXPECT_TRUE(InChild([&] {
    struct flock lock = Range(F_RDLCK, 0, 0);
    return fcntl(fd_.get(), F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK && lock.l_pid == self && lock.l_start == 2 &&
           lock.l_len == 3;
  }));
}

TEST_F(Locks, EndWithAnyDescriptorOfTheProcess) {
  ASSERT_THAT(Lock(fd_.get(), F_SETLK, F_WRLCK), SyscallSucceeds());
  EXPECT_EQ(Other(F_SETLK, F_RDLCK), EAGAIN);
  { const Fd another(open(path_.c_str(), O_RDONLY)); }
  EXPECT_EQ(Other(F_SETLK, F_RDLCK), 0);
}

TEST_F(Locks, HoldThroughEveryName) {
  ASSERT_THAT(link(path_.c_str(), (dir_ / "g").c_str()), SyscallSucceeds());
  ASSERT_THAT(Lock(fd_.get(), F_SETLK, F_WRLCK), SyscallSucceeds());
  path_ = dir_ / "g";
  EXPECT_EQ(Other(F_SETLK, F_RDLCK), EAGAIN);
  ASSERT_THAT(rename(path_.c_str(), (dir_ / "h").c_str()), SyscallSucceeds());
  path_ = dir_ / "h";
  EXPECT_EQ(Other(F_SETLK, F_RDLCK), EAGAIN);
  // Changing its attributes does not make another file of it.
  ASSERT_THAT(chown(path_.c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_EQ(Other(F_SETLK, F_RDLCK), EAGAIN);
}

TEST_F(Locks, NeedTheRightToReadOrWrite) {
  const Fd reader(open(path_.c_str(), O_RDONLY)), writer(open(path_.c_str(), O_WRONLY));
  EXPECT_THAT(Lock(reader.get(), F_SETLK, F_WRLCK), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(Lock(writer.get(), F_SETLK, F_RDLCK), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(Lock(reader.get(), F_SETLK, F_RDLCK), SyscallSucceeds());
  EXPECT_THAT(Lock(reader.get(), F_SETLK, 77), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Lock(reader.get(), F_SETLK, F_RDLCK, -5, 1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Lock(-1, F_SETLK, F_RDLCK), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(flock(reader.get(), LOCK_EX), SyscallSucceeds()) << "flock asks for no right";
}

TEST_F(Locks, WaitingEndsWhenTheLockDoes) {
  int started[2], done[2];
  ASSERT_THAT(pipe(started), SyscallSucceeds());
  ASSERT_THAT(pipe(done), SyscallSucceeds());
  ASSERT_THAT(Lock(fd_.get(), F_SETLK, F_WRLCK), SyscallSucceeds());
  const pid_t child = fork();
  if (child == 0) {
    const Fd own(open(path_.c_str(), O_RDWR));
    if (write(started[1], "s", 1) != 1) _exit(1);
    _exit(Lock(own.get(), F_SETLKW, F_WRLCK) == 0 && write(done[1], "d", 1) == 1 ? 0 : 1);
  }
  char byte;
  ASSERT_THAT(read(started[0], &byte, 1), SyscallSucceedsWithValue(1));
  pollfd waits{done[0], POLLIN, 0};
  EXPECT_EQ(poll(&waits, 1, 50), 0) << "it waits";
  ASSERT_THAT(Lock(fd_.get(), F_SETLK, F_UNLCK), SyscallSucceeds());
  EXPECT_THAT(read(done[0], &byte, 1), SyscallSucceedsWithValue(1));
  int status;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  for (int fd : {started[0], started[1], done[0], done[1]}) close(fd);
}

TEST_F(Locks, AreGoneWithTheProcess) {
  int ready[2];
  ASSERT_THAT(pipe(ready), SyscallSucceeds());
  const pid_t child = fork();
  if (child == 0) {
    if (Lock(fd_.get(), F_SETLK, F_WRLCK) < 0 || write(ready[1], "r", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  ASSERT_THAT(read(ready[0], &byte, 1), SyscallSucceedsWithValue(1));
  EXPECT_THAT(Lock(fd_.get(), F_SETLK, F_WRLCK), SyscallFailsWithErrno(EAGAIN));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_THAT(Lock(fd_.get(), F_SETLK, F_WRLCK), SyscallSucceeds());
  close(ready[0]);
  close(ready[1]);
}

TEST_F(Locks, OfDescriptions) {
  const Fd other(open(path_.c_str(), O_RDWR));
  ASSERT_THAT(Lock(fd_.get(), F_OFD_SETLK, F_WRLCK, 0, 5), SyscallSucceeds());
  EXPECT_THAT(Lock(other.get(), F_OFD_SETLK, F_RDLCK, 0, 1), SyscallFailsWithErrno(EAGAIN)) << "in the same process";
  EXPECT_THAT(Lock(other.get(), F_SETLK, F_RDLCK, 0, 1), SyscallFailsWithErrno(EAGAIN));
  EXPECT_THAT(Lock(other.get(), F_OFD_SETLK, F_RDLCK, 5, 1), SyscallSucceeds());
  { const Fd third(open(path_.c_str(), O_RDONLY)); }
  EXPECT_THAT(Lock(other.get(), F_OFD_SETLK, F_RDLCK, 0, 1), SyscallFailsWithErrno(EAGAIN))
      << "not ended by another close";
  const Fd copy(dup(fd_.get()));
  fd_.Close();
  EXPECT_THAT(Lock(other.get(), F_OFD_SETLK, F_RDLCK, 0, 1), SyscallFailsWithErrno(EAGAIN)) << "a dup holds it";
  struct flock lock = Range(F_RDLCK, 0, 0);
  EXPECT_THAT(fcntl(other.get(), F_OFD_GETLK, &lock), SyscallSucceeds());
  EXPECT_EQ(lock.l_pid, -1);
}

TEST_F(Locks, OfWholeFiles) {
  const Fd other(open(path_.c_str(), O_RDONLY));
  ASSERT_THAT(flock(fd_.get(), LOCK_SH), SyscallSucceeds());
  EXPECT_THAT(flock(other.get(), LOCK_SH | LOCK_NB), SyscallSucceeds());
  EXPECT_THAT(flock(other.get(), LOCK_EX | LOCK_NB), SyscallFailsWithErrno(EAGAIN));
  ASSERT_THAT(flock(fd_.get(), LOCK_UN), SyscallSucceeds());
  EXPECT_THAT(flock(other.get(), LOCK_EX | LOCK_NB), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(0, [&] { return flock(fd_.get(), LOCK_SH | LOCK_NB); }), EAGAIN);
  EXPECT_THAT(Lock(fd_.get(), F_SETLK, F_WRLCK), SyscallSucceeds()) << "the two kinds do not meet";
  EXPECT_THAT(flock(fd_.get(), 77), SyscallFailsWithErrno(EINVAL));
}

}  // namespace
}  // namespace usl::conformance
