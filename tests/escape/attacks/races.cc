// A second thread changes what a call points to, or the object behind a descriptor's number, while the call is served.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

// Two spellings of equal length, so that one string can become the other byte by byte.
struct Flipper {
  std::string allowed, forbidden;
  std::vector<char> buffer;

  Flipper(std::string a, std::string b) : allowed(std::move(a)), forbidden(std::move(b)) {
    auto pad = [](std::string& path, size_t size) { path.insert(0, size - path.size(), '/'); };
    const size_t size = std::max(allowed.size(), forbidden.size());
    pad(allowed, size);
    pad(forbidden, size);
    buffer.assign(allowed.begin(), allowed.end());
    buffer.push_back(0);
  }
  void Flip(unsigned round) {
    const std::string& next = round % 2 ? forbidden : allowed;
    memcpy(buffer.data(), next.data(), next.size());
    Spin(round % 300);
  }
};

Outcome OpenPath() {
  const std::string here = EnterWorkDirectory();
  WriteFile("allowed", "x");
  Flipper paths(here + "/allowed", Secret());
  return Race(
      "open", [&](unsigned round) { paths.Flip(round); },
      [&] { return JudgeFd(open(paths.buffer.data(), O_RDONLY), "open").escaped; });
}
ESCAPE_ATTACK(OpenPath, "races.open_path", kEscapes, "volume");

Outcome Openat2How() {
  const std::string here = EnterWorkDirectory();
  WriteFile("allowed", "x");
  Flipper paths(here + "/allowed", Secret());
  struct {
    volatile uint64_t flags, mode, resolve;
  } how{O_RDONLY, 0, 0};
  return Race(
      "openat2",
      [&](unsigned round) {
        how.resolve = round % 2 ? 0 : 0x10;  // RESOLVE_IN_ROOT
        how.flags = round % 3 ? O_RDONLY : O_PATH;
        paths.Flip(round / 2);
      },
      [&] {
        int fd = static_cast<int>(syscall(SYS_openat2, AT_FDCWD, paths.buffer.data(), &how, sizeof how));
        return JudgeFd(fd, "openat2").escaped;
      });
}
ESCAPE_ATTACK(Openat2How, "races.openat2_how", kEscapes, "");

// A directory, and a file in it, become symlinks to the host's by turns. On the host they are real symlinks, which
// whoever follows a checked path once more would follow.
Outcome SymlinkSwap() {
  EnterWorkDirectory();
  mkdir("d", 0755);
  WriteFile("d/secret", "x");
  WriteFile("f", "x");
  symlink(HostDirectory().c_str(), "to-directory");
  symlink(Secret().c_str(), "to-secret");
  int tries = 0;
  return Race(
      "a directory and a file that become symlinks",
      [&](unsigned round) {
        syscall(SYS_renameat2, AT_FDCWD, "d", AT_FDCWD, "to-directory", 2 /* RENAME_EXCHANGE */);
        syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "to-secret", 2);
        Spin(round % 300);
      },
      [&] {
        if (TryOpen("d/secret").escaped || TryOpen("f").escaped) return true;
        struct stat status;
        if (stat("f", &status) == 0 && status.st_size > 10) return true;
        // What these do to the host's file shows outside, and natively here.
        switch (++tries % 6) {
          case 0: chmod("f", 0644); break;
          case 1: setxattr("f", "user.escape", "x", 1, 0); break;
          case 2: close(open("d/fresh", O_CREAT | O_WRONLY, 0644)); break;
          case 3: utimensat(AT_FDCWD, "f", nullptr, 0); break;
          case 4: link("d/secret", "linked"); break;
          case 5: unlink("linked"); break;
        }
        return false;
      });
}
ESCAPE_ATTACK(SymlinkSwap, "races.symlink_swap", kEscapes, "volume");

// Creation: the host's directory is looked at from outside.
Outcome CreatePath() {
  const std::string here = EnterWorkDirectory();
  Flipper paths(here + "/fresh", HostDirectory() + "/fresh");
  return Race(
      "mkdir", [&](unsigned round) { paths.Flip(round); },
      [&] {
        mkdir(paths.buffer.data(), 0755);
        rmdir("fresh");
        return access((HostDirectory() + "/fresh").c_str(), F_OK) == 0;
      });
}
ESCAPE_ATTACK(CreatePath, "races.create_path", kEscapes, "");

int GuestListener(const std::string& path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return -1;
  if (type == SOCK_STREAM) listen(fd, 128);
  return fd;
}

// Alternates between a socket of the guest's own and one of the host, by path and by abstract name.
struct Addresses {
  sockaddr_un values[3]{};
  socklen_t size = sizeof(sockaddr_un);
  sockaddr_un buffer{};

  Addresses(const std::string& own, const std::string& host, const std::string& abstract) {
    for (auto& value : values) value.sun_family = AF_UNIX;
    strncpy(values[0].sun_path, own.c_str(), sizeof values[0].sun_path - 1);
    strncpy(values[1].sun_path, host.c_str(), sizeof values[1].sun_path - 1);
    strncpy(values[2].sun_path + 1, abstract.c_str(), sizeof values[2].sun_path - 2);
    buffer = values[0];
  }
  void Flip(unsigned round) {
    const sockaddr_un& next = values[round % 2 ? 1 + round / 2 % 2 : 0];
    memcpy(&buffer, &next, sizeof buffer);
    Spin(round % 300);
  }
};

Outcome ConnectAddress() {
  const std::string here = EnterWorkDirectory();
  int listener = GuestListener(here + "/own", SOCK_STREAM);
  if (listener < 0) return HeldErrno("bind");
  Addresses addresses(here + "/own", Fact("unix_path"), Fact("unix_abstract"));
  return Race(
      "connect", [&](unsigned round) { addresses.Flip(round); },
      [&] {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        bool reached = false;
        if (connect(fd, reinterpret_cast<sockaddr*>(&addresses.buffer), addresses.size) == 0) {
          int peer = accept(listener, nullptr, nullptr);
          pollfd wait{fd, POLLIN, 0};
          // Our own end says nothing; only where it did not come, somebody else has the connection.
          reached = peer < 0 && poll(&wait, 1, 50) > 0 && HasMarker(ReadAll(fd));
          if (peer >= 0) close(peer);
        }
        close(fd);
        return reached;
      });
}
ESCAPE_ATTACK(ConnectAddress, "races.connect_address", kEscapes, "");

Outcome BindAddress() {
  const std::string here = EnterWorkDirectory();
  const std::string fresh = HostDirectory() + "/bound";
  Addresses addresses(here + "/own", fresh, "usl-escape-bound");
  return Race(
      "bind", [&](unsigned round) { addresses.Flip(round / 2 * 2 + round % 2); },
      [&] {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        bind(fd, reinterpret_cast<sockaddr*>(&addresses.buffer), addresses.size);
        close(fd);
        unlink("own");
        return access(fresh.c_str(), F_OK) == 0;
      },
      4000);
}
ESCAPE_ATTACK(BindAddress, "races.bind_address", kEscapes, "");

// Whether something came is seen from outside: the host side counts datagrams.
Outcome SendMessage() {
  const std::string here = EnterWorkDirectory();
  int receiver = GuestListener(here + "/own", SOCK_DGRAM), sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  if (receiver < 0) return HeldErrno("bind");
  Addresses addresses(here + "/own", Fact("unix_datagram"), Fact("unix_abstract"));
  sockaddr_un other = addresses.values[1];
  char text[] = "escaped";
  iovec part{text, sizeof text};
  msghdr message{};
  message.msg_namelen = addresses.size;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  int sent = 0, received = 0;
  Outcome outcome = Race(
      "sendmsg",
      [&](unsigned round) {
        addresses.Flip(round);
        const_cast<void* volatile&>(message.msg_name) =
            round % 3 ? static_cast<void*>(&addresses.buffer) : static_cast<void*>(&other);
      },
      [&] {
        sent += sendmsg(sender, &message, MSG_DONTWAIT) > 0;
        sent += sendto(sender, text, sizeof text, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&addresses.buffer),
                       addresses.size) > 0;
        char buffer[64];
        while (recv(receiver, buffer, sizeof buffer, MSG_DONTWAIT) > 0) ++received;
        return sent > received;
      });
  return outcome;
}
ESCAPE_ATTACK(SendMessage, "races.send_message", kEscapes, "");

// The number of a descriptor names by turns one's own file and root's.
Outcome DescriptorNumber() {
  EnterWorkDirectory();
  WriteFile("mine", "x", 0600);
  const std::string target = Fact("target");
  int mine = open("mine", O_RDWR), theirs = open(target.c_str(), O_RDONLY);
  if (theirs < 0) return Held("cannot be opened at all");
  struct stat before, after;
  fstat(theirs, &before);
  int number = dup(mine);
  return Race(
      "fchmod, fsetxattr and futimens of a changing number",
      [&](unsigned round) { dup2(round % 2 ? theirs : mine, number); },
      [&] {
        const timespec times[2] = {{1, 0}, {1, 0}};
        fchmod(number, 0777);
        fsetxattr(number, "user.escape", "x", 1, 0);
        futimens(number, times);
        fchown(number, getuid(), getgid());
        char value[8];
        fstat(theirs, &after);
        return after.st_mode != before.st_mode || after.st_uid != before.st_uid ||
               after.st_mtim.tv_sec != before.st_mtim.tv_sec || fgetxattr(theirs, "user.escape", value, 8) > 0;
      });
}
ESCAPE_ATTACK(DescriptorNumber, "races.descriptor_number", kEscapes, "user");

// The kernel must survive descriptors that become something else under its hands.
Outcome DescriptorKinds() {
  const std::string here = EnterWorkDirectory();
  GuestListener(here + "/own", SOCK_DGRAM);
  Addresses addresses(here + "/own", Fact("unix_datagram"), Fact("unix_abstract"));
  int pipes[2];
  if (pipe(pipes) < 0) return HeldErrno("pipe");
  const int kinds[] = {socket(AF_UNIX, SOCK_DGRAM, 0),
                       socket(AF_UNIX, SOCK_STREAM, 0),
                       socket(AF_NETLINK, SOCK_RAW, 0),
                       open(".", O_RDONLY | O_DIRECTORY),
                       open("/", O_PATH),
                       pipes[0],
                       open("/proc/self/status", O_RDONLY),
                       open("/dev/null", O_RDWR)};
  int number = dup(kinds[0]);
  return Race(
      "calls on a number that changes its kind",
      [&](unsigned round) {
        int from = kinds[round % std::size(kinds)];
        from < 0 ? close(number) : dup2(from, number);
        addresses.Flip(round / 2);
      },
      [&] {
        char buffer[256];
        struct stat status;
        connect(number, reinterpret_cast<sockaddr*>(&addresses.buffer), addresses.size);
        sendto(number, "x", 1, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&addresses.buffer), addresses.size);
        fstat(number, &status);
        syscall(SYS_getdents64, number, buffer, sizeof buffer);
        fchdir(number);
        Outcome opened = JudgeFd(openat(number, Climb(Secret()).c_str(), O_RDONLY), "openat");
        fcntl(number, F_SETOWN, Victim());
        return opened.escaped;
      });
}
ESCAPE_ATTACK(DescriptorKinds, "races.descriptor_kinds", kEscapes, "");

}  // namespace
}  // namespace escape
