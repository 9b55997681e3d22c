#include "platform/exec_redirect.h"

#include <poll.h>
#include <setjmp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "platform/pico_page.h"
#include "platform/test_guest.h"
#include "protocol/exec_plan.h"

namespace usl::platform {
namespace {

using protocol::kDefaultPicoBase;
using testing::SmallFilter;
using testing::TestGuest;

constexpr uint64_t kStubHypercall = kDefaultPicoBase + protocol::kHypercallOffset - 8;

// The "loader" of these tests is the shell: the task that is redirected really becomes another program.
class ExecRedirectTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { page_ = new PicoPage(PicoPage::Create("/bin/sh").value()); }
  static void TearDownTestSuite() { delete page_; }

  // What a guest of these tests may notify.
  static std::vector<sock_filter> Filter() {
    return SmallFilter({SYS_execve, SYS_execveat, SYS_mkdir}, kDefaultPicoBase);
  }

  // Serves execs (arguments as given by the guest) until no task is left. Returns how many were redirected.
  static int ServeExecs(const Listener& listener) {
    int count = 0;
    for (;;) {
      pollfd state{listener.fd(), POLLIN, 0};
      poll(&state, 1, -1);
      if (state.revents & POLLHUP) return count;
      auto call = listener.Receive();
      if (!call) return count;
      const size_t argv = call->nr == SYS_execveat ? 2 : 1;
      auto done = RedirectExec(listener, *call, kDefaultPicoBase, GuestAddress(call->args[argv]),
                               GuestAddress(call->args[argv + 1]));
      if (done) ++count;
      if (!done && done.error().code() == EPERM) (void)listener.RespondError(call->id, EPERM);
    }
  }
  static void MapPage() {
    if (!page_->Map()) _exit(98);
  }
  static PicoPage* page_;
};
PicoPage* ExecRedirectTest::page_ = nullptr;

char* const kEnvironment[] = {const_cast<char*>("NAME=value"), const_cast<char*>("PATH=/bin:/usr/bin"), nullptr};

void Exec(const char* script) {
  const char* argv[] = {"sh", "-c", script, nullptr};
  syscall(SYS_execve, "/guest/path", argv, kEnvironment);
}

// fork or vfork, exec of the script, exit status.
int RunIn(const char* script, bool use_vfork = false) {
  const char* argv[] = {"sh", "-c", script, nullptr};
  pid_t child = use_vfork ? vfork() : fork();
  if (child == 0) {
    syscall(SYS_execve, "/guest/path", argv, kEnvironment);
    _exit(97);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(ExecRedirectTest, TheTaskBecomesTheProgramWithItsArguments) {
  TestGuest guest(Filter(), [] {
    MapPage();
    Exec("test \"$NAME\" = value && exit 7");
    return 1;
  });
  EXPECT_EQ(ServeExecs(guest.listener()), 1);
  EXPECT_EQ(guest.Wait(), 7);
}

TEST_F(ExecRedirectTest, ExecveatTakesItsArgumentsElsewhere) {
  TestGuest guest(Filter(), [] {
    MapPage();
    const char* argv[] = {"sh", "-c", "exit 8", nullptr};
    syscall(SYS_execveat, 5, "", argv, kEnvironment, AT_EMPTY_PATH);
    return 1;
  });
  EXPECT_EQ(ServeExecs(guest.listener()), 1);
  EXPECT_EQ(guest.Wait(), 8);
}

TEST_F(ExecRedirectTest, FourThreadsExecAtOnce) {
  constexpr int kEach = 60;
  for (bool use_vfork : {false, true}) {
    TestGuest guest(Filter(), [use_vfork] {
      MapPage();
      std::atomic<int> wrong = 0;
      std::vector<std::thread> threads;
      for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&wrong, use_vfork] {
          for (int n = 0; n < kEach; ++n) wrong += RunIn("exit 5", use_vfork) != 5;
        });
      }
      for (auto& thread : threads) thread.join();
      return wrong > 100 ? 100 : wrong.load();
    });
    EXPECT_EQ(ServeExecs(guest.listener()), 4 * kEach);
    EXPECT_EQ(guest.Wait(), 0);
  }
}

TEST_F(ExecRedirectTest, AThreadMayExecWhileOthersRun) {
  TestGuest guest(Filter(), [] {
    MapPage();
    for (int n = 0; n < 50; ++n) {
      pid_t child = fork();
      if (child == 0) {
        // All before the first exec: while one runs, Linux answers clone with EAGAIN.
        std::atomic<int> waiting = 0;
        auto racer = [&waiting] {
          ++waiting;
          while (waiting < 3) sched_yield();
          Exec("exit 6");
        };
        for (int i = 0; i < 3; ++i) std::thread(racer).detach();
        for (;;) pause();
      }
      int status = 0;
      waitpid(child, &status, 0);
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 6) return 1;
    }
    return 0;
  });
  ServeExecs(guest.listener());
  EXPECT_EQ(guest.Wait(), 0);
}

// Signals arrive all the time, with a handler: none is lost, none stops the exec.
TEST_F(ExecRedirectTest, SignalsMeanwhileAreDeliveredAndTheExecHappens) {
  static volatile sig_atomic_t handled;
  TestGuest guest(Filter(), [] {
    MapPage();
    struct sigaction action {};
    action.sa_handler = [](int) { handled = handled + 1; };
    action.sa_flags = SA_RESTART;
    sigaction(SIGURG, &action, nullptr);  // default: ignored, so it does not kill the new program
    int wrong = 0;
    for (int n = 0; n < 150; ++n) {
      pid_t child = fork();
      if (child == 0) Exec("exit 5");
      int status = 0;
      while (waitpid(child, &status, WNOHANG) == 0) kill(child, SIGURG);
      wrong += !WIFEXITED(status) || WEXITSTATUS(status) != 5;
    }
    return wrong;
  });
  EXPECT_EQ(ServeExecs(guest.listener()), 150);
  EXPECT_EQ(guest.Wait(), 0);
}

TEST_F(ExecRedirectTest, APendingSignalsHandlerRunsBeforeTheExec) {
  TestGuest guest(Filter(), [] {
    MapPage();
    struct sigaction action {};
    action.sa_handler = [](int) { (void)!write(1, "", 0), setenv("HANDLED", "1", 1); };
    sigaction(SIGUSR1, &action, nullptr);
    const char* argv[] = {"sh", "-c", "test \"$HANDLED\" = 1 && exit 9", nullptr};
    setenv("HANDLED", "0", 1);
    syscall(SYS_execve, "/guest/path", argv, environ);
    return 1;
  });
  auto call = guest.listener().Receive();
  ASSERT_TRUE(call);
  kill(guest.pid(), SIGUSR1);
  ASSERT_TRUE(RedirectExec(guest.listener(), *call, kDefaultPicoBase, GuestAddress(call->args[1]),
                           GuestAddress(call->args[2])));
  EXPECT_EQ(guest.Wait(), 9);
}

TEST_F(ExecRedirectTest, AHandlerMayLeaveAndTheExecIsAbandoned) {
  static sigjmp_buf jump;
  TestGuest guest(Filter(), [] {
    MapPage();
    struct sigaction action {};
    action.sa_handler = [](int) { siglongjmp(jump, 1); };
    sigaction(SIGUSR1, &action, nullptr);
    if (sigsetjmp(jump, 1) == 0) Exec("exit 1");
    if (mkdir("still here", 0) != 0) return 2;
    Exec("exit 10");
    return 3;
  });
  auto call = guest.listener().Receive();
  ASSERT_TRUE(call);
  kill(guest.pid(), SIGUSR1);
  ASSERT_TRUE(RedirectExec(guest.listener(), *call, kDefaultPicoBase, GuestAddress(call->args[1]),
                           GuestAddress(call->args[2])));
  call = guest.listener().Receive();
  ASSERT_TRUE(call);
  EXPECT_EQ(call->nr, SYS_mkdir);
  EXPECT_TRUE(guest.listener().Respond(call->id, 0));
  EXPECT_EQ(ServeExecs(guest.listener()), 1);
  EXPECT_EQ(guest.Wait(), 10);
}

TEST_F(ExecRedirectTest, AStopSignalStopsTheTaskFirst) {
  TestGuest guest(Filter(), [] {
    MapPage();
    Exec("exit 11");
    return 1;
  });
  auto call = guest.listener().Receive();
  ASSERT_TRUE(call);
  kill(guest.pid(), SIGSTOP);
  ASSERT_TRUE(RedirectExec(guest.listener(), *call, kDefaultPicoBase, GuestAddress(call->args[1]),
                           GuestAddress(call->args[2])));
  int status = 0;
  ASSERT_EQ(waitpid(guest.pid(), &status, WUNTRACED), guest.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(WSTOPSIG(status), SIGSTOP);
  kill(guest.pid(), SIGCONT);
  EXPECT_EQ(guest.Wait(), 11);
}

TEST_F(ExecRedirectTest, SaysWhenTheTaskWasKilled) {
  TestGuest guest(Filter(), [] {
    MapPage();
    Exec("exit 12");
    return 1;
  });
  auto call = guest.listener().Receive();
  ASSERT_TRUE(call);
  kill(guest.pid(), SIGKILL);
  EXPECT_EQ(
      RedirectExec(guest.listener(), *call, kDefaultPicoBase, GuestAddress(call->args[1]), GuestAddress(call->args[2]))
          .error()
          .code(),
      ESRCH);
  EXPECT_EQ(guest.Wait(), 128 + SIGKILL) << "the exit status is left for the parent";
}

TEST_F(ExecRedirectTest, ParkedCallsStartOverOrFailWithEintr) {
  static volatile sig_atomic_t handled;
  TestGuest guest(Filter(), [] {
    struct sigaction action {};
    action.sa_handler = [](int) { handled = handled + 1; };
    sigaction(SIGUSR1, &action, nullptr);
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &action, nullptr);
    if (mkdir("no signal", 0) != 0 || handled != 0) return 1;
    if (mkdir("interrupted", 0) != -1 || errno != EINTR || handled != 1) return 2;
    if (mkdir("restarted", 0) != 0 || handled != 2) return 3;
    if (mkdir("interrupted", 0) != -1 || errno != EINTR || handled != 3) return 4;
    if (mkdir("restarted", 0) != 0 || handled != 4) return 5;
    return 0;
  });
  const Listener& listener = guest.listener();
  auto receive = [&] { return listener.Receive().value(); };
  // No signal: it starts over, and the guest does not notice.
  ASSERT_TRUE(RestartParked(listener, receive()));
  EXPECT_TRUE(listener.Respond(receive().id, 0));
  // The tracing way and the plain answer, each with and without SA_RESTART.
  for (bool by_trace : {true, false}) {
    auto restart = [&](const Notification& call) {
      EXPECT_TRUE(HasPendingSignal(call.tid));
      EXPECT_TRUE(by_trace ? InterruptParked(listener, call, 0) : listener.RespondError(call.id, kERESTARTSYS));
    };
    Notification call = receive();
    kill(guest.pid(), SIGUSR1);
    restart(call);
    call = receive();
    kill(guest.pid(), SIGUSR2);
    restart(call);
    EXPECT_TRUE(listener.Respond(receive().id, 0));
  }
  EXPECT_EQ(guest.Wait(), 0);
}

// The signal of a process that another thread takes must not leak ERESTARTSYS into the parked one.
TEST_F(ExecRedirectTest, AParkedThreadMayLoseTheSignalToAnother) {
  static std::atomic<int> handled;
  TestGuest guest(Filter(), [] {
    struct sigaction action {};
    action.sa_handler = [](int) { ++handled; };
    sigaction(SIGUSR1, &action, nullptr);
    long result = -2;
    std::thread parked([&result] {
      result = syscall(SYS_mkdir, "parked", 0);
      if (result == -1 && errno == EINTR) result = 0;
    });
    while (handled < 1) sched_yield();
    parked.join();
    return result == 0 ? 0 : 1;
  });
  auto call = guest.listener().Receive();
  ASSERT_TRUE(call);
  EXPECT_NE(call->tid, guest.pid());
  kill(guest.pid(), SIGUSR1);
  ASSERT_TRUE(InterruptParked(guest.listener(), *call, 0));
  pollfd state{guest.listener().fd(), POLLIN, 0};
  poll(&state, 1, -1);
  if (state.revents & POLLIN) {
    call = guest.listener().Receive();
    ASSERT_TRUE(call);
    EXPECT_EQ(call->nr, SYS_mkdir);
    EXPECT_TRUE(guest.listener().Respond(call->id, 0));
  }
  EXPECT_EQ(guest.Wait(), 0);
}

// A guest debugger: a thread of this test that traces the guest from its birth and passes its signals on.
TEST_F(ExecRedirectTest, TracedTasksGoThroughTheStub) {
  constexpr int kRounds = 40;
  int to_guest[2];
  ASSERT_EQ(pipe(to_guest), 0);
  TestGuest guest(Filter(), [&] {
    MapPage();
    char byte;
    if (read(to_guest[0], &byte, 1) != 1) return 1;
    std::atomic<int> wrong = 0;
    auto loop = [&wrong] {
      for (int n = 0; n < kRounds; ++n) wrong += RunIn("exit 5") != 5;
    };
    std::thread other(loop);
    loop();
    other.join();
    const char* argv[] = {"sh", "-c", "exit 13", nullptr};
    if (wrong == 0) syscall(SYS_execveat, AT_FDCWD, "/guest/path", argv, kEnvironment, 0);
    return 2;
  });
  std::atomic<bool> seized = false;
  std::thread debugger([&] {
    const long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    ASSERT_EQ(ptrace(PTRACE_SEIZE, guest.pid(), nullptr, options), 0);
    seized = true;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
      if (!WIFSTOPPED(status)) {
        if (pid == guest.pid()) {
          EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 13) << std::hex << status;
          return;
        }
        continue;
      }
      const bool plain = status >> 16 == 0;
      ptrace(PTRACE_CONT, pid, nullptr, static_cast<long>(plain ? WSTOPSIG(status) : 0));
    }
  });
  while (!seized) std::this_thread::yield();
  ASSERT_EQ(write(to_guest[1], "g", 1), 1);

  TracedExecs traced(kDefaultPicoBase);
  const Listener& listener = guest.listener();
  EXPECT_NE(TracerOf(guest.pid()), 0);
  int redirected = 0;
  for (;;) {
    pollfd state{listener.fd(), POLLIN, 0};
    poll(&state, 1, -1);
    if (state.revents & POLLHUP) break;
    auto call = listener.Receive();
    if (!call) break;
    if (call->args[0] == kStubHypercall) {
      EXPECT_TRUE(listener.Respond(call->id, traced.RestoreAfterStub(call->tid)));
      continue;
    }
    EXPECT_EQ(RedirectExec(listener, *call, kDefaultPicoBase, {}, {}).error().code(), EPERM);
    EXPECT_TRUE(traced.Redirect(listener, *call));
    ++redirected;
  }
  debugger.join();
  EXPECT_EQ(redirected, 2 * kRounds + 1);
  for (int fd : to_guest) close(fd);
}

}  // namespace
}  // namespace usl::platform
