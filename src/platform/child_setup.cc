#include "platform/child_setup.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace usl::platform {
namespace {

// The host's structure as of ABI 6; older hosts are given the length that they know.
struct RulesetAttributes {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};
constexpr uint64_t kScopeAbstractUnixSocket = 1 << 0;
constexpr uint64_t kScopeSignal = 1 << 1;

}  // namespace

void DropBoundingSet() {
  // Each fails where the right to do it is missing, and then no_new_privs alone must do.
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
}

Result<void> DropCapabilities() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  if (syscall(SYS_capset, &header, none) != 0) return FailErrno();
  return {};
}

Result<void> DropUser(uid_t uid, gid_t gid) {
  // The raw calls: glibc's would synchronise threads, which a forked child must not try.
  if (syscall(SYS_setgroups, 0, nullptr) != 0) return FailErrno();
  if (syscall(SYS_setresgid, gid, gid, gid) != 0) return FailErrno();
  if (syscall(SYS_setresuid, uid, uid, uid) != 0) return FailErrno();
  return {};
}

void ResetSignals(uint64_t ignored) {
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    action.sa_handler = (ignored >> (number - 1)) & 1 ? SIG_IGN : SIG_DFL;
    sigaction(number, &action, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void CloseFrom(int first, int keep) {
  auto close_range = [](unsigned from, unsigned to) {
    if (from > to || syscall(SYS_close_range, from, to, 0) == 0) return;
    for (unsigned fd = from; fd <= to && fd < 65536; ++fd) close(static_cast<int>(fd));
  };
  if (keep < first) {
    close_range(static_cast<unsigned>(first), ~0U);
  } else {
    if (keep > first) close_range(static_cast<unsigned>(first), static_cast<unsigned>(keep) - 1);
    close_range(static_cast<unsigned>(keep) + 1, ~0U);
  }
}

int LandlockAbi() {
  long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

Result<int> RestrictWithLandlock(int loader_fd) {
  int abi = LandlockAbi();
  if (abi == 0) return 0;
  RulesetAttributes attributes{LANDLOCK_ACCESS_FS_EXECUTE, 0, 0};
  size_t size = sizeof attributes.handled_access_fs;
  if (abi >= 6) {
    attributes.scoped = kScopeAbstractUnixSocket | kScopeSignal;
    size = sizeof attributes;
  }
  UniqueFd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0)));
  if (!ruleset) return FailErrno();
  landlock_path_beneath_attr rule{};
  rule.allowed_access = LANDLOCK_ACCESS_FS_EXECUTE;
  rule.parent_fd = loader_fd;
  if (syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) return FailErrno();
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) return FailErrno();
  return abi;
}

}  // namespace usl::platform
