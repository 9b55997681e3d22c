// AF_UNIX sockets: names, connections, messages (unix(7)).
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

using std::string_literals::operator""s;

class UnixTest : public ::testing::TestWithParam<int> {
 protected:
  TempDirectory directory_;
};

class UnixConnectionTest : public UnixTest {};

TEST_P(UnixConnectionTest, ConnectsByPath) {
  const std::string path = directory_ / "socket";
  Fd listener = NewSocket(AF_UNIX, GetParam()), client = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(BindTo(listener, PathAddress(path)), SyscallSucceeds());
  EXPECT_TRUE(S_ISSOCK(StatOf(path).st_mode));
  EXPECT_THAT(ConnectTo(client, PathAddress(path)), SyscallFailsWithErrno(ECONNREFUSED));
  ASSERT_THAT(listen(listener.get(), 4), SyscallSucceeds());
  ASSERT_THAT(ConnectTo(client, PathAddress(path)), SyscallSucceeds());
  sockaddr_un name{};
  socklen_t length = sizeof name;
  Fd server(accept(listener.get(), reinterpret_cast<sockaddr*>(&name), &length));
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(length, sizeof(sa_family_t));  // the client has no name
  EXPECT_EQ(OwnName(server.get()), path + '\0');
  EXPECT_EQ(PeerName(client.get()), path + '\0');
  EXPECT_EQ(OwnName(client.get()), "");
  EXPECT_EQ(PeerName(server.get()), "");
  EXPECT_THAT(send(client.get(), "hello", 5, 0), SyscallSucceedsWithValue(5));
  EXPECT_EQ(Receive(server).data, "hello");
  EXPECT_THAT(ConnectTo(client, PathAddress(path)), SyscallFailsWithErrno(EISCONN));
}

TEST_P(UnixConnectionTest, AcceptShowsTheNameOfABoundClient) {
  const std::string path = directory_ / "socket", own = directory_ / "client";
  Fd listener = NewSocket(AF_UNIX, GetParam()), client = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(BindTo(listener, PathAddress(path)), SyscallSucceeds());
  ASSERT_THAT(listen(listener.get(), 4), SyscallSucceeds());
  ASSERT_THAT(BindTo(client, PathAddress(own)), SyscallSucceeds());
  ASSERT_THAT(ConnectTo(client, PathAddress(path)), SyscallSucceeds());
  auto take = [&](int fd, sockaddr* address, socklen_t* length) {
    return Fd(accept(fd, address, length)).ok() ? 0 : -1;
  };
  EXPECT_EQ(UnixNameBy(take, listener.get()), own + '\0');
}

TEST_P(UnixConnectionTest, PeerCredentialsAreThoseOfConnectAndListen) {
  const std::string path = directory_ / "socket";
  Fd listener = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(BindTo(listener, PathAddress(path)), SyscallSucceeds());
  ASSERT_EQ(chmod(path.c_str(), 0777), 0);
  ASSERT_THAT(listen(listener.get(), 4), SyscallSucceeds());
  const pid_t child = fork();
  if (child == 0) {
    if (setgroups(0, nullptr) < 0 || setresgid(kGroup, kGroup, kGroup) < 0 || setresuid(kUser, kUser, kUser) < 0)
      _exit(1);
    Fd client = NewSocket(AF_UNIX, GetParam());
    if (ConnectTo(client, PathAddress(path)) < 0) _exit(2);
    ucred peer{};
    socklen_t length = sizeof peer;
    if (getsockopt(client.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) _exit(3);
    _exit(peer.pid == getppid() && peer.uid == 0 && peer.gid == 0 ? 0 : 4);
  }
  Fd server(accept(listener.get(), nullptr, nullptr));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ucred peer{};
  socklen_t length = sizeof peer;
  ASSERT_THAT(getsockopt(server.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length), SyscallSucceeds());
  EXPECT_EQ(length, sizeof peer);
  EXPECT_EQ(peer.pid, child);  // though it has ended
  EXPECT_EQ(peer.uid, kUser);
  EXPECT_EQ(peer.gid, kGroup);
}

TEST_P(UnixConnectionTest, BindAndListenErrors) {
  const std::string path = directory_ / "socket";
  Fd one = NewSocket(AF_UNIX, GetParam()), two = NewSocket(AF_UNIX, GetParam());
  EXPECT_THAT(listen(one.get(), 1), SyscallFailsWithErrno(EINVAL));
  ASSERT_THAT(BindTo(one, PathAddress(path)), SyscallSucceeds());
  EXPECT_THAT(BindTo(two, PathAddress(path)), SyscallFailsWithErrno(EADDRINUSE));
  EXPECT_THAT(BindTo(one, PathAddress(directory_ / "other")), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(BindTo(two, PathAddress(directory_ / "none/other")), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(ConnectTo(two, PathAddress(directory_ / "none")), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(ConnectTo(two, PathAddress(directory_.File("file"))), SyscallFailsWithErrno(ECONNREFUSED));
  EXPECT_THAT(ConnectTo(two, UnixAddress("")), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(bind(two.get(), reinterpret_cast<sockaddr*>(kWildPointer), 16), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(bind(two.get(), PathAddress(path).raw(), 129), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(bind(two.get(), PathAddress(path).raw(), static_cast<socklen_t>(-1)), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(bind(two.get(), PathAddress(path).raw(), 111), SyscallFailsWithErrno(EINVAL));
  const sockaddr_in inet = LoopbackAddress();
  EXPECT_THAT(connect(two.get(), reinterpret_cast<const sockaddr*>(&inet), sizeof inet), SyscallFailsWithErrno(EINVAL));
  // Still usable after all that.
  EXPECT_THAT(BindTo(two, PathAddress(directory_ / "two")), SyscallSucceeds());
  EXPECT_EQ(OwnName(two.get()), (directory_ / "two") + '\0');
}

TEST_P(UnixConnectionTest, NonblockingAcceptAndConnect) {
  const std::string path = directory_ / "socket";
  Fd listener = NewSocket(AF_UNIX, GetParam() | SOCK_NONBLOCK);
  ASSERT_THAT(BindTo(listener, PathAddress(path)), SyscallSucceeds());
  ASSERT_THAT(listen(listener.get(), 0), SyscallSucceeds());
  sockaddr_un name;
  socklen_t length = sizeof name;
  EXPECT_THAT(accept(listener.get(), reinterpret_cast<sockaddr*>(&name), &length), SyscallFailsWithErrno(EAGAIN));
  std::vector<Fd> clients;
  int error = 0;
  for (int i = 0; i < 8 && error == 0; ++i) {
    clients.push_back(NewSocket(AF_UNIX, GetParam() | SOCK_NONBLOCK));
    if (ConnectTo(clients.back(), PathAddress(path)) < 0) error = errno;
  }
  EXPECT_EQ(error, EAGAIN);
  EXPECT_THAT(fcntl(clients.back().get(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

TEST_P(UnixConnectionTest, ConnectWaitsForAFullBacklog) {
  const std::string path = directory_ / "socket";
  Fd listener = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(BindTo(listener, PathAddress(path)), SyscallSucceeds());
  ASSERT_THAT(listen(listener.get(), 0), SyscallSucceeds());
  Fd first = NewSocket(AF_UNIX, GetParam()), second = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(ConnectTo(first, PathAddress(path)), SyscallSucceeds());
  const timeval timeout{.tv_sec = 0, .tv_usec = 100'000};
  setsockopt(second.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  EXPECT_THAT(ConnectTo(second, PathAddress(path)), SyscallFailsWithErrno(EAGAIN));
  std::thread later([&] {
    usleep(100'000);
    Fd taken(accept(listener.get(), nullptr, nullptr));
  });
  Fd third = NewSocket(AF_UNIX, GetParam());
  EXPECT_THAT(ConnectTo(third, PathAddress(path)), SyscallSucceeds());
  EXPECT_EQ(fcntl(third.get(), F_GETFL) & O_NONBLOCK, 0);
  later.join();
}

INSTANTIATE_TEST_SUITE_P(Types, UnixConnectionTest, ::testing::Values(SOCK_STREAM, SOCK_SEQPACKET));

class UnixNameTest : public UnixTest {};

TEST_P(UnixNameTest, PathsMayFillTheWholeAddress) {
  // 108 bytes without a NUL.
  std::string path = directory_.path() + "/";
  path.append(108 - path.size(), 'x');
  Fd server = NewSocket(AF_UNIX, GetParam()), client = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(BindTo(server, UnixAddress(path)), SyscallSucceeds());
  EXPECT_TRUE(Exists(path));
  EXPECT_EQ(OwnName(server.get()), path + '\0');
  if (GetParam() != SOCK_DGRAM) {
    ASSERT_THAT(listen(server.get(), 1), SyscallSucceeds());
  }
  EXPECT_THAT(ConnectTo(client, UnixAddress(path)), SyscallSucceeds());
  EXPECT_EQ(PeerName(client.get()), path + '\0');
}

TEST_P(UnixNameTest, RelativePathsLinksAndRenames) {
  Fd server = NewSocket(AF_UNIX, GetParam());
  const bool good = InChild([&] {
    if (chdir(directory_.path().c_str()) < 0 || BindTo(server, PathAddress("relative")) < 0) return false;
    if (GetParam() != SOCK_DGRAM && listen(server.get(), 8) < 0) return false;
    if (OwnName(server.get()) != "relative\0"s) return false;
    if (link("relative", "hard") < 0 || symlink("relative", "soft") < 0 || rename("relative", "moved") < 0)
      return false;
    for (const char* name : {"hard", "moved"}) {
      Fd client = NewSocket(AF_UNIX, GetParam());
      if (ConnectTo(client, PathAddress(name)) < 0 || PeerName(client.get()) != "relative\0"s) return false;
    }
    Fd client = NewSocket(AF_UNIX, GetParam());
    return ConnectTo(client, PathAddress("soft")) < 0 && errno == ENOENT;
  });
  EXPECT_TRUE(good);
}

TEST_P(UnixNameTest, ABoundNameOutlivesItsSocketAndIsReplaced) {
  const std::string path = directory_ / "socket";
  {
    Fd old = NewSocket(AF_UNIX, GetParam());
    ASSERT_THAT(BindTo(old, PathAddress(path)), SyscallSucceeds());
  }
  Fd client = NewSocket(AF_UNIX, GetParam()), server = NewSocket(AF_UNIX, GetParam());
  EXPECT_THAT(ConnectTo(client, PathAddress(path)), SyscallFailsWithErrno(ECONNREFUSED));
  EXPECT_THAT(BindTo(server, PathAddress(path)), SyscallFailsWithErrno(EADDRINUSE));
  ASSERT_EQ(unlink(path.c_str()), 0);
  ASSERT_THAT(BindTo(server, PathAddress(path)), SyscallSucceeds());
  if (GetParam() != SOCK_DGRAM) {
    ASSERT_THAT(listen(server.get(), 1), SyscallSucceeds());
  }
  EXPECT_THAT(ConnectTo(client, PathAddress(path)), SyscallSucceeds());
  // A socket whose node was removed cannot be reached any more.
  ASSERT_EQ(unlink(path.c_str()), 0);
  Fd other = NewSocket(AF_UNIX, GetParam());
  EXPECT_THAT(ConnectTo(other, PathAddress(path)), SyscallFailsWithErrno(ENOENT));
  // A node that mknod made leads nowhere.
  ASSERT_EQ(mknod(path.c_str(), S_IFSOCK | 0777, 0), 0);
  EXPECT_THAT(ConnectTo(other, PathAddress(path)), SyscallFailsWithErrno(ECONNREFUSED));
}

TEST_P(UnixNameTest, AbstractNames) {
  const std::string name = "\0usl conformance "s + std::to_string(getpid()) + "\0tail"s;
  Fd server = NewSocket(AF_UNIX, GetParam()), client = NewSocket(AF_UNIX, GetParam());
  EXPECT_THAT(ConnectTo(client, UnixAddress(name)), SyscallFailsWithErrno(ECONNREFUSED));
  ASSERT_THAT(BindTo(server, UnixAddress(name)), SyscallSucceeds());
  EXPECT_EQ(OwnName(server.get()), name);
  EXPECT_THAT(BindTo(client, UnixAddress(name)), SyscallFailsWithErrno(EADDRINUSE));
  if (GetParam() != SOCK_DGRAM) {
    ASSERT_THAT(listen(server.get(), 1), SyscallSucceeds());
  }
  // Every byte counts.
  EXPECT_THAT(ConnectTo(client, UnixAddress(name + '\0')), SyscallFailsWithErrno(ECONNREFUSED));
  ASSERT_THAT(ConnectTo(client, UnixAddress(name)), SyscallSucceeds());
  EXPECT_EQ(PeerName(client.get()), name);
  // The name is free again with the socket.
  server.Close();
  Fd next = NewSocket(AF_UNIX, GetParam());
  EXPECT_THAT(BindTo(next, UnixAddress(name)), SyscallSucceeds());
}

TEST_P(UnixNameTest, AutobindGivesAnAbstractName) {
  Fd one = NewSocket(AF_UNIX, GetParam()), two = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(BindTo(one, UnixAddress("")), SyscallSucceeds());
  ASSERT_THAT(BindTo(two, UnixAddress("")), SyscallSucceeds());
  const std::string name = OwnName(one.get());
  EXPECT_EQ(name.size(), 6u);
  EXPECT_EQ(name[0], '\0');
  EXPECT_EQ(name.find_first_not_of("0123456789abcdef", 1), std::string::npos);
  EXPECT_NE(name, OwnName(two.get()));
}

TEST_P(UnixNameTest, PermissionsOfTheNodeCount) {
  const std::string path = directory_ / "socket";
  Fd server = NewSocket(AF_UNIX, GetParam());
  {
    ScopedUmask mask(027);
    ASSERT_THAT(BindTo(server, PathAddress(path)), SyscallSucceeds());
  }
  EXPECT_EQ(ModeOf(path), 0750u);
  if (GetParam() != SOCK_DGRAM) {
    ASSERT_THAT(listen(server.get(), 1), SyscallSucceeds());
  }
  auto try_connect = [&]() -> long {
    Fd client = NewSocket(AF_UNIX, GetParam());
    return ConnectTo(client, PathAddress(path));
  };
  EXPECT_EQ(ErrnoAs(kUser, try_connect), EACCES);
  ASSERT_EQ(chmod(path.c_str(), 0722), 0);
  EXPECT_EQ(ErrnoAs(kUser, try_connect), 0);
}

TEST_P(UnixNameTest, ATypeMismatchIsRefused) {
  const std::string path = directory_ / "socket";
  Fd server = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(BindTo(server, PathAddress(path)), SyscallSucceeds());
  Fd client = NewSocket(AF_UNIX, GetParam() == SOCK_DGRAM ? SOCK_STREAM : SOCK_DGRAM);
  EXPECT_THAT(ConnectTo(client, PathAddress(path)), SyscallFailsWithErrno(EPROTOTYPE));
}

TEST_P(UnixNameTest, NamesAreCutToTheRoomGiven) {
  const std::string path = directory_ / "socket";
  Fd server = NewSocket(AF_UNIX, GetParam());
  ASSERT_THAT(BindTo(server, PathAddress(path)), SyscallSucceeds());
  char room[8] = "xxxxxxx";
  socklen_t length = 4;
  ASSERT_THAT(getsockname(server.get(), reinterpret_cast<sockaddr*>(room), &length), SyscallSucceeds());
  EXPECT_EQ(length, sizeof(sa_family_t) + path.size() + 1);
  EXPECT_EQ(std::string(room + 2, 3), path.substr(0, 2) + "x");
  length = static_cast<socklen_t>(-1);
  EXPECT_THAT(getsockname(server.get(), reinterpret_cast<sockaddr*>(room), &length), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(getsockname(server.get(), reinterpret_cast<sockaddr*>(room), reinterpret_cast<socklen_t*>(kWildPointer)),
              SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(getpeername(server.get(), reinterpret_cast<sockaddr*>(room), &length), SyscallFailsWithErrno(ENOTCONN));
}

INSTANTIATE_TEST_SUITE_P(Types, UnixNameTest, ::testing::Values(SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM));

class UnixDatagramTest : public UnixTest {};

TEST_F(UnixDatagramTest, SendersAreNamed) {
  const std::string path = directory_ / "receiver", own = directory_ / "sender";
  Fd receiver = NewSocket(AF_UNIX, SOCK_DGRAM), sender = NewSocket(AF_UNIX, SOCK_DGRAM);
  ASSERT_THAT(BindTo(receiver, PathAddress(path)), SyscallSucceeds());
  const UnixAddress to = PathAddress(path);
  ASSERT_THAT(sendto(sender.get(), "one", 3, 0, to.raw(), to.length), SyscallSucceedsWithValue(3));
  Message message = Receive(receiver);
  EXPECT_EQ(message.data, "one");
  EXPECT_EQ(message.name, "");  // no address at all
  ASSERT_THAT(BindTo(sender, PathAddress(own)), SyscallSucceeds());
  ASSERT_THAT(sendto(sender.get(), "two", 3, 0, to.raw(), to.length), SyscallSucceedsWithValue(3));
  message = Receive(receiver);
  EXPECT_EQ(message.data, "two");
  EXPECT_EQ(message.name.substr(sizeof(sa_family_t)), own + '\0');
  ASSERT_THAT(ConnectTo(sender, to), SyscallSucceeds());
  ASSERT_THAT(send(sender.get(), "three", 5, 0), SyscallSucceedsWithValue(5));
  sockaddr_un name{};
  socklen_t length = sizeof name;
  char buffer[16];
  ASSERT_THAT(recvfrom(receiver.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&name), &length),
              SyscallSucceedsWithValue(5));
  EXPECT_STREQ(name.sun_path, own.c_str());
  EXPECT_EQ(length, sizeof(sa_family_t) + own.size() + 1);
  // And back, to the name that was received.
  ASSERT_THAT(sendto(receiver.get(), "back", 4, 0, reinterpret_cast<sockaddr*>(&name), length),
              SyscallSucceedsWithValue(4));
  EXPECT_EQ(Receive(sender).data, "back");
}

TEST_F(UnixDatagramTest, SendErrors) {
  Fd sender = NewSocket(AF_UNIX, SOCK_DGRAM);
  const UnixAddress none = PathAddress(directory_ / "none");
  EXPECT_THAT(sendto(sender.get(), "x", 1, 0, none.raw(), none.length), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(Send(sender, {.data = "x"}), SyscallFailsWithErrno(ENOTCONN));
  EXPECT_THAT(sendto(sender.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(kWildPointer), 10),
              SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(sendmsg(sender.get(), reinterpret_cast<msghdr*>(kWildPointer), 0), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(sendmsg(-1, nullptr, 0), SyscallFailsWithErrno(EBADF));
  Fd file(open("/dev/null", O_RDWR));
  EXPECT_THAT(Send(file, {.data = "x"}), SyscallFailsWithErrno(ENOTSOCK));
  msghdr message{};
  message.msg_iov = reinterpret_cast<iovec*>(kWildPointer);
  message.msg_iovlen = 1025;
  EXPECT_THAT(sendmsg(sender.get(), &message, 0), SyscallFailsWithErrno(EMSGSIZE));
  auto [a, b] = NewPair(SOCK_DGRAM);
  int size = 0;
  socklen_t length = sizeof size;
  getsockopt(a.get(), SOL_SOCKET, SO_SNDBUF, &size, &length);
  EXPECT_THAT(Send(a, {.data = std::string(static_cast<size_t>(size) + 1, 'x')}), SyscallFailsWithErrno(EMSGSIZE));
}

TEST_F(UnixDatagramTest, ASenderWaitsForAFullReceiver) {
  const std::string path = directory_ / "receiver";
  Fd receiver = NewSocket(AF_UNIX, SOCK_DGRAM), sender = NewSocket(AF_UNIX, SOCK_DGRAM);
  ASSERT_THAT(BindTo(receiver, PathAddress(path)), SyscallSucceeds());
  const UnixAddress to = PathAddress(path);
  int queued = 0;
  while (sendto(sender.get(), "x", 1, MSG_DONTWAIT, to.raw(), to.length) == 1) ++queued;
  EXPECT_EQ(errno, EAGAIN);
  std::thread later([&] {
    usleep(100'000);
    Receive(receiver);
  });
  EXPECT_THAT(sendto(sender.get(), "last", 4, 0, to.raw(), to.length), SyscallSucceedsWithValue(4));
  later.join();
  for (int i = 1; i < queued; ++i) EXPECT_EQ(Receive(receiver, MSG_DONTWAIT).data, "x");
  EXPECT_EQ(Receive(receiver, MSG_DONTWAIT).data, "last");
}

TEST_F(UnixDatagramTest, ManyMessagesAtOnce) {
  auto [a, b] = NewPair(SOCK_DGRAM);
  char texts[4][8] = {"one", "two", "three", "four"};
  iovec parts[4];
  mmsghdr messages[4] = {};
  for (int i = 0; i < 4; ++i) {
    parts[i] = {texts[i], strlen(texts[i])};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  ASSERT_THAT(sendmmsg(a.get(), messages, 4, 0), SyscallSucceedsWithValue(4));
  EXPECT_EQ(messages[2].msg_len, 5u);
  char buffers[4][8] = {};
  sockaddr_un names[4];
  for (int i = 0; i < 4; ++i) {
    parts[i] = {buffers[i], sizeof buffers[i]};
    messages[i].msg_hdr.msg_name = &names[i];
    messages[i].msg_hdr.msg_namelen = sizeof names[i];
    messages[i].msg_len = 0;
  }
  ASSERT_THAT(recvmmsg(b.get(), messages, 3, MSG_WAITFORONE, nullptr), SyscallSucceedsWithValue(3));
  EXPECT_STREQ(buffers[2], "three");
  EXPECT_EQ(messages[2].msg_len, 5u);
  EXPECT_EQ(messages[2].msg_hdr.msg_namelen, 0u);
  timespec brief{.tv_sec = 0, .tv_nsec = 50'000'000};
  ASSERT_THAT(recvmmsg(b.get(), messages, 2, MSG_DONTWAIT, &brief), SyscallSucceedsWithValue(1));
  EXPECT_STREQ(buffers[0], "four");
  EXPECT_THAT(recvmmsg(b.get(), messages, 2, MSG_DONTWAIT, nullptr), SyscallFailsWithErrno(EAGAIN));
}

}  // namespace
}  // namespace usl::conformance
