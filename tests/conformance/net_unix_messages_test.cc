// Messages over AF_UNIX: descriptors, credentials, waiting, signals.
#include <grp.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "conformance/net_helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

class PairTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { std::tie(a_, b_) = NewPair(GetParam()); }
  Fd a_, b_;
};

// Sends one byte as other users, in a child that has ended when it returns. `how` 0: write(2), 1: sendmsg(2).
void SendAsUser(const Fd& fd, int how, uid_t uid, gid_t gid, pid_t* sender) {
  const pid_t child = fork();
  if (child == 0) {
    if (setgroups(0, nullptr) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) _exit(1);
    const ssize_t sent = how == 0 ? write(fd.get(), "x", 1) : Send(fd, {.data = "x"});
    _exit(sent == 1 ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  *sender = child;
}

TEST_P(PairTest, PassesDescriptors) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Fd read_end(ends[0]), write_end(ends[1]);
  Fd directory(open("/", O_RDONLY | O_DIRECTORY)), path_only(open("/", O_PATH | O_DIRECTORY));
  ASSERT_THAT(Send(a_, {.data = "x", .rights = {write_end.get(), directory.get(), path_only.get(), a_.get()}}),
              SyscallSucceedsWithValue(1));
  write_end.Close();
  {
    Message message = Receive(b_);
    ASSERT_EQ(message.rights.size(), 4u);
    EXPECT_EQ(message.flags & (MSG_CTRUNC | MSG_TRUNC), 0);
    EXPECT_EQ(fcntl(message.rights[0].get(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_EQ(write(message.rights[0].get(), "p", 1), 1);
    EXPECT_THAT(fchdir(message.rights[2].get()), SyscallSucceeds());
  }
  // All copies are closed, so the pipe ends: nobody else keeps one.
  char byte;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(read(read_end.get(), &byte, 1), 0);
}

TEST_P(PairTest, DescriptorErrors) {
  EXPECT_THAT(Send(a_, {.data = "x", .rights = {-1}}), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(Send(a_, {.data = "x", .rights = {0x7ffffff}}), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(Send(a_, {.data = "x", .rights = std::vector<int>(254, a_.get())}), SyscallFailsWithErrno(EINVAL));
  ASSERT_THAT(Send(a_, {.data = "x", .rights = std::vector<int>(253, a_.get())}), SyscallSucceeds());
  Message message = Receive(b_, 0, 16, CMSG_SPACE(2 * sizeof(int)));
  EXPECT_LE(message.rights.size(), 4u);
  EXPECT_GE(message.rights.size(), 2u);
  EXPECT_EQ(message.flags & MSG_CTRUNC, MSG_CTRUNC);
  // A header that claims more than there is, and one that claims less than itself.
  for (const size_t length : {size_t{1000}, size_t{3}, ~size_t{0}}) {
    char control[CMSG_SPACE(sizeof(int))] = {};
    const cmsghdr header{.cmsg_len = length, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(control, &header, sizeof header);
    char byte = 'x';
    iovec part{&byte, 1};
    msghdr bad{};
    bad.msg_iov = &part;
    bad.msg_iovlen = 1;
    bad.msg_control = control;
    bad.msg_controllen = sizeof control;
    EXPECT_THAT(sendmsg(a_.get(), &bad, 0), SyscallFailsWithErrno(EINVAL));
  }
}

TEST_P(PairTest, CloseOnExecAndPeek) {
  ASSERT_THAT(Send(a_, {.data = "abc", .rights = {a_.get()}}), SyscallSucceedsWithValue(3));
  Message peeked = Receive(b_, MSG_PEEK);
  EXPECT_EQ(peeked.data, "abc");
  EXPECT_EQ(peeked.rights.size(), 1u);
  Message message = Receive(b_, MSG_CMSG_CLOEXEC);
  EXPECT_EQ(message.data, "abc");
  ASSERT_EQ(message.rights.size(), 1u);
  EXPECT_EQ(fcntl(message.rights[0].get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_P(PairTest, CredentialsOfEverySender) {
  ASSERT_EQ(SetInt(b_, SOL_SOCKET, SO_PASSCRED, 1), 0);
  pid_t first = 0, second = 0, third = 0;
  SendAsUser(a_, 0, kUser, kGroup, &first);
  SendAsUser(a_, 1, kOtherUser, kOtherGroup, &second);
  SendAsUser(a_, 1, kUser, kGroup, &third);
  Message peeked = Receive(b_, MSG_PEEK);
  EXPECT_EQ(peeked.credentials.pid, first);
  for (auto [pid, uid, gid] :
       {std::tuple{first, kUser, kGroup}, {second, kOtherUser, kOtherGroup}, {third, kUser, kGroup}}) {
    Message message = Receive(b_);
    EXPECT_EQ(message.data, "x");  // messages of different senders are kept apart on streams too
    ASSERT_TRUE(message.has_credentials);
    EXPECT_TRUE(message.rights.empty());
    EXPECT_EQ(message.flags & MSG_CTRUNC, 0);
    EXPECT_EQ(message.credentials.pid, pid);
    EXPECT_EQ(message.credentials.uid, uid);
    EXPECT_EQ(message.credentials.gid, gid);
  }
  // Together with descriptors.
  ASSERT_THAT(Send(a_, {.data = "y", .rights = {a_.get(), a_.get()}}), SyscallSucceeds());
  Message message = Receive(b_);
  EXPECT_EQ(message.rights.size(), 2u);
  EXPECT_EQ(message.credentials.pid, getpid());
  EXPECT_EQ(message.credentials.uid, 0u);
  ASSERT_EQ(SetInt(b_, SOL_SOCKET, SO_PASSCRED, 0), 0);
  ASSERT_THAT(Send(a_, {.data = "z"}), SyscallSucceeds());
  message = Receive(b_);
  EXPECT_FALSE(message.has_credentials);
  EXPECT_TRUE(message.rights.empty());
}

TEST_P(PairTest, CredentialsMayBeGiven) {
  ASSERT_EQ(SetInt(b_, SOL_SOCKET, SO_PASSCRED, 1), 0);
  int on = 0;
  socklen_t length = sizeof on;
  EXPECT_EQ(getsockopt(b_.get(), SOL_SOCKET, SO_PASSCRED, &on, &length), 0);
  EXPECT_EQ(on, 1);
  // Root may say anything, of a process that exists.
  const ucred other{getppid(), kUser, kGroup};
  ASSERT_THAT(Send(a_, {.data = "x", .credentials = &other}), SyscallSucceedsWithValue(1));
  Message message = Receive(b_);
  EXPECT_EQ(message.credentials.pid, getppid());
  EXPECT_EQ(message.credentials.uid, kUser);
  EXPECT_EQ(message.credentials.gid, kGroup);
  const ucred nobody{0x3fffff, 0, 0};
  EXPECT_THAT(Send(a_, {.data = "x", .credentials = &nobody}), SyscallFailsWithErrno(ESRCH));
  auto send_as = [&](pid_t pid, uid_t uid, gid_t gid) {
    return [&, pid, uid, gid]() -> long {
      const ucred given{pid ? pid : getpid(), uid, gid};
      return Send(a_, {.data = "x", .credentials = &given});
    };
  };
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {}, send_as(0, kUser, kGroup)), 0);
  EXPECT_EQ(Receive(b_).credentials.uid, kUser);
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {}, send_as(0, 0, kGroup)), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {}, send_as(0, kUser, 0)), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {}, send_as(getpid(), kUser, kGroup)), EPERM);
}

TEST_P(PairTest, PeerCredentialsOfAPair) {
  ucred peer{};
  socklen_t length = sizeof peer;
  ASSERT_THAT(getsockopt(a_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length), SyscallSucceeds());
  EXPECT_EQ(peer.pid, getpid());
  EXPECT_EQ(peer.uid, 0u);
  EXPECT_EQ(OwnName(a_.get()), "");
  EXPECT_EQ(PeerName(a_.get()), "");
  Fd lone = NewSocket(AF_UNIX, GetParam());
  length = sizeof peer;
  ASSERT_THAT(getsockopt(lone.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length), SyscallSucceeds());
  EXPECT_EQ(peer.pid, 0);
  EXPECT_EQ(peer.uid, static_cast<uid_t>(-1));
  EXPECT_THAT(getsockopt(a_.get(), SOL_SOCKET, SO_PEERCRED, &peer, reinterpret_cast<socklen_t*>(kWildPointer)),
              SyscallFailsWithErrno(EFAULT));
  char small[2];
  length = sizeof small;
  EXPECT_THAT(getsockopt(a_.get(), SOL_SOCKET, SO_PEERCRED, small, &length), SyscallSucceeds());
  EXPECT_EQ(length, 2u);
}

TEST_P(PairTest, TimeoutsAndShutdown) {
  const timeval timeout{.tv_sec = 0, .tv_usec = 60'000};
  ASSERT_EQ(setsockopt(b_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
  SetInt(b_, SOL_SOCKET, SO_PASSCRED, 1);
  EXPECT_THAT(Receive(b_).size, SyscallFailsWithErrno(EAGAIN));
  EXPECT_THAT(Receive(b_, MSG_DONTWAIT).size, SyscallFailsWithErrno(EAGAIN));
  std::thread later([&] {
    usleep(30'000);
    Send(a_, {.data = "late"});
  });
  EXPECT_EQ(Receive(b_).data, "late");
  later.join();
  ASSERT_EQ(shutdown(b_.get(), SHUT_RD), 0);
  EXPECT_EQ(Receive(b_).size, 0);
}

TEST_P(PairTest, LongMessagesArriveWhole) {
  int size = 0;
  socklen_t length = sizeof size;
  getsockopt(a_.get(), SOL_SOCKET, SO_SNDBUF, &size, &length);
  const size_t total = GetParam() == SOCK_STREAM ? 3'000'000 : static_cast<size_t>(size) / 2;
  std::string sent(total, '\0');
  for (size_t i = 0; i < total; ++i) sent[i] = static_cast<char>(i * 7 + i / 251);
  std::string got;
  std::thread reader([&] {
    while (got.size() < total) {
      Message message = Receive(b_, 0, GetParam() == SOCK_STREAM ? 50'000 : total);
      if (message.size <= 0) break;
      got += message.data;
    }
  });
  EXPECT_THAT(Send(a_, {.data = sent}), SyscallSucceedsWithValue(total));
  reader.join();
  EXPECT_TRUE(got == sent);
}

TEST_P(PairTest, TruncationIsTold) {
  if (GetParam() == SOCK_STREAM) GTEST_SKIP();
  ASSERT_THAT(Send(a_, {.data = "0123456789"}), SyscallSucceeds());
  ASSERT_THAT(Send(a_, {.data = "0123456789"}), SyscallSucceeds());
  Message message = Receive(b_, 0, 4);
  EXPECT_EQ(message.size, 4);
  EXPECT_EQ(message.flags & MSG_TRUNC, MSG_TRUNC);
  message = Receive(b_, MSG_TRUNC, 4);
  EXPECT_EQ(message.size, 10);
}

TEST_P(PairTest, EpollSeesMessages) {
  Fd epoll(epoll_create1(0));
  epoll_event event{.events = EPOLLIN, .data = {.fd = b_.get()}};
  ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, b_.get(), &event), 0);
  EXPECT_EQ(epoll_wait(epoll.get(), &event, 1, 0), 0);
  ASSERT_THAT(Send(a_, {.data = "x", .rights = {a_.get()}}), SyscallSucceeds());
  EXPECT_EQ(epoll_wait(epoll.get(), &event, 1, 1000), 1);
  Receive(b_);
  EXPECT_EQ(epoll_wait(epoll.get(), &event, 1, 0), 0);
}

INSTANTIATE_TEST_SUITE_P(Types, PairTest, ::testing::Values(SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM));

volatile sig_atomic_t g_signals = 0;
void CountSignal(int) {
  g_signals = g_signals + 1;
}

class SignalScope {
 public:
  SignalScope(int signal, int flags) : signal_(signal) {
    g_signals = 0;
    struct sigaction action {};
    action.sa_handler = CountSignal;
    action.sa_flags = flags;
    sigaction(signal, &action, &old_);
  }
  ~SignalScope() { sigaction(signal_, &old_, nullptr); }

 private:
  int signal_;
  struct sigaction old_;
};

TEST(UnixSignalTest, ABrokenStreamRaisesSigpipe) {
  SignalScope scope(SIGPIPE, 0);
  auto [a, b] = NewPair(SOCK_STREAM);
  b.Close();
  EXPECT_THAT(Send(a, {.data = "x"}, MSG_NOSIGNAL), SyscallFailsWithErrno(EPIPE));
  EXPECT_EQ(g_signals, 0);
  EXPECT_THAT(Send(a, {.data = "x"}), SyscallFailsWithErrno(EPIPE));
  EXPECT_EQ(g_signals, 1);
  auto [c, d] = NewPair(SOCK_DGRAM);
  d.Close();
  EXPECT_THAT(Send(c, {.data = "x"}), SyscallFailsWithErrno(ECONNREFUSED));
  EXPECT_EQ(g_signals, 1);
}

// `call` waits; a signal comes after 100 ms.
template <typename Call>
auto WithSignalSoon(Call call) {
  const pthread_t self = pthread_self();
  std::thread sender([self] {
    usleep(100'000);
    pthread_kill(self, SIGUSR1);
  });
  auto result = call();
  const int error = errno;
  sender.join();
  errno = error;
  return result;
}

TEST(UnixSignalTest, SignalsInterruptWaits) {
  SignalScope scope(SIGUSR1, 0);
  TempDirectory directory;
  Fd listener = NewSocket(AF_UNIX, SOCK_STREAM), receiver = NewSocket(AF_UNIX, SOCK_DGRAM);
  ASSERT_THAT(BindTo(listener, PathAddress(directory / "socket")), SyscallSucceeds());
  ASSERT_THAT(listen(listener.get(), 1), SyscallSucceeds());
  ASSERT_THAT(BindTo(receiver, PathAddress(directory / "receiver")), SyscallSucceeds());
  sockaddr_un name;
  socklen_t length = sizeof name;
  auto take = [&] { return accept(listener.get(), reinterpret_cast<sockaddr*>(&name), &length); };
  EXPECT_THAT(WithSignalSoon(take), SyscallFailsWithErrno(EINTR));
  EXPECT_THAT(WithSignalSoon([&] { return Receive(receiver).size; }), SyscallFailsWithErrno(EINTR));
  EXPECT_EQ(g_signals, 2);
  auto [a, b] = NewPair(SOCK_STREAM);
  std::string block(100'000, 'x');
  while (send(a.get(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
  }
  EXPECT_THAT(WithSignalSoon([&] { return Send(a, {.data = "more"}); }), SyscallFailsWithErrno(EINTR));
}

TEST(UnixSignalTest, RestartedWaitsGoOn) {
  SignalScope scope(SIGUSR1, SA_RESTART);
  TempDirectory directory;
  Fd receiver = NewSocket(AF_UNIX, SOCK_DGRAM), sender = NewSocket(AF_UNIX, SOCK_DGRAM);
  ASSERT_THAT(BindTo(receiver, PathAddress(directory / "receiver")), SyscallSucceeds());
  ASSERT_THAT(ConnectTo(sender, PathAddress(directory / "receiver")), SyscallSucceeds());
  std::thread later([&] {
    usleep(250'000);
    EXPECT_EQ(send(sender.get(), "x", 1, 0), 1);
  });
  EXPECT_EQ(WithSignalSoon([&] { return Receive(receiver).data; }), "x");
  EXPECT_EQ(g_signals, 1);
  later.join();
}

TEST(UnixCredentialTest, DatagramsCarryThemByName) {
  TempDirectory directory;
  Fd receiver = NewSocket(AF_UNIX, SOCK_DGRAM), sender = NewSocket(AF_UNIX, SOCK_DGRAM);
  ASSERT_EQ(SetInt(receiver, SOL_SOCKET, SO_PASSCRED, 1), 0);
  EXPECT_EQ(OwnName(receiver.get()), "");
  const UnixAddress to = PathAddress(directory / "log");
  ASSERT_THAT(BindTo(receiver, to), SyscallSucceeds());
  ASSERT_EQ(chmod((directory / "log").c_str(), 0777), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&]() -> long { return sendto(sender.get(), "x", 1, 0, to.raw(), to.length); }), 0);
  Message message = Receive(receiver);
  ASSERT_TRUE(message.has_credentials);
  EXPECT_EQ(message.credentials.uid, kUser);
  EXPECT_EQ(message.name, "");
  // Natively, over a connection.
  ASSERT_THAT(ConnectTo(sender, to), SyscallSucceeds());
  ASSERT_EQ(write(sender.get(), "y", 1), 1);
  message = Receive(receiver);
  EXPECT_EQ(message.credentials.pid, getpid());
  EXPECT_EQ(message.credentials.uid, 0u);
}

TEST(UnixCredentialTest, AcceptedSocketsInheritThem) {
  TempDirectory directory;
  Fd listener = NewSocket(AF_UNIX, SOCK_STREAM), client = NewSocket(AF_UNIX, SOCK_STREAM);
  ASSERT_EQ(SetInt(listener, SOL_SOCKET, SO_PASSCRED, 1), 0);
  ASSERT_THAT(BindTo(listener, PathAddress(directory / "socket")), SyscallSucceeds());
  ASSERT_THAT(listen(listener.get(), 1), SyscallSucceeds());
  ASSERT_THAT(ConnectTo(client, PathAddress(directory / "socket")), SyscallSucceeds());
  ASSERT_THAT(Send(client, {.data = "x"}), SyscallSucceeds());
  Fd server(accept(listener.get(), nullptr, nullptr));
  Message message = Receive(server);
  ASSERT_TRUE(message.has_credentials);
  EXPECT_EQ(message.credentials.pid, getpid());
}

TEST(UnixCredentialTest, ASocketThatTakesThemIsNamedWhenItConnects) {
  TempDirectory directory;
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const std::string path = directory / std::to_string(type);
    Fd server = NewSocket(AF_UNIX, type), client = NewSocket(AF_UNIX, type);
    ASSERT_THAT(BindTo(server, PathAddress(path)), SyscallSucceeds());
    if (type == SOCK_STREAM) {
      ASSERT_THAT(listen(server.get(), 1), SyscallSucceeds());
    }
    ASSERT_EQ(SetInt(client, SOL_SOCKET, SO_PASSCRED, 1), 0);
    EXPECT_EQ(OwnName(client.get()), "");
    ASSERT_THAT(ConnectTo(client, PathAddress(path)), SyscallSucceeds());
    const std::string name = OwnName(client.get());
    EXPECT_EQ(name.size(), 6u);
    EXPECT_EQ(name[0], '\0');
    if (type == SOCK_STREAM) {
      Fd accepted(accept(server.get(), nullptr, nullptr));
      EXPECT_EQ(PeerName(accepted.get()), name);
    } else {
      // By that name it is reached.
      const UnixAddress to(name);
      EXPECT_THAT(sendto(server.get(), "x", 1, 0, to.raw(), to.length), SyscallSucceedsWithValue(1));
      EXPECT_EQ(Receive(client).data, "x");
    }
  }
}

// Messages in both directions between two processes, each waiting for the other, as a client and a server do.
TEST(UnixStressTest, PingPongWithDescriptors) {
  TempDirectory directory;
  Fd listener = NewSocket(AF_UNIX, SOCK_SEQPACKET);
  ASSERT_THAT(BindTo(listener, PathAddress(directory / "socket")), SyscallSucceeds());
  ASSERT_THAT(listen(listener.get(), 1), SyscallSucceeds());
  const pid_t child = fork();
  if (child == 0) {
    Fd client = NewSocket(AF_UNIX, SOCK_SEQPACKET);
    if (ConnectTo(client, PathAddress(directory / "socket")) < 0) _exit(1);
    for (int i = 0; i < 500; ++i) {
      if (Send(client, {.data = std::to_string(i), .rights = {listener.get()}}) < 0) _exit(2);
      if (Receive(client).data != std::to_string(i)) _exit(3);
    }
    _exit(0);
  }
  Fd server(accept(listener.get(), nullptr, nullptr));
  SetInt(server, SOL_SOCKET, SO_PASSCRED, 1);
  for (int i = 0; i < 500; ++i) {
    Message message = Receive(server);
    ASSERT_EQ(message.data, std::to_string(i));
    ASSERT_EQ(message.rights.size(), 1u);
    ASSERT_THAT(Send(server, {.data = message.data}), SyscallSucceeds());
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Receive(server).size, 0);
}

TEST(UnixCredentialTest, PeerGroups) {
  TempDirectory directory;
  Fd listener = NewSocket(AF_UNIX, SOCK_STREAM);
  ASSERT_THAT(BindTo(listener, PathAddress(directory / "socket")), SyscallSucceeds());
  ASSERT_EQ(chmod((directory / "socket").c_str(), 0777), 0);
  ASSERT_THAT(listen(listener.get(), 1), SyscallSucceeds());
  Fd client = NewSocket(AF_UNIX, SOCK_STREAM);
  ASSERT_EQ(ErrnoAs(kUser, kGroup, {kGroup, kOtherGroup},
                    [&]() -> long { return ConnectTo(client, PathAddress(directory / "socket")); }),
            0);
  Fd server(accept(listener.get(), nullptr, nullptr));
  gid_t groups[8] = {};
  socklen_t length = sizeof groups;
  ASSERT_THAT(getsockopt(server.get(), SOL_SOCKET, SO_PEERGROUPS, groups, &length), SyscallSucceeds());
  ASSERT_EQ(length, 2 * sizeof(gid_t));
  EXPECT_EQ(groups[0], kGroup);
  EXPECT_EQ(groups[1], kOtherGroup);
  length = sizeof(gid_t);
  EXPECT_THAT(getsockopt(server.get(), SOL_SOCKET, SO_PEERGROUPS, groups, &length), SyscallFailsWithErrno(ERANGE));
  EXPECT_EQ(length, 2 * sizeof(gid_t));
}

}  // namespace
}  // namespace usl::conformance
