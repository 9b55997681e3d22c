#include "platform/launch.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "platform/child_setup.h"
#include "platform/guest_memory.h"
#include "platform/runtime_dir.h"
#include "platform/task_token.h"
#include "platform/test_guest.h"

namespace usl::platform {
namespace {

using protocol::kDefaultPicoBase;
using testing::SmallFilter;

int WaitFor(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string ReadAll(int fd) {
  std::string text;
  char chunk[256];
  ssize_t got;
  while ((got = read(fd, chunk, sizeof chunk)) > 0) text.append(chunk, static_cast<size_t>(got));
  return text;
}

// Runs /bin/sh in the loader's place and returns what it prints.
std::string RunShell(const char* script, LaunchOptions options) {
  auto page = PicoPage::Create("/bin/sh");
  int pipe_fds[2];
  EXPECT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  UniqueFd output(pipe_fds[0]), input(pipe_fds[1]);
  options.pico = &*page;
  options.filter = SmallFilter({SYS_mkdir}, kDefaultPicoBase);
  options.argv = {"sh", "-c", script};
  options.envp = {"NAME=value", "PATH=/usr/bin:/bin"};
  options.stdio = {-1, input.get(), 2};
  options.landlock = false;
  std::string why;
  auto launched = LaunchFirstProcess(options, &why);
  input.Reset();
  if (!launched) return "not launched: " + why;
  std::string text = ReadAll(output.get());
  EXPECT_EQ(WaitFor(launched->pid), 0);
  return text;
}

TEST(LaunchTest, StartsTheProcessInItsPlace) {
  LaunchOptions options;
  options.empty_dir = "/usr";
  options.token = 4711;
  options.nofile = rlimit{123, 1000};
  UniqueFd leak(fcntl(0, F_DUPFD, 50));  // not close-on-exec
  std::string script =
      "pwd; echo $NAME; ulimit -n; ulimit -Hn; ulimit -c; "
      "cat /proc/self/status | grep -E 'NoNewPrivs|Seccomp:|CapEff|CapBnd|SigIgn|SigBlk' | tr '\\t' ' '; "
      "prlimit --pid $$ -o SOFT --noheadings -x 2>/dev/null | tr -d ' '; ls /proc/$$/fd | tr '\\n' ' '";
  std::string text = RunShell(script.c_str(), options);
  EXPECT_NE(text.find("/usr\nvalue\n123\n1000\n0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("NoNewPrivs: 1"), std::string::npos) << text;
  EXPECT_NE(text.find("Seccomp: 2"), std::string::npos) << text;
  EXPECT_NE(text.find("CapEff: 0000000000000000"), std::string::npos) << text;
  EXPECT_NE(text.find("SigBlk: 0000000000000000"), std::string::npos) << text;
  EXPECT_NE(text.find("4711\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n0 1 2 "), std::string::npos) << "other fds leaked: " << text;
}

TEST(LaunchTest, GivesASessionOfItsOwn) {
  const std::string script = "cut -d' ' -f5,6 /proc/$$/stat; echo $$";
  int session = 0, group = 0, pid = 0;
  std::string text = RunShell(script.c_str(), {});
  ASSERT_EQ(sscanf(text.c_str(), "%d %d %d", &group, &session, &pid), 3) << text;
  EXPECT_EQ(session, pid);
  text = RunShell(script.c_str(), {.new_session = false});
  ASSERT_EQ(sscanf(text.c_str(), "%d %d %d", &group, &session, &pid), 3) << text;
  EXPECT_EQ(session, getsid(0));
}

TEST(LaunchTest, RootDropsEverything) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  std::string text = RunShell("id -u; id -g; id -G; grep CapBnd /proc/self/status", {.uid = 1000, .gid = 1000});
  EXPECT_EQ(text, "1000\n1000\n1000\nCapBnd:\t0000000000000000\n");
  text = RunShell("id -u; grep CapEff /proc/self/status; cat /proc/$$/status | grep CapPrm", {});
  EXPECT_EQ(text, "0\nCapEff:\t0000000000000000\nCapPrm:\t0000000000000000\n");
}

// The real thing: the loader behind all walls makes its hypercall.
TEST(LaunchTest, TheLoaderAsksForItsPlanBehindAllWalls) {
  auto dir = RuntimeDir::Create({.instance_name = "launch-test"}, nullptr);
  ASSERT_TRUE(dir);
  auto page = PicoPage::Create(dir->LoaderPath());
  ASSERT_TRUE(page);
  LaunchOptions options;
  options.pico = &*page;
  options.filter = SmallFilter({SYS_execve}, kDefaultPicoBase);
  options.argv = {"init"};
  options.empty_dir = dir->EmptyPath();
  options.loader_path = dir->LoaderPath();
  std::string why;
  auto launched = LaunchFirstProcess(options, &why);
  ASSERT_TRUE(launched) << why;
  EXPECT_EQ(launched->landlock_abi, LandlockAbi());
  auto hypercall = launched->listener.Receive();
  ASSERT_TRUE(hypercall);
  EXPECT_EQ(hypercall->tid, launched->pid);
  EXPECT_EQ(hypercall->nr, SYS_execve);
  EXPECT_EQ(hypercall->args[0], kDefaultPicoBase + protocol::kHypercallOffset);
  EXPECT_EQ(hypercall->args[2], sizeof(protocol::ExecPlan));
  EXPECT_TRUE(GuestMemory(launched->pid).Write(GuestAddress(hypercall->args[1]), "\1", 1));
  EXPECT_TRUE(launched->listener.RespondError(hypercall->id, ENOEXEC));
  EXPECT_NE(WaitFor(launched->pid), 0);
}

TEST(LaunchTest, SaysWhatWentWrong) {
  auto page = PicoPage::Create("/nonexistent/loader-10000");
  ASSERT_TRUE(page);
  LaunchOptions options;
  options.pico = &*page;
  options.filter = SmallFilter({SYS_mkdir}, kDefaultPicoBase);
  options.argv = {"x"};
  std::string why;
  EXPECT_EQ(LaunchFirstProcess(options, &why).error().code(), ENOENT);
  EXPECT_NE(why.find("cannot execute the loader"), std::string::npos) << why;
  options.empty_dir = "/nonexistent";
  EXPECT_EQ(LaunchFirstProcess(options, &why).error().code(), ENOENT);
  EXPECT_NE(why.find("/nonexistent"), std::string::npos) << why;
}

TEST(LaunchTest, RefusesToRunUnderAnotherNotifier) {
  testing::TestGuest guest(SmallFilter({SYS_mkdir}), [] {
    auto page = PicoPage::Create("/bin/true");
    LaunchOptions options;
    options.pico = &*page;
    options.filter = SmallFilter({SYS_mkdir}, kDefaultPicoBase);
    options.argv = {"true"};
    std::string why;
    auto launched = LaunchFirstProcess(options, &why);
    return !launched && launched.error().code() == EBUSY && why.find("another seccomp notifier") != std::string::npos
               ? 0
               : 1;
  });
  EXPECT_EQ(guest.Wait(), 0);
}

// A container profile without pidfd_getfd: a filter that answers EPERM for it, inherited by the launched process.
TEST(LaunchTest, WorksWherePidfdGetfdIsForbidden) {
  pid_t child = fork();
  if (child == 0) {
    const sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_getfd, 0, 1),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{4, const_cast<sock_filter*>(filter)};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) _exit(2);
    std::string text = RunShell("echo here", {});
    bool nobody_left = waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD;
    _exit(text == "here\n" && nobody_left ? 0 : 1);
  }
  EXPECT_EQ(WaitFor(child), 0);
}

TEST(ChildSetupTest, LandlockStopsForeignExecsAndSignals) {
  if (LandlockAbi() == 0) GTEST_SKIP() << "no Landlock here";
  pid_t child = fork();
  if (child == 0) {
    UniqueFd allowed(open("/proc/self/exe", O_PATH | O_CLOEXEC));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    auto abi = RestrictWithLandlock(allowed.get());
    if (!abi) _exit(1);
    if (execl("/bin/true", "true", nullptr) != -1 || errno != EACCES) _exit(2);
    if (*abi >= 6 && (kill(getppid(), 0) != -1 || errno != EPERM)) _exit(3);
    if (kill(getpid(), 0) != 0) _exit(4);
    _exit(0);
  }
  EXPECT_EQ(WaitFor(child), 0);
}

TEST(ChildSetupTest, ClosesAllButOne) {
  pid_t child = fork();
  if (child == 0) {
    fcntl(0, F_DUPFD, 40);
    fcntl(0, F_DUPFD, 41);
    CloseFrom(3, 40);
    _exit(fcntl(40, F_GETFD) >= 0 && fcntl(41, F_GETFD) < 0 && fcntl(3, F_GETFD) < 0 ? 0 : 1);
  }
  EXPECT_EQ(WaitFor(child), 0);
}

TEST(LaunchTest, RaisesTheFileLimit) {
  rlimit before{}, after{};
  getrlimit(RLIMIT_NOFILE, &before);
  auto old = RaiseFileLimit();
  ASSERT_TRUE(old);
  EXPECT_EQ(old->rlim_cur, before.rlim_cur);
  getrlimit(RLIMIT_NOFILE, &after);
  EXPECT_EQ(after.rlim_cur, after.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace usl::platform
