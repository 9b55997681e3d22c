#include "manager/instance.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

#include "base/format.h"
#include "fs/tmpfs.h"
#include "kernel/ipc_registry.h"
#include "manager/change_tree.h"
#include "manager/host_paths.h"
#include "manager/kernel_process.h"
#include "manager/rootfs_check.h"
#include "manager/supervisor.h"
#include "manager/terminal.h"
#include "platform/runtime_dir.h"
#include "platform/supervisor_tree.h"

namespace usl::manager {
namespace {

// Daemons in a tree that is kept get this long to end after SIGTERM; a view that is thrown away needs no such care.
constexpr int kGraceMilliseconds = 2000;

int Refuse(const std::string& why) {
  fprintf(stderr, "usl: %s\n", why.c_str());
  return kOwnFailure;
}

// Three descriptors are open at least, so that none of ours takes the place of a closed standard one.
void FillStandardDescriptors() {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

struct Channels {
  UniqueFd control, init_control;          // supervisor's and init's end
  UniqueFd status_read, status_write;      // kernel to supervisor
  UniqueFd lifeline_read, lifeline_write;  // supervisor to kernel

  bool Open() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return false;
    control.Reset(pair[0]);
    init_control.Reset(pair[1]);
    if (pipe2(pair, O_CLOEXEC) < 0) return false;
    status_read.Reset(pair[0]);
    status_write.Reset(pair[1]);
    if (pipe2(pair, O_CLOEXEC) < 0) return false;
    lifeline_read.Reset(pair[0]);
    lifeline_write.Reset(pair[1]);
    return true;
  }
};

bool WantsPty(const RunOptions& options) {
  return options.terminal || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
}

class Starter {
 public:
  explicit Starter(const RunOptions& options) : options_(options) {}

  int Run() {
    std::string why = Prepare();
    if (!why.empty()) return Refuse(why);
    BlockSupervisedSignals();
    fflush(nullptr);
    const pid_t kernel = fork();
    if (kernel < 0) return Refuse(format("cannot fork: {}", ErrorText(errno)));
    if (kernel == 0) BecomeKernel();
    const int status = Supervise(BecomeSupervisor(kernel));
    fs::RemoveTmpFsLeftovers(runtime_->path());
    kernel::RemoveIpcLeftovers(runtime_->path());
    return status;
  }

 private:
  // Everything that can fail before there is a child. Returns why, or nothing.
  std::string Prepare() {
    // What the tree of a distribution lacks, its layers have.
    if (!options_.rootfs.empty() && options_.layers.empty()) {
      const std::string bad = ExplainBadRootfs(options_.rootfs);
      if (!bad.empty()) {
        return format("cannot start \"{}\": its root \"{}\" {}", options_.name, options_.rootfs, bad);
      }
    }
    std::string why;
    platform::RemoveStaleRuntimeDirs();
    platform::RuntimeDirOptions runtime{.instance_name = options_.name, .for_other_user = getuid() == 0};
    auto directory = platform::RuntimeDir::Create(runtime, &why);
    if (!directory) return why;
    runtime_.emplace(std::move(*directory));
    if (options_.rootfs.empty()) {
      auto changes =
          options_.keep.empty() ? ChangeTree::MakeTemporary(&why) : ChangeTree::OpenKept(options_.keep, &why);
      if (!changes) return why;
      changes_.emplace(std::move(*changes));
    }
    if (WantsPty(options_)) {
      auto pty = OpenPty(STDIN_FILENO);
      if (!pty) return format("cannot get a terminal of its own for the session: {}", ErrorText(pty.error().code()));
      pty_ = std::move(*pty);
    }
    if (!channels_.Open()) return format("cannot make the control channels: {}", ErrorText(errno));
    if (!platform::BecomeSubreaper()) return "cannot become a subreaper";
    return {};
  }

  [[noreturn]] void BecomeKernel() {
    channels_.status_read.Reset();
    channels_.lifeline_write.Reset();
    pty_.master.Reset();
    KernelProcessInputs inputs;
    inputs.options = &options_;
    inputs.runtime = &*runtime_;
    inputs.changes = changes_ ? &*changes_ : nullptr;
    inputs.terminal = static_cast<bool>(pty_.slave);
    const int slave = pty_.slave.Release();
    // Standard error of its own stays its own: `usl run cmd 2>log` on a terminal.
    inputs.stdio = slave >= 0 ? std::array<int, 3>{slave, slave, isatty(STDERR_FILENO) ? slave : STDERR_FILENO}
                              : std::array<int, 3>{0, 1, 2};
    inputs.control = std::move(channels_.control);
    inputs.init_control = std::move(channels_.init_control);
    inputs.status = std::move(channels_.status_write);
    inputs.lifeline = std::move(channels_.lifeline_read);
    RunKernelProcess(std::move(inputs));
  }

  SupervisorInputs BecomeSupervisor(pid_t kernel) {
    channels_.init_control.Reset();
    channels_.status_write.Reset();
    channels_.lifeline_read.Reset();
    pty_.slave.Reset();
    SupervisorInputs inputs;
    inputs.kernel = kernel;
    inputs.control = std::move(channels_.control);
    inputs.status = std::move(channels_.status_read);
    inputs.lifeline = std::move(channels_.lifeline_write);
    inputs.grace_milliseconds = options_.rootfs.empty() && options_.keep.empty() ? 0 : kGraceMilliseconds;
    if (pty_.master) {
      inputs.master = std::move(pty_.master);
    } else {
      // The session has them now: a pipe's other end shall see the session close it.
      const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
      dup2(null.get(), STDIN_FILENO);
      dup2(null.get(), STDOUT_FILENO);
    }
    return inputs;
  }

  const RunOptions& options_;
  // Removed in this order by the supervisor when it is done: the view's changes, then the run-time directory.
  std::optional<platform::RuntimeDir> runtime_;
  std::optional<ChangeTree> changes_;
  PtyPair pty_;
  Channels channels_;
};

}  // namespace

int RunInstance(const RunOptions& options) {
  FillStandardDescriptors();
  return Starter(options).Run();
}

}  // namespace usl::manager
