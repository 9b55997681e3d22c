#include "platform/supervisor_tree.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <thread>

#include "gtest/gtest.h"
#include "platform/host_features.h"

namespace usl::platform {
namespace {

int InChild(const std::function<int()>& body) {
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(body());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Starts `depth` generations of two children each; each writes its pid. None ends on its own.
void Grow(int depth, int out) {
  for (int i = 0; i < 2 && depth > 0; ++i) {
    if (fork() == 0) {
      if (depth == 2) setsid();
      signal(SIGTERM, SIG_IGN);
      Grow(depth - 1, out);
      pid_t pid = getpid();
      (void)!write(out, &pid, sizeof pid);
      if (depth == 1) {
        for (;;) pause();
      }
      if (i == 1) _exit(0);  // its children become orphans
      for (;;) pause();
    }
  }
}

TEST(SupervisorTreeTest, KillsAllDescendantsAndOrphans) {
  EXPECT_EQ(InChild([] {
              if (!BecomeSubreaper()) return 1;
              int pids[2];
              if (pipe(pids) != 0) return 2;
              Grow(3, pids[1]);
              std::vector<pid_t> all(14);
              for (pid_t& pid : all) {
                if (read(pids[0], &pid, sizeof pid) != sizeof pid) return 3;
              }
              auto below = DescendantsOf(getpid());
              if (below.size() < 11) return 4;  // some of the three that exit may be gone already
              if (KillDescendants() < 11) return 5;
              for (pid_t pid : all) {
                if (kill(pid, 0) == 0 || errno != ESRCH) return 6;
              }
              return waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD ? 0 : 7;
            }),
            0);
}

TEST(SupervisorTreeTest, KillsAProcessWhoseLeaderIsGone) {
  EXPECT_EQ(InChild([] {
              if (!BecomeSubreaper()) return 1;
              pid_t pid = fork();
              if (pid == 0) {
                std::thread([] {
                  for (;;) pause();
                }).detach();
                syscall(SYS_exit, 0);  // this thread only
              }
              siginfo_t info;
              waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT);
              KillDescendants();
              return kill(pid, 0) < 0 && errno == ESRCH ? 0 : 2;
            }),
            0);
}

TEST(SupervisorTreeTest, NothingBelowIsFine) {
  EXPECT_EQ(InChild([] { return BecomeSubreaper() && KillDescendants() == 0 ? 0 : 1; }), 0);
}

TEST(HostFeaturesTest, ProbesWithoutTraces) {
  auto features = ProbeHost("/tmp");
  EXPECT_GE(features.size(), 9u);
  EXPECT_TRUE(CanRun(features));
  for (const HostFeature& one : features) {
    EXPECT_FALSE(one.name.empty());
    EXPECT_FALSE(one.detail.empty()) << one.name;
    EXPECT_EQ(one.advice.empty(), one.state == FeatureState::kOk) << one.name;
    if (one.state != FeatureState::kOk) printf("degraded here: %s: %s\n", one.name.c_str(), one.detail.c_str());
  }
  EXPECT_TRUE(waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD) << "a probe left a child";
  EXPECT_FALSE(CanRun({{"x", FeatureState::kMissing, "d", "a"}}));
}

}  // namespace
}  // namespace usl::platform
