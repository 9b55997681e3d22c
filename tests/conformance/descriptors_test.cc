// Descriptors: dup(2), fcntl(2), ioctl(2), lseek(2), close_range(2), pipes, flock(2).
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include <cstring>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_THAT(pipe(fds), SyscallSucceeds());
    read_end = Fd(fds[0]);
    write_end = Fd(fds[1]);
  }
  Fd read_end, write_end;
};

TEST(Dup, SharesPositionAndFlagsOfTheDescription) {
  const TempDirectory dir;
  const Fd fd(open(dir.File("f", "123456").c_str(), O_RDWR));
  const Fd copy(dup(fd.get()));
  ASSERT_THAT(lseek(fd.get(), 4, SEEK_SET), SyscallSucceedsWithValue(4));
  EXPECT_THAT(lseek(copy.get(), 0, SEEK_CUR), SyscallSucceedsWithValue(4));
  ASSERT_THAT(fcntl(copy.get(), F_SETFL, O_APPEND), SyscallSucceeds());
  EXPECT_TRUE(fcntl(fd.get(), F_GETFL) & O_APPEND);
  EXPECT_THAT(fcntl(copy.get(), F_SETFD, FD_CLOEXEC), SyscallSucceeds());
  EXPECT_EQ(fcntl(fd.get(), F_GETFD), 0);
  EXPECT_THAT(dup3(fd.get(), fd.get(), 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(dup(-1), SyscallFailsWithErrno(EBADF));
  const Fd high(fcntl(fd.get(), F_DUPFD_CLOEXEC, 100));
  EXPECT_GE(high.get(), 100);
}

TEST(CloseRange, ClosesAll) {
  EXPECT_TRUE(InChild([] {
    const int first = dup2(0, 200);
    dup2(0, 201);
    if (syscall(SYS_close_range, first, 1000, 0) < 0) return false;
    return fcntl(200, F_GETFD) == -1 && fcntl(201, F_GETFD) == -1;
  }));
}

TEST(Fcntl, RecordLocksBetweenProcesses) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "1234567890");
  const Fd fd(open(path.c_str(), O_RDWR));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_start = 2;
  lock.l_len = 3;
  ASSERT_THAT(fcntl(fd.get(), F_SETLK, &lock), SyscallSucceeds());
  const pid_t parent = getpid();
  EXPECT_TRUE(InChild([&] {
    const Fd mine(open(path.c_str(), O_RDWR));
    struct flock wanted {};
    wanted.l_type = F_WRLCK;
    wanted.l_start = 4;
    wanted.l_len = 10;
    if (fcntl(mine.get(), F_SETLK, &wanted) != -1 || (errno != EAGAIN && errno != EACCES)) return false;
    return fcntl(mine.get(), F_GETLK, &wanted) == 0 && wanted.l_pid == parent && wanted.l_start == 2;
  }));
}

TEST(Flock, BelongsToTheDescription) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  const Fd first(open(path.c_str(), O_RDONLY)), second(open(path.c_str(), O_RDONLY));
  EXPECT_THAT(flock(first.get(), LOCK_EX), SyscallSucceeds());
  EXPECT_THAT(flock(second.get(), LOCK_EX | LOCK_NB), SyscallFailsWithErrno(EWOULDBLOCK));
  EXPECT_THAT(flock(first.get(), LOCK_UN), SyscallSucceeds());
  EXPECT_THAT(flock(second.get(), LOCK_SH | LOCK_NB), SyscallSucceeds());
}

TEST(Fcntl, OwnersOfSignals) {
  const Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read_end.get(), F_SETOWN, getpid()), SyscallSucceeds());
  EXPECT_THAT(fcntl(pipe.read_end.get(), F_GETOWN), SyscallSucceedsWithValue(getpid()));
  EXPECT_THAT(fcntl(pipe.read_end.get(), F_SETOWN, 0), SyscallSucceeds());
  EXPECT_THAT(fcntl(pipe.read_end.get(), F_GETOWN), SyscallSucceedsWithValue(0));
  EXPECT_THAT(fcntl(pipe.read_end.get(), F_SETOWN, 0x3fffffff), SyscallFailsWithErrno(ESRCH));
  f_owner_ex owner{F_OWNER_TID, gettid()}, back{};
  EXPECT_THAT(fcntl(pipe.read_end.get(), F_SETOWN_EX, &owner), SyscallSucceeds());
  EXPECT_THAT(fcntl(pipe.read_end.get(), F_GETOWN_EX, &back), SyscallSucceeds());
  EXPECT_EQ(back.type, F_OWNER_TID);
  EXPECT_EQ(back.pid, gettid());
  owner = {static_cast<__pid_type>(7), 1};
  EXPECT_THAT(fcntl(pipe.read_end.get(), F_SETOWN_EX, &owner), SyscallFailsWithErrno(EINVAL));
}

TEST(Fcntl, ASignalWhenDataComes) {
  EXPECT_TRUE(InChild([] {
    const Pipe pipe;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    if (fcntl(pipe.read_end.get(), F_SETSIG, SIGRTMIN) < 0 || fcntl(pipe.read_end.get(), F_SETOWN, getpid()) < 0)
      return false;
    if (fcntl(pipe.read_end.get(), F_SETFL, O_ASYNC | O_NONBLOCK) < 0) return false;
    if (write(pipe.write_end.get(), "x", 1) != 1) return false;
    siginfo_t info;
    const timespec limit{5, 0};
    return sigtimedwait(&set, &info, &limit) == SIGRTMIN && info.si_fd == pipe.read_end.get();
  }));
}

TEST(Fcntl, ForAProcessGroup) {
  EXPECT_TRUE(InChild([] {
    const Pipe pipe;
    setpgid(0, 0);
    return fcntl(pipe.read_end.get(), F_SETOWN, -getpgrp()) == 0 && fcntl(pipe.read_end.get(), F_GETOWN) == -getpgrp();
  }));
}

TEST(Fcntl, UnknownCommands) {
  const Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read_end.get(), 9999), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(fcntl(-1, F_GETFL), SyscallFailsWithErrno(EBADF));
}

TEST(Ioctl, BytesWaiting) {
  const Pipe pipe;
  ASSERT_THAT(write(pipe.write_end.get(), "12345", 5), SyscallSucceedsWithValue(5));
  int count = 0;
  EXPECT_THAT(ioctl(pipe.read_end.get(), FIONREAD, &count), SyscallSucceeds());
  EXPECT_EQ(count, 5);
  termios settings;
  EXPECT_THAT(ioctl(pipe.read_end.get(), TCGETS, &settings), SyscallFailsWithErrno(ENOTTY));
  EXPECT_THAT(ioctl(-1, FIONREAD, &count), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(ioctl(pipe.read_end.get(), 0x12345678, &count), SyscallFailsWithErrno(ENOTTY));
}

TEST(Ioctl, OwnersOfSockets) {
  const Fd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  int owner = getpid();
  EXPECT_THAT(ioctl(fd.get(), FIOSETOWN, &owner), SyscallSucceeds());
  owner = 0;
  EXPECT_THAT(ioctl(fd.get(), FIOGETOWN, &owner), SyscallSucceeds());
  EXPECT_EQ(owner, getpid());
  owner = 0x3fffffff;
  EXPECT_THAT(ioctl(fd.get(), FIOSETOWN, &owner), SyscallFailsWithErrno(ESRCH));
  const Pipe pipe;
  EXPECT_THAT(ioctl(pipe.read_end.get(), FIOSETOWN, &owner), SyscallFailsWithErrno(ENOTTY));
}

TEST(Ioctl, PseudoTerminals) {
  const Fd master(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  ASSERT_TRUE(master.ok());
  int unlock = 0;
  unsigned number;
  ASSERT_THAT(ioctl(master.get(), TIOCSPTLCK, &unlock), SyscallSucceeds());
  ASSERT_THAT(ioctl(master.get(), TIOCGPTN, &number), SyscallSucceeds());
  const Fd by_path(open(("/dev/pts/" + std::to_string(number)).c_str(), O_RDWR | O_NOCTTY));
  EXPECT_TRUE(by_path.ok());
  const Fd peer(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY));
  ASSERT_TRUE(peer.ok());
  EXPECT_TRUE(isatty(peer.get()));
  ASSERT_THAT(write(peer.get(), "x", 1), SyscallSucceedsWithValue(1));
  char byte;
  EXPECT_THAT(read(master.get(), &byte, 1), SyscallSucceedsWithValue(1));
  EXPECT_TRUE(InChild([&] {
    return setsid() > 0 && ioctl(peer.get(), TIOCSCTTY, 0) == 0 && tcgetpgrp(peer.get()) == getpid() &&
           Fd(open("/dev/tty", O_RDWR)).ok();
  }));
}

TEST(Seek, HolesAndData) {
  const TempDirectory dir;
  const Fd fd(open((dir / "f").c_str(), O_CREAT | O_RDWR, 0600));
  ASSERT_THAT(ftruncate(fd.get(), 1 << 20), SyscallSucceeds());
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_END), SyscallSucceedsWithValue(1 << 20));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), SyscallSucceedsWithValue(0));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_DATA), SyscallFailsWithErrno(ENXIO));
  EXPECT_THAT(lseek(fd.get(), -1, SEEK_SET), SyscallFailsWithErrno(EINVAL));
  const Pipe pipe;
  EXPECT_THAT(lseek(pipe.read_end.get(), 0, SEEK_SET), SyscallFailsWithErrno(ESPIPE));
}

TEST(Data, MovesBetweenFiles) {
  const TempDirectory dir;
  const Fd from(open(dir.File("a", "abcdefgh").c_str(), O_RDONLY)),
      to(open((dir / "b").c_str(), O_CREAT | O_RDWR, 0600));
  off_t offset = 2;
  EXPECT_THAT(sendfile(to.get(), from.get(), &offset, 3), SyscallSucceedsWithValue(3));
  EXPECT_EQ(ReadFile(dir / "b"), "cde");
  off64_t in = 0, out = 3;
  EXPECT_THAT(copy_file_range(from.get(), &in, to.get(), &out, 2, 0), SyscallSucceedsWithValue(2));
  EXPECT_EQ(ReadFile(dir / "b"), "cdeab");
}

TEST(Epoll, WaitsForAnEvent) {
  const Fd epoll(epoll_create1(EPOLL_CLOEXEC)), event(eventfd(0, EFD_NONBLOCK));
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  ASSERT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.get(), &wanted), SyscallSucceeds());
  EXPECT_THAT(epoll_wait(epoll.get(), &wanted, 1, 0), SyscallSucceedsWithValue(0));
  const uint64_t one = 1;
  ASSERT_THAT(write(event.get(), &one, sizeof one), SyscallSucceedsWithValue(8));
  EXPECT_THAT(epoll_wait(epoll.get(), &wanted, 1, 1000), SyscallSucceedsWithValue(1));
  const TempDirectory dir;
  const Fd file(open(dir.File("f").c_str(), O_RDONLY));
  EXPECT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, file.get(), &wanted), SyscallFailsWithErrno(EPERM));
}

TEST(Descriptors, ArePassedOverSockets) {
  const TempDirectory dir;
  int ends[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), SyscallSucceeds());
  const Fd file(open(dir.File("f", "passed").c_str(), O_RDONLY));
  const int number = file.get();
  char byte = 'x';
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof number);
  memcpy(CMSG_DATA(header), &number, sizeof number);
  ASSERT_THAT(sendmsg(ends[0], &message, 0), SyscallSucceedsWithValue(1));
  memset(control, 0, sizeof control);
  ASSERT_THAT(recvmsg(ends[1], &message, 0), SyscallSucceedsWithValue(1));
  int received = -1;
  ASSERT_NE(CMSG_FIRSTHDR(&message), nullptr);
  memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
  const Fd copy(received);
  char buffer[8] = {};
  EXPECT_THAT(read(copy.get(), buffer, sizeof buffer), SyscallSucceedsWithValue(6));
  EXPECT_STREQ(buffer, "passed");
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace usl::conformance
