#include "manager/kernel_process.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/format.h"
#include "base/log.h"
#include "fs/tmpfs.h"
#include "init/image.h"
#include "kernel/exec_service.h"
#include "kernel/instance_limits.h"
#include "kernel/kernel.h"
#include "manager/boot_config.h"
#include "manager/guest_tree.h"
#include "manager/host_paths.h"
#include "manager/interop_server.h"
#include "manager/session.h"
#include "manager/session_front.h"
#include "manager/supervisor.h"
#include "manager/trace_lines.h"
#include "net/net_service.h"
#include "platform/bpf_evaluator.h"
#include "platform/child_setup.h"
#include "platform/filter.h"
#include "platform/launch.h"
#include "platform/supervisor_tree.h"
#include "protocol/control_socket.h"
#include "syscalls/bindings.h"

namespace usl::manager {
namespace {

// Whom pico processes run as when root started USL: nobody, who owns nothing.
constexpr uid_t kNobody = 65534;

class KernelProcess {
 public:
  explicit KernelProcess(KernelProcessInputs inputs) : inputs_(std::move(inputs)), options_(*inputs_.options) {}

  [[noreturn]] void Run() {
    PrepareProcess();
    MakeKernel();
    Launch();
    if (inputs_.channel) {
      HandBootPlanOver();
    } else {
      HandSessionOver();
    }
    if (started_by_root_) KeepFileCapabilities();
    Serve();
  }

 private:
  // Tells the user and ends; the supervisor cleans up.
  [[noreturn]] void GiveUp(const std::string& why) {
    const std::string where = options_.IsHostView()     ? "the view of this machine"
                              : !options_.image.empty() ? "\"" + options_.image + "\""
                                                        : "\"" + options_.rootfs + "\"";
    fprintf(stderr, "usl: cannot start %s: %s\n", where.c_str(), why.c_str());
    Tell(kStatusReported);
    _exit(kOwnFailure);
  }

  template <typename T>
  T Need(Result<T> result, const char* what) {
    if (!result) GiveUp(format("{}: {}", what, ErrorText(result.error().code())));
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }

  void Tell(char status) { [[maybe_unused]] const ssize_t written = write(inputs_.status.get(), &status, 1); }

  // Its own session, so that the terminal's signals reach the supervisor only; no hold on the session's descriptors.
  void PrepareProcess() {
    UnblockSignals();
    setsid();
    for (const int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) std::signal(signal, SIG_IGN);
    prctl(PR_SET_NAME, "usl-kernel");
    for (int i = 0; i < 3 && !inputs_.channel; ++i) {
      stdio_[i].Reset(fcntl(inputs_.stdio[i], F_DUPFD_CLOEXEC, 10));
      if (!stdio_[i]) stdio_[i].Reset(open("/dev/null", O_RDWR | O_CLOEXEC));
    }
    // Afterwards: the pty's one slave stands there up to three times.
    if (inputs_.terminal) close(inputs_.stdio[0]);
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    dup2(null.get(), STDIN_FILENO);
    dup2(null.get(), STDOUT_FILENO);
    current_directory_ = options_.current_directory;
    // Nothing of the host's is kept busy, and no relative path of the kernel's own means anything of the user's.
    if (chdir(inputs_.runtime->EmptyPath().c_str()) < 0) GiveUp("cannot enter the run-time directory");
    user_umask_ = umask(0);
    Need(platform::BecomeSubreaper(), "cannot become a subreaper");
    guest_files_ = Need(platform::RaiseFileLimit(), "cannot raise the limit of open files");
  }

  void MakeKernel() {
    pico_.emplace(Need(platform::PicoPage::Create(inputs_.runtime->LoaderPath()), "cannot make the pico page"));
    kernel::KernelOptions options{.runtime_directory = inputs_.runtime->path(),
                                  .pico_base = pico_->base(),
                                  .pico_fd = pico_->fd(),
                                  .network = options_.network,
                                  .confined_by_host = UseLandlock() && platform::LandlockAbi() >= 6,
                                  .release = {},
                                  .fast_path = !options_.trace,
                                  .max_tasks = options_.max_tasks,
                                  .max_memory = options_.max_memory,
                                  .cpus = LimitCpus(),
                                  .served_calls = inputs_.served_calls};
    auto vfs = Need(vfs::Vfs::Create(inputs_.runtime->path()), "cannot make the run-time files");
    // Never destroyed: the process ends with _exit while workers still sit in the host's kernel.
    kernel_ = new kernel::Kernel(std::move(options), std::move(vfs), syscalls::MakeHandlers());
    for (const std::string& port : options_.publish) {
      if (!net::NetService::Of(*kernel_).ports().Publish(port)) GiveUp(format("cannot publish \"{}\"", port));
    }
    net::NetworkPolicy& policy = net::NetService::Of(*kernel_).policy();
    if (options_.restrict_out) policy.AllowOutgoing(options_.allow_out);
    if (options_.restrict_in) policy.AllowListening(options_.allow_in);
    std::string why;
    const TreeInputs inputs{.options = options_,
                            .upper = inputs_.changes ? inputs_.changes->UpperPath() : "",
                            .current_directory = current_directory_};
    auto tree = BuildGuestTree(*kernel_, inputs, &why);
    if (!tree) GiveUp(why);
    tree_ = std::move(*tree);
    StartInterop();
    if (options_.trace) StartTrace();
  }

  // Some of the processors that this process may use, from a random one on; guests inherit them. None: all.
  std::optional<platform::CpuMask> LimitCpus() {
    if (!options_.cpus) return std::nullopt;
    platform::CpuMask usable{}, chosen{};
    if (syscall(SYS_sched_getaffinity, 0, sizeof usable, usable.data()) < 0) GiveUp("cannot ask for the processors");
    std::vector<size_t> numbers;
    for (size_t i = 0; i < usable.size() * 64; ++i) {
      if (usable[i / 64] >> (i % 64) & 1) numbers.push_back(i);
    }
    if (*options_.cpus >= numbers.size()) return usable;
    const size_t first = static_cast<size_t>(getpid()) % numbers.size();
    for (size_t i = 0; i < *options_.cpus; ++i) {
      const size_t number = numbers[(first + i) % numbers.size()];
      chosen[number / 64] |= uint64_t{1} << (number % 64);
    }
    if (syscall(SYS_sched_setaffinity, 0, sizeof chosen, chosen.data()) < 0) GiveUp("cannot choose the processors");
    return chosen;
  }

  void StartInterop() {
    if (tree_.interop_directory.empty()) return;
    std::string why;
    const InteropOptions interop{.policy = tree_.config.interop(),
                                 .allow = tree_.config.List("interop.allow"),
                                 .directory = tree_.interop_directory,
                                 .paths = tree_.paths,
                                 .ssh_agent = tree_.ssh_agent,
                                 .umask = user_umask_};
    if (!StartInteropServer(interop, &why)) GiveUp(format("interop: {}", why));
  }

  bool UseLandlock() const { return inputs_.runtime->loader_is_file(); }

  platform::FilterOptions Filter(bool trace) const {
    return {.pico_base = pico_->base(),
            .trace_all = trace,
            .network_none = !options_.network,
            .network_listed = options_.restrict_out || options_.restrict_in};
  }

  void StartTrace() {
    UniqueFd output(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10));
    if (!options_.trace_file.empty()) {
      const std::string path =
          options_.trace_file[0] == '/' ? options_.trace_file : current_directory_ + "/" + options_.trace_file;
      output.Reset(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
      if (!output) GiveUp(format("cannot write the trace to \"{}\": {}", path, ErrorText(errno)));
    }
    auto plain = platform::BuildFilter(Filter(false));
    kernel_->SetTrace(new TraceLines(std::move(output)), [plain](const platform::Notification& notification) {
      seccomp_data call{.nr = notification.nr,
                        .arch = AUDIT_ARCH_X86_64,
                        .instruction_pointer = notification.instruction_pointer,
                        .args = {}};
      for (size_t i = 0; i < notification.args.size(); ++i) call.args[i] = notification.args[i];
      return platform::RunCheckedBpf(plain, call) == SECCOMP_RET_ALLOW;
    });
  }

  void Launch() {
    platform::LaunchOptions launch;
    launch.pico = &*pico_;
    launch.filter = platform::BuildFilter(Filter(options_.trace));
    launch.filter_notifies_all = options_.trace;
    launch.argv = {"init", protocol::kInitOwnsInstance};
    launch.stdio = {inputs_.init_control.get(), -1, STDERR_FILENO};
    launch.empty_dir = inputs_.runtime->EmptyPath();
    launch.nofile = guest_files_;
    launch.data = options_.max_memory;
    launch.landlock = UseLandlock();
    launch.loader_path = inputs_.runtime->LoaderPath();
    if (started_by_root_) launch.uid = launch.gid = kNobody;
    std::string why;
    auto launched = platform::LaunchFirstProcess(launch, &why);
    if (!launched) GiveUp(why);
    launched_.emplace(std::move(*launched));
    inputs_.init_control.Reset();
    // With the guests' real ids prlimit, ptrace and kill reach them even where root lacks CAP_SYS_RESOURCE or
    // CAP_SYS_PTRACE, as in many containers. The effective ids, by which files are opened, stay root's.
    if (started_by_root_ && (setresgid(kNobody, 0, 0) < 0 || setresuid(kNobody, 0, 0) < 0)) {
      GiveUp(format("cannot take the guests' real ids: {}", ErrorText(errno)));
    }

    auto fs = MakeRef<kernel::FsContext>();
    fs->root = fs->cwd = tree_.root;
    fs->mounts = tree_.mounts;
    fs->root_context = fs->cwd_context = 1;
    auto uts = MakeRef<kernel::UtsNames>();
    uts->node_name = tree_.host_name;
    if (options_.max_memory) {
      Need(kernel_->Extension<kernel::InstanceLimits>().WatchMemory(), "cannot watch the guests' memory");
    }
    const auto task = Need(kernel_->tasks().AddFirst(launched_->pid, cred::RootCredentials(), fs, uts),
                           "cannot take the first process over");
    UniqueFd image(memfd_create("usl-init", MFD_CLOEXEC));
    const auto bytes = init::InitImage();
    if (!image || write(image.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      GiveUp(format("cannot place the guest's init in memory: {}", ErrorText(errno)));
    }
    Need(kernel_->exec().PrepareFirst(*task, std::move(image), "/init"), "cannot start the guest's init");
  }

  void HandSessionOver() {
    const GuestView view{kernel_->vfs(), tree_.root};
    std::string why = "cannot make the session";
    const auto request = MakeSession({options_, tree_.user, tree_.config.umask(), tree_.environment}, view,
                                     inputs_.terminal, current_directory_, &why);
    if (!request) GiveUp(why);
    ShowTerminals(request->uid);
    const auto payload = Need(protocol::EncodeLaunch(*request), "cannot pass the command and its environment on");
    const UniqueFd memory(memfd_create("usl-launch", MFD_CLOEXEC));
    if (!memory || write(memory.get(), payload.data(), payload.size()) != static_cast<ssize_t>(payload.size())) {
      GiveUp(format("cannot pass the command on: {}", ErrorText(errno)));
    }
    const int fds[] = {stdio_[0].get(), stdio_[1].get(), stdio_[2].get(), memory.get()};
    Need(protocol::SendControl(inputs_.control.get(), {protocol::MessageType::kLaunch, kMainSession, 0, payload.size()},
                               fds),
         "cannot reach the guest's init");
    inputs_.control.Reset();
    for (UniqueFd& fd : stdio_) fd.Reset();
    Tell(kStatusStarted);
    inputs_.status.Reset();
  }

  void HandBootPlanOver() {
    inputs_.control.Reset();
    const GuestView view{kernel_->vfs(), tree_.root};
    const auto payload = Need(protocol::EncodeBootPlan(MakeBootPlan(tree_, view)), "cannot pass the boot plan on");
    Need(protocol::SendPayload(inputs_.channel.get(), {protocol::MessageType::kBoot, 0, 0, 0}, payload),
         "cannot reach the supervisor");
    Tell(kStatusStarted);
    inputs_.status.Reset();
    kernel_->Watch(inputs_.channel.get(), EPOLLIN, [this](uint32_t) { OnChannel(); });
  }

  // The supervisor asks for terminals of new sessions.
  void OnChannel() {
    const auto received = protocol::ReceiveControl(inputs_.channel.get());
    if (!received) {
      if (received.error().code() != EAGAIN) kernel_->Unwatch(inputs_.channel.get());  // it ended: so does the lifeline
      return;
    }
    if (received->message.type != protocol::MessageType::kAddTerminal) return;
    // The guest's root owns it until init knows whose session it is.
    if (auto added = tree_.devpts->AddTerminal(received->fds[0].get(), 0, true); !added) {
      Log(LogLevel::kWarning, "a session's terminal has no name in the guest: {}", ErrorText(added.error().code()));
    }
    (void)protocol::SendControl(inputs_.channel.get(),
                                {protocol::MessageType::kTerminalAdded, received->message.session, 0, 0});
  }

  // The session's terminals exist in the guest's /dev/pts: its own pty, or the user's where that was handed through.
  void ShowTerminals(uid_t owner) {
    for (const UniqueFd& fd : stdio_) {
      if (!isatty(fd.get())) continue;
      if (auto added = tree_.devpts->AddTerminal(fd.get(), owner, inputs_.terminal); !added) {
        Log(LogLevel::kWarning, "the session's terminal has no name in the guest: {}", ErrorText(added.error().code()));
      }
      if (inputs_.terminal) return;
    }
  }

  // Started by root: what serving files, tracing and signalling other users' processes needs, and nothing else.
  void KeepFileCapabilities() {
    constexpr int kKept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,          CAP_FSETID,
                             CAP_KILL,  CAP_SYS_PTRACE,   CAP_SYS_RESOURCE,    CAP_NET_BIND_SERVICE};
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {}, kept[2] = {};
    syscall(SYS_capget, &header, data);
    for (const int capability : kKept) kept[capability / 32].permitted |= 1u << (capability % 32);
    for (int i = 0; i < 2; ++i) data[i].effective = data[i].permitted &= kept[i].permitted, data[i].inheritable = 0;
    if (syscall(SYS_capset, &header, data) < 0) {
      Log(LogLevel::kWarning, "cannot drop root's capabilities: {}", ErrorText(errno));
    }
  }

  [[noreturn]] void Serve() {
    bool supervisor_gone = false;
    kernel_->Watch(inputs_.lifeline.get(), EPOLLIN, [&](uint32_t) {
      supervisor_gone = true;
      kernel_->Unwatch(inputs_.lifeline.get());
      kernel_->Stop();
    });
    kernel_->Serve(std::move(launched_->listener));
    if (kernel_->halted()) {
      // Now, and not when the supervisor does it: without a kernel their calls would go on with ENOSYS.
      platform::KillDescendants();
      _exit(kHalted);
    }
    if (supervisor_gone) {
      // Nobody else is left to do it.
      platform::KillDescendants();
      fs::RemoveTmpFsLeftovers(inputs_.runtime->path(), getpid());
      inputs_.runtime->TakeOver();
      inputs_.runtime->Remove();
      if (inputs_.changes) inputs_.changes->TakeOver(), inputs_.changes->Remove();
    }
    _exit(0);
  }

  KernelProcessInputs inputs_;
  const RunOptions& options_;
  const bool started_by_root_ = getuid() == 0;
  UniqueFd stdio_[3];
  std::string current_directory_;
  rlimit guest_files_{};
  mode_t user_umask_ = 022;
  std::optional<platform::PicoPage> pico_;
  kernel::Kernel* kernel_ = nullptr;
  GuestTree tree_;
  std::optional<platform::LaunchedInit> launched_;
};

}  // namespace

void RunKernelProcess(KernelProcessInputs inputs) {
  KernelProcess(std::move(inputs)).Run();
}

}  // namespace usl::manager
