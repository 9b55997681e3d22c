// FIFOs by name (fifo(7)): opens wait for the other end, data and end-of-file pass between processes.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <cstring>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

class Fifo : public ::testing::Test {
 protected:
  Fifo() : path_(dir_ / "fifo") { EXPECT_THAT(mkfifo(path_.c_str(), 0600), SyscallSucceeds()); }
  const char* path() const { return path_.c_str(); }
  TempDirectory dir_;
  std::string path_;
};

// Runs `body` in a child, whose exit status tells whether it returned true.
pid_t Start(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body() ? 0 : 1);
  return child;
}

bool EndedWell(pid_t child) {
  int status;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_F(Fifo, TwoProcessesMeet) {
  const pid_t child = Start([&] {
    const Fd writer(open(path(), O_WRONLY));
    return writer.ok() && write(writer.get(), "hello", 5) == 5;
  });
  const Fd reader(open(path(), O_RDONLY));
  ASSERT_TRUE(reader.ok());
  char buffer[16];
  EXPECT_THAT(read(reader.get(), buffer, sizeof buffer), SyscallSucceedsWithValue(5));
  EXPECT_TRUE(EndedWell(child));
  EXPECT_THAT(read(reader.get(), buffer, sizeof buffer), SyscallSucceedsWithValue(0));
}

TEST_F(Fifo, TheReaderMayComeFirst) {
  const pid_t child = Start([&] {
    const Fd reader(open(path(), O_RDONLY));
    char buffer[16];
    return read(reader.get(), buffer, sizeof buffer) == 5 && read(reader.get(), buffer, sizeof buffer) == 0;
  });
  {
    const Fd writer(open(path(), O_WRONLY));
    EXPECT_THAT(write(writer.get(), "hello", 5), SyscallSucceedsWithValue(5));
  }
  EXPECT_TRUE(EndedWell(child));
}

TEST_F(Fifo, ManyTimesOver) {
  // The writer waits until the reader has closed: what is written to a reader that is about to close is lost with it.
  int turns[2];
  ASSERT_THAT(pipe(turns), SyscallSucceeds());
  const Fd next(turns[0]), closed(turns[1]);
  const pid_t child = Start([&] {
    for (int i = 0; i < 200; ++i) {
      {
        const Fd writer(open(path(), O_WRONLY));
        if (write(writer.get(), &i, sizeof i) != sizeof i) return false;
      }
      char byte;
      if (read(next.get(), &byte, 1) != 1) return false;
    }
    return true;
  });
  for (int expected = 0; expected < 200; ++expected) {
    {
      const Fd reader(open(path(), O_RDONLY));
      int got = -1;
      ASSERT_THAT(read(reader.get(), &got, sizeof got), SyscallSucceedsWithValue(static_cast<int>(sizeof got)));
      EXPECT_EQ(got, expected);
      EXPECT_THAT(read(reader.get(), &got, sizeof got), SyscallSucceedsWithValue(0));
    }
    ASSERT_THAT(write(closed.get(), "", 1), SyscallSucceedsWithValue(1));
  }
  EXPECT_TRUE(EndedWell(child));
}

TEST_F(Fifo, WithoutWaiting) {
  EXPECT_THAT(open(path(), O_WRONLY | O_NONBLOCK), SyscallFailsWithErrno(ENXIO));
  const Fd reader(open(path(), O_RDONLY | O_NONBLOCK));
  ASSERT_TRUE(reader.ok());
  char byte;
  EXPECT_THAT(read(reader.get(), &byte, 1), SyscallSucceedsWithValue(0));
  const Fd writer(open(path(), O_WRONLY | O_NONBLOCK));
  ASSERT_TRUE(writer.ok());
  EXPECT_THAT(read(reader.get(), &byte, 1), SyscallFailsWithErrno(EAGAIN));
  EXPECT_THAT(write(writer.get(), "x", 1), SyscallSucceedsWithValue(1));
  EXPECT_THAT(read(reader.get(), &byte, 1), SyscallSucceedsWithValue(1));
}

TEST_F(Fifo, BothEndsAtOnce) {
  const Fd both(open(path(), O_RDWR));
  ASSERT_TRUE(both.ok());
  EXPECT_THAT(write(both.get(), "x", 1), SyscallSucceedsWithValue(1));
  const Fd reader(open(path(), O_RDONLY));
  char byte;
  EXPECT_THAT(read(reader.get(), &byte, 1), SyscallSucceedsWithValue(1));
}

TEST_F(Fifo, BrokenPipe) {
  EXPECT_TRUE(InChild([&] {
    signal(SIGPIPE, SIG_IGN);
    Fd reader(open(path(), O_RDONLY | O_NONBLOCK));
    const Fd writer(open(path(), O_WRONLY));
    reader.Close();
    return write(writer.get(), "x", 1) == -1 && errno == EPIPE;
  }));
}

TEST_F(Fifo, PermissionsAndFlags) {
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(path(), O_RDONLY | O_NONBLOCK); }), EACCES);
  const Fd reader(open(path(), O_RDONLY | O_NONBLOCK));
  EXPECT_EQ(fcntl(reader.get(), F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY | O_NONBLOCK);
  struct stat status;
  ASSERT_THAT(fstat(reader.get(), &status), SyscallSucceeds());
  EXPECT_TRUE(S_ISFIFO(status.st_mode));
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(status.st_ino, StatOf(path_).st_ino);
  char byte;
  EXPECT_THAT(write(reader.get(), &byte, 1), SyscallFailsWithErrno(EBADF));
}

void OnSignal(int) {}

TEST_F(Fifo, ASignalEndsTheWait) {
  int ready[2];
  ASSERT_THAT(pipe(ready), SyscallSucceeds());
  const pid_t child = Start([&] {
    struct sigaction action {};
    action.sa_handler = OnSignal;
    sigaction(SIGUSR1, &action, nullptr);
    if (write(ready[1], "r", 1) != 1) return false;
    return open(path(), O_RDONLY) == -1 && errno == EINTR;
  });
  char byte;
  ASSERT_THAT(read(ready[0], &byte, 1), SyscallSucceedsWithValue(1));
  // Nothing tells when a process waits in open: signals are sent until one falls into the wait.
  int status = -1;
  while (waitpid(child, &status, WNOHANG) == 0) {
    kill(child, SIGUSR1);
    const timespec pause{0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  close(ready[0]);
  close(ready[1]);
}

TEST_F(Fifo, AnInterruptedWaitGoesOnWhenRestarting) {
  int ready[2];
  ASSERT_THAT(pipe(ready), SyscallSucceeds());
  const pid_t child = Start([&] {
    struct sigaction action {};
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
    if (write(ready[1], "r", 1) != 1) return false;
    const Fd reader(open(path(), O_RDONLY));
    char buffer[4];
    return reader.ok() && read(reader.get(), buffer, sizeof buffer) == 2;
  });
  char byte;
  ASSERT_THAT(read(ready[0], &byte, 1), SyscallSucceedsWithValue(1));
  for (int i = 0; i < 5; ++i) {
    kill(child, SIGUSR1);
    const timespec pause{0, 20'000'000};
    nanosleep(&pause, nullptr);
  }
  {
    const Fd writer(open(path(), O_WRONLY));
    EXPECT_THAT(write(writer.get(), "ok", 2), SyscallSucceedsWithValue(2));
  }
  EXPECT_TRUE(EndedWell(child));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(Fifo, AWaiterCanBeKilledAndLeavesNothing) {
  const pid_t child = Start([&] { return open(path(), O_WRONLY) >= 0; });
  const timespec pause{0, 50'000'000};
  nanosleep(&pause, nullptr);
  kill(child, SIGKILL);
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  const Fd reader(open(path(), O_RDONLY | O_NONBLOCK));
  char byte;
  EXPECT_THAT(read(reader.get(), &byte, 1), SyscallSucceedsWithValue(0));
}

TEST_F(Fifo, AnotherNameLeadsToTheSame) {
  ASSERT_THAT(link(path(), (dir_ / "other").c_str()), SyscallSucceeds());
  const Fd reader(open(path(), O_RDONLY | O_NONBLOCK));
  const Fd writer(open((dir_ / "other").c_str(), O_WRONLY | O_NONBLOCK));
  ASSERT_TRUE(writer.ok());
  EXPECT_THAT(write(writer.get(), "x", 1), SyscallSucceedsWithValue(1));
  char byte;
  EXPECT_THAT(read(reader.get(), &byte, 1), SyscallSucceedsWithValue(1));
}

}  // namespace
}  // namespace usl::conformance
