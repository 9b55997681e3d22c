#include "platform/host_features.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "base/format.h"
#include "platform/child_setup.h"
#include "platform/fd_access.h"
#include "platform/guest_memory.h"
#include "platform/listener.h"
#include "platform/proc_status.h"
#include "platform/runtime_dir.h"
#include "platform/task_token.h"
#include "protocol/exec_plan.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace usl::platform {
namespace {

using enum FeatureState;

const char* ErrorText(int error) {
  return strerrordesc_np(error);
}

// Runs `probe` in a child, for what cannot be undone; returns its result (0 to 255), or -1.
int InChild(const std::function<int()>& probe) {
  pid_t pid = fork();
  if (pid == 0) _exit(probe());
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

// Installs a filter that allows everything. Returns the listener, or a negative errno.
int InstallListener(unsigned long flags) {
  sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program{1, allow};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, &program);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

void ProbeNotification(std::vector<HostFeature>& features) {
  HostFeature notification{"seccomp user notification", kOk, "available, with WAIT_KILLABLE_RECV", ""};
  int error = InChild([] { return std::max(0, -InstallListener(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)); });
  if (error == EBUSY) {
    notification = {notification.name, kMissing, "another seccomp notifier is in force here",
                    "USL cannot run inside USL, nor in a container with a notifier of its own: run it outside"};
  } else if (error == EINVAL && InChild([] { return std::max(0, -InstallListener(0)); }) == 0) {
    notification = {notification.name, kMissing, "WAIT_KILLABLE_RECV is not supported", "use Linux 5.19 or newer"};
  } else if (error != 0) {
    notification = {notification.name, kMissing, error < 0 ? "the probe died" : ErrorText(error),
                    "a kernel with CONFIG_SECCOMP_FILTER is needed, and a container must allow seccomp(2)"};
  }
  features.push_back(notification);
  if (notification.state == kMissing) return;

  int sync = InChild([] {
    int fd = InstallListener(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    auto listener = Listener::Adopt(UniqueFd(fd));
    return listener && listener->sync_wake_up() ? 0 : 1;
  });
  HostFeature wake_up{"synchronous wake-up", kOk, "available", ""};
  if (sync != 0)
    wake_up = {wake_up.name, kDegraded, "not supported: served calls are slower", "use Linux 6.6 or newer"};
  features.push_back(wake_up);
}

// How the kernel process reaches into guests, tried on a child.
void ProbeAccess(std::vector<HostFeature>& features) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return;
  UniqueFd read_end(pipe_fds[0]), write_end(pipe_fds[1]);
  static int word = 42;
  pid_t pid = fork();
  if (pid == 0) {
    char byte;
    write_end.Reset();
    (void)!read(read_end.get(), &byte, 1);
    _exit(0);
  }
  if (pid < 0) return;

  HostFeature memory{"access to guest memory", kOk, "process_vm_writev and /proc/PID/mem", ""};
  const std::string yama_advice =
      "a container must allow ptrace and process_vm_writev; Yama's ptrace_scope must be 0 or 1";
  GuestMemory guest(pid);
  const GuestAddress address(reinterpret_cast<uint64_t>(&word));
  auto file = MemoryFile::Open(pid);
  auto written = guest.WriteObject(address, 43);
  auto read_back = guest.ReadObject<int>(address);
  if (!written || !read_back || *read_back != 43) {
    memory = {memory.name, kMissing, ErrorText(written ? EIO : written.error().code()), yama_advice};
  } else if (!file) {
    memory = {memory.name, kDegraded, usl::format("/proc/PID/mem: {}", ErrorText(file.error().code())), yama_advice};
  }
  features.push_back(memory);

  HostFeature trace{"ptrace", kOk, "PTRACE_SEIZE works", ""};
  if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0) {
    trace = {trace.name, kMissing, ErrorText(errno), yama_advice};
  }
  features.push_back(trace);

  HostFeature getfd{"pidfd_getfd", kOk, "available", ""};
  auto pidfd = OpenPidfd(pid);
  if (!pidfd) {
    getfd = {getfd.name, kMissing, usl::format("pidfd_open: {}", ErrorText(pidfd.error().code())),
             "use Linux 5.6 or newer"};
  } else if (UniqueFd copy(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd->get(), 0, 0))); !copy && errno != EBADF) {
    getfd = {getfd.name, kDegraded, usl::format("{}: sockets of guests cannot be served", ErrorText(errno)),
             "a container must allow pidfd_getfd"};
  }
  features.push_back(getfd);

  HostFeature token{"task tokens (RLIMIT_LOCKS)", kOk, "settable", ""};
  auto set = WriteToken(pid, uint64_t{1} << 40);
  if (!set) {
    token = {token.name, kMissing, ErrorText(set.error().code()), "the hard limit of `ulimit -x` must be unlimited"};
  }
  features.push_back(token);
  write_end.Reset();
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, __WALL) < 0 && errno == EINTR) {
  }
}

void ProbePicoPage(std::vector<HostFeature>& features) {
  HostFeature page{"low memory for the pico page", kOk, usl::format("{:#x} is mappable", protocol::kDefaultPicoBase),
                   ""};
  void* wanted = reinterpret_cast<void*>(protocol::kDefaultPicoBase);  // NOLINT: a fixed address is the point
  void* at = mmap(wanted, protocol::kPicoSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at != wanted) {
    page = {page.name, kMissing, usl::format("{:#x}: {}", protocol::kDefaultPicoBase, ErrorText(errno)),
            "set the sysctl vm.mmap_min_addr to 65536 or less"};
  }
  if (at != MAP_FAILED) munmap(at, protocol::kPicoSize);
  features.push_back(page);
}

void ProbeWalls(std::vector<HostFeature>& features) {
  int abi = LandlockAbi();
  HostFeature landlock{"Landlock (an extra wall)", kOk, usl::format("ABI {}", abi), ""};
  if (abi == 0) {
    landlock = {landlock.name, kDegraded, "not available; USL's own checks stand alone",
                "boot with lsm=landlock,... for it"};
  } else if (abi < 6) {
    landlock = {landlock.name, kDegraded, usl::format("ABI {}: no scopes for signals and sockets", abi),
                "use Linux 6.12 or newer for them"};
  }
  features.push_back(landlock);

  char text[16];
  HostFeature yama{"Yama ptrace_scope", kOk, "not restricted", ""};
  if (ReadSmallFile("/proc/sys/kernel/yama/ptrace_scope", text, sizeof text)) {
    int scope = atoi(text);
    yama.detail = usl::format("{}", scope);
    if (scope >= 2 && geteuid() != 0) {
      yama.state = kMissing;
      yama.advice = "USL needs 0 or 1: the administrator sets kernel.yama.ptrace_scope";
    }
  }
  features.push_back(yama);
}

void ProbeRuntimeDir(std::vector<HostFeature>& features) {
  HostFeature directory{"run-time directory", kOk, "", ""};
  std::string why;
  auto made = RuntimeDir::Create({.instance_name = "doctor"}, &why);
  if (!made) {
    directory = {directory.name, kMissing, why, "set XDG_RUNTIME_DIR to a directory of yours"};
  } else {
    directory.detail = made->path();
    if (!made->loader_is_file()) {
      directory.state = kDegraded;
      directory.detail += ": mounted noexec, as all others are; the loader runs from memory and Landlock is off";
      directory.advice = "set XDG_RUNTIME_DIR to a private directory on a file system that allows exec";
    }
  }
  features.push_back(directory);

  HostFeature memory{"programs in memory (memfd)", kOk, "executable", ""};
  UniqueFd fd(memfd_create("usl-probe", MFD_CLOEXEC | MFD_EXEC));
  if (!fd && errno == EINVAL) fd.Reset(memfd_create("usl-probe", MFD_CLOEXEC));
  if (!fd || access(usl::format("/proc/self/fd/{}", fd.get()).c_str(), X_OK) != 0) {
    memory = {memory.name, kDegraded, ErrorText(errno), "only matters where no run-time directory allows exec"};
  }
  features.push_back(memory);
}

void ProbeLimits(std::vector<HostFeature>& features) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  HostFeature files{"open files (hard limit)", kOk, usl::format("{}", limit.rlim_max), ""};
  if (limit.rlim_max < 4096) {
    files.state = kDegraded;
    files.advice = "raise `ulimit -Hn`, 4096 or more is advised";
  }
  features.push_back(files);
}

void ProbeAttributes(std::vector<HostFeature>& features, const std::string& directory) {
  HostFeature attributes{"user.* attributes", kOk, directory, ""};
  std::string name = directory + "/.usl-probe-XXXXXX";
  UniqueFd fd(mkostemp(name.data(), O_CLOEXEC));
  if (fd) {
    int result = fsetxattr(fd.get(), "user.usl", "x", 1, 0);
    int error = errno;
    unlink(name.c_str());
    errno = error;
    if (result == 0) {
      features.push_back(attributes);
      return;
    }
  }
  attributes.state = kDegraded;
  attributes.detail = usl::format("{}: {}", directory, ErrorText(errno));
  attributes.advice = fd ? "owners and modes go to a database beside the tree; a file system with user xattrs is faster"
                         : "the directory must exist and be writable";
  features.push_back(attributes);
}

}  // namespace

std::vector<HostFeature> ProbeHost(const std::string& directory) {
  std::vector<HostFeature> features;
  ProbeNotification(features);
  ProbeAccess(features);
  ProbePicoPage(features);
  ProbeWalls(features);
  ProbeRuntimeDir(features);
  ProbeLimits(features);
  if (!directory.empty()) ProbeAttributes(features, directory);
  return features;
}

bool CanRun(const std::vector<HostFeature>& features) {
  return std::none_of(features.begin(), features.end(), [](const HostFeature& one) { return one.state == kMissing; });
}

}  // namespace usl::platform
