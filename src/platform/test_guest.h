// For the tests of this folder: a forked process under a small filter, and the filter.
#pragma once

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "gtest/gtest.h"
#include "platform/fd_access.h"
#include "platform/listener.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace usl::platform::testing {

// Calls in `notified` go to the listener, all others are native; so is an execve whose first argument is `pico_base`.
inline std::vector<sock_filter> SmallFilter(const std::vector<int>& notified, uint64_t pico_base = 0) {
  auto load = [](size_t offset) {
    return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
  };
  std::vector<sock_filter> filter;
  if (pico_base) {
    filter = {load(offsetof(seccomp_data, nr)),
              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 5),
              load(offsetof(seccomp_data, args)),
              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(pico_base), 0, 3),
              load(offsetof(seccomp_data, args) + 4),
              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
              BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  }
  filter.push_back(load(offsetof(seccomp_data, nr)));
  for (int nr : notified) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(nr), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return filter;
}

class TestGuest {
 public:
  // Forks; the child installs `filter` and exits with what `body` returns.
  TestGuest(const std::vector<sock_filter>& filter, const std::function<int()>& body) {
    int sockets[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    UniqueFd ours(sockets[0]), theirs(sockets[1]);
    pid_ = fork();
    if (pid_ == 0) {
      ours.Reset();
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
      // Sent by number: under a real filter the guest could not pass it itself.
      int listener = static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                              SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                                              &program));
      char taken;
      if (write(theirs.get(), &listener, sizeof listener) != sizeof listener || read(theirs.get(), &taken, 1) != 1) {
        _exit(99);
      }
      close(listener);
      theirs.Reset();
      // An exception must not climb into the test runner's copy.
      auto run = [&]() noexcept { return body(); };
      _exit(run());
    }
    theirs.Reset();
    int number = -1;
    EXPECT_EQ(read(ours.get(), &number, sizeof number), static_cast<ssize_t>(sizeof number));
    auto pidfd = OpenPidfd(pid_);
    EXPECT_TRUE(pidfd);
    if (!pidfd) return;
    auto fd = DuplicateFd(pidfd->get(), number);
    EXPECT_TRUE(fd);
    if (!fd || write(ours.get(), "t", 1) != 1) return;
    auto listener = Listener::Adopt(std::move(*fd));
    EXPECT_TRUE(listener);
    listener_.emplace(std::move(*listener));
  }
  ~TestGuest() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    Wait();
  }

  pid_t pid() const { return pid_; }
  Listener& listener() { return *listener_; }
  // Exit status, or 128 + signal.
  int Wait() {
    int status = 0;
    pid_t waited;
    while ((waited = waitpid(pid_, &status, 0)) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    if (waited < 0) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = 0;
  std::optional<Listener> listener_;
};

}  // namespace usl::platform::testing
