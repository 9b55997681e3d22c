#include "manager/instance.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <optional>
#include <vector>

#include "base/format.h"
#include "fs/tmpfs.h"
#include "kernel/ipc_registry.h"
#include "manager/change_tree.h"
#include "manager/config.h"
#include "manager/distribution_lock.h"
#include "manager/distributions.h"
#include "manager/host_paths.h"
#include "manager/instance_log.h"
#include "manager/instance_server.h"
#include "manager/kernel_process.h"
#include "manager/rootfs_check.h"
#include "manager/session_front.h"
#include "manager/supervisor.h"
#include "manager/terminal.h"
#include "platform/runtime_dir.h"
#include "platform/supervisor_tree.h"

namespace usl::manager {
namespace {

// Services of an instance that others use too have more to put in order.
constexpr int kJoinedGraceMilliseconds = 10'000;

int Refuse(const std::string& why) {
  fprintf(stderr, "usl: %s\n", why.c_str());
  return kOwnFailure;
}

struct Channels {
  UniqueFd control, init_control;          // supervisor's and init's end
  UniqueFd status_read, status_write;      // kernel to supervisor
  UniqueFd lifeline_read, lifeline_write;  // supervisor to kernel
  // Of an instance that can be joined:
  UniqueFd channel, kernel_channel;    // supervisor's and the kernel's end
  UniqueFd output_read, output_write;  // what kernel and init print

  bool Open(bool joinable) {
    return OpenPair(control, init_control) && OpenPipe(status_read, status_write) &&
           OpenPipe(lifeline_read, lifeline_write) &&
           (!joinable || (OpenPair(channel, kernel_channel) && OpenPipe(output_read, output_write)));
  }

 private:
  static bool OpenPair(UniqueFd& one, UniqueFd& other) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return false;
    one.Reset(pair[0]);
    other.Reset(pair[1]);
    return true;
  }
  static bool OpenPipe(UniqueFd& reader, UniqueFd& writer) {
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0) return false;
    reader.Reset(pair[0]);
    writer.Reset(pair[1]);
    return true;
  }
};

bool WantsPty(const RunOptions& options) {
  return options.terminal || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
}

// Those of automount too, where the host's own settings put them: if the guest's files say otherwise, sessions start in
// the home.
RunOptions WithAutomaticVolumes(RunOptions options) {
  std::vector<std::string> told_by_the_kernel_process;
  for (Volume& volume : Config::Merge(options.host_config).AutomountVolumes(&told_by_the_kernel_process)) {
    options.volumes.push_back(std::move(volume));
  }
  return options;
}

class Starter {
 public:
  explicit Starter(const RunOptions& options) : options_(options) {}

  int Run() {
    std::string why = Prepare(false);
    if (!why.empty()) return Refuse(why);
    BlockSupervisedSignals();
    fflush(nullptr);
    const pid_t kernel = fork();
    if (kernel < 0) return Refuse(format("cannot fork: {}", ErrorText(errno)));
    if (kernel == 0) BecomeKernel();
    const int status = Supervise(BecomeSupervisor(kernel));
    RemoveLeftovers();
    return status;
  }

  // In the process that is to be the supervisor. `ready` and the log as in ServerInputs.
  void Serve(const InstanceSpec& spec, const InstancePlace& place, InstanceLog& log, UniqueFd ready) {
    std::string why;
    std::optional<DistributionLock> lock;  // the kernel process has it too
    if (!spec.distribution.empty()) {
      const Registry registry = Registry::OfUser();
      auto taken = DistributionLock::Take(registry, spec.distribution, &why);
      if (!taken) {
        Refuse(why);
        return;
      }
      lock.emplace(std::move(*taken));
      UseDistribution(registry, lock->distribution(), options_);
      options_.name = lock->distribution().name;
      options_.user = lock->distribution().default_user;
    }
    why = Prepare(true);
    void* shared = mmap(nullptr, sizeof(InstanceCounters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (why.empty() && shared == MAP_FAILED) why = "no memory";
    if (!why.empty()) {
      Refuse(why);
      return;
    }
    counters_ = new (shared) InstanceCounters;
    const pid_t kernel = fork();
    if (kernel < 0) {
      Refuse(format("cannot fork: {}", ErrorText(errno)));
      return;
    }
    if (kernel == 0) {
      ready.Reset();
      BecomeKernel();
    }
    channels_.kernel_channel.Reset();
    SupervisorInputs common = BecomeSupervisor(kernel);
    ServerInputs inputs;
    inputs.place = &place;
    inputs.log = &log;
    inputs.counters = counters_;
    inputs.name = options_.name;
    inputs.rootfs = options_.rootfs;
    inputs.paths = PathMap::Of(WithAutomaticVolumes(options_), options_.current_directory);
    inputs.kernel = kernel;
    inputs.control = std::move(common.control);
    inputs.status = std::move(common.status);
    inputs.lifeline = std::move(common.lifeline);
    inputs.channel = std::move(channels_.channel);
    inputs.output = std::move(channels_.output_read);
    inputs.output_write = std::move(channels_.output_write);
    inputs.ready = std::move(ready);
    inputs.grace_milliseconds = common.grace_milliseconds ? kJoinedGraceMilliseconds : 0;
    inputs.idle_milliseconds = spec.idle_milliseconds;
    ServeInstance(std::move(inputs));
    RemoveLeftovers();
    SyncTree();
  }

 private:
  void RemoveLeftovers() {
    fs::RemoveTmpFsLeftovers(runtime_->path());
    kernel::RemoveIpcLeftovers(runtime_->path());
  }

  // What guests wrote shall survive a crash of the machine from now on, as after a shutdown.
  void SyncTree() const {
    if (options_.rootfs.empty()) return;
    const UniqueFd tree(open(options_.rootfs.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (tree && syncfs(tree.get()) < 0) Refuse(format("cannot sync \"{}\": {}", options_.rootfs, ErrorText(errno)));
  }

  // Everything that can fail before there is a child. Returns why, or nothing.
  std::string Prepare(bool joinable) {
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
    if (!joinable && WantsPty(options_)) {
      auto pty = OpenPty(STDIN_FILENO);
      if (!pty) return format("cannot get a terminal of its own for the session: {}", ErrorText(pty.error().code()));
      pty_ = std::move(*pty);
    }
    if (!channels_.Open(joinable)) return format("cannot make the control channels: {}", ErrorText(errno));
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
    if (channels_.kernel_channel) {
      channels_.channel.Reset();
      channels_.output_read.Reset();
      dup2(channels_.output_write.get(), STDERR_FILENO);
      channels_.output_write.Reset();
      inputs.channel = std::move(channels_.kernel_channel);
      inputs.served_calls = &counters_->served_calls;
    }
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

  RunOptions options_;
  // Removed in this order by the supervisor when it is done: the view's changes, then the run-time directory.
  std::optional<platform::RuntimeDir> runtime_;
  std::optional<ChangeTree> changes_;
  PtyPair pty_;
  Channels channels_;
  InstanceCounters* counters_ = nullptr;  // shared with the kernel process, never unmapped
};

// The detached process: no terminal, no descriptors of the caller's but those named, standard error in the log.
void DetachFrom(int log, const std::vector<int>& kept) {
  setsid();
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU}) {
    std::signal(signal, SIG_IGN);
  }
  for (const int signal : {SIGCHLD, SIGTERM}) std::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  prctl(PR_SET_NAME, "usl-supervisor");
  if (chdir("/") < 0) Refuse("cannot enter \"/\"");
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  std::vector<unsigned> sorted(kept.begin(), kept.end());
  std::ranges::sort(sorted);
  unsigned from = STDERR_FILENO + 1;
  for (const unsigned fd : sorted) {
    if (fd > from) close_range(from, fd - 1, 0);
    from = fd + 1;
  }
  close_range(from, ~0U, 0);
}

// What the log got behind `start`, for whoever waited for a start that failed.
void PrintLogFrom(const std::string& path, off_t start) {
  constexpr size_t kShown = 4096;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[kShown];
  const ssize_t size = pread(file.get(), text, sizeof text, start);
  if (size > 0) {
    fwrite(text, 1, static_cast<size_t>(size), stderr);
  } else {
    fprintf(stderr, "usl: the instance ended while it was started; %s may tell more\n", path.c_str());
  }
}

}  // namespace

bool StartInstance(const InstanceSpec& spec, const InstancePlace& place) {
  FillStandardDescriptors();
  const std::string log_path = InstanceLogPath(spec.key);
  auto log = InstanceLog::Open(log_path);
  if (!log) {
    Refuse(format("cannot write the log \"{}\": {}", log_path, ErrorText(log.error().code())));
    return false;
  }
  const off_t log_start = lseek(log->fd(), 0, SEEK_END);
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) < 0) {
    Refuse(format("cannot make a pipe: {}", ErrorText(errno)));
    return false;
  }
  UniqueFd ready_read(pair[0]), ready_write(pair[1]);
  fflush(nullptr);
  const pid_t middle = fork();
  if (middle < 0) {
    Refuse(format("cannot fork: {}", ErrorText(errno)));
    return false;
  }
  if (middle == 0) {
    ready_read.Reset();
    // Twice, so that the supervisor is no child of a client, which may end at any time or wait for its children.
    if (fork() != 0) _exit(0);
    std::vector<int> kept = spec.options.held;
    kept.insert(kept.end(), {log->fd(), ready_write.get(), place.fd()});
    DetachFrom(log->fd(), kept);
    {
      Starter starter(spec.options);
      starter.Serve(spec, place, *log, std::move(ready_write));
    }
    // Last, as from now on the name is free for the next one.
    place.Remove();
    _exit(0);
  }
  while (waitpid(middle, nullptr, 0) < 0 && errno == EINTR) {
  }
  ready_write.Reset();
  char ready = 0;
  ssize_t size;
  do size = read(ready_read.get(), &ready, 1);
  while (size < 0 && errno == EINTR);
  if (size == 1) return true;
  PrintLogFrom(log_path, log_start);
  return false;
}

void FillStandardDescriptors() {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

int RunInstance(const RunOptions& options) {
  FillStandardDescriptors();
  return Starter(options).Run();
}

}  // namespace usl::manager
