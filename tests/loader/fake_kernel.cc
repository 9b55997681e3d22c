#include "loader/fake_kernel.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>

#include "base/unique_fd.h"
#include "kernel/exec/elf.h"
#include "kernel/exec/plan.h"
#include "platform/loader/embedded.h"

namespace usl::loader_test {
namespace {

namespace exec = kernel::exec;
namespace loader = platform::loader;

[[noreturn]] void Throw(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

// The loader in a file of its own, as USL's runtime directory would hold it.
class LoaderFile {
 public:
  explicit LoaderFile(uint64_t base) {
    char directory[] = "/tmp/usl-loader-test-XXXXXX";
    if (mkdtemp(directory) == nullptr) Throw("mkdtemp");
    directory_ = directory;
    std::ostringstream name;
    name << directory_ << "/loader-" << std::hex << base;
    path_ = name.str();
    const auto image = loader::LoaderImage();
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(image.data()), image.size());
    chmod(directory_.c_str(), 0755);
    chmod(path_.c_str(), 0555);
  }
  ~LoaderFile() { std::filesystem::remove_all(directory_); }
  const std::string& path() const { return path_; }

 private:
  std::string directory_, path_;
};

UniqueFd MakePicoPage(const std::string& path) {
  UniqueFd fd(memfd_create("usl-pico", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto page = loader::PicoPage(path.c_str());
  if (write(fd.get(), page.data(), page.size()) != static_cast<ssize_t>(page.size())) Throw("pico page");
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) Throw("seal");
  UniqueFd reopened(open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!reopened) Throw("reopen");
  return reopened;
}

int InstallFilter(uint64_t base) {
  const auto low = static_cast<uint32_t>(base);
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0]) + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(code), .filter = code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Runs in the child: never returns.
[[noreturn]] void Child(const Start& start, const std::string& loader_path, int out, int tell, int wait) {
  auto argv = Pointers(start.argv);
  auto envp = Pointers(start.envp);
  dup2(out, 1);
  close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);  // whatever the test itself inherited
  auto* page = static_cast<char*>(mmap(reinterpret_cast<void*>(start.pico_base), 4096, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  if (page == MAP_FAILED) _exit(100);
  strcpy(page, loader_path.c_str());
  const int listener = InstallFilter(start.pico_base);
  char go;
  if (listener < 0 || write(tell, &listener, sizeof(listener)) != sizeof(listener) || read(wait, &go, 1) != 1) {
    _exit(101);
  }
  syscall(SYS_execve, page, argv.data(), envp.data());
  _exit(102);
}

class FakeKernel {
 public:
  FakeKernel(const Start& start, pid_t pid, UniqueFd listener, UniqueFd pico, Outcome& outcome)
      : start_(start),
        pid_(pid),
        listener_(std::move(listener)),
        pico_(std::move(pico)),
        outcome_(outcome),
        program_(start.program) {}

  void Serve() {
    for (;;) {
      pollfd event{.fd = listener_.get(), .events = POLLIN, .revents = 0};
      if (poll(&event, 1, 30'000) <= 0) Throw("the guest hangs");
      if (!(event.revents & POLLIN)) return;
      seccomp_notif call{};
      if (ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
      const uint64_t path = call.data.args[0];
      long answer = -EPERM;
      if (call.data.nr == SYS_execve && path == start_.pico_base + protocol::kHypercallOffset) {
        answer = Plan(call);
      } else if (call.data.nr == SYS_execve && path == start_.pico_base + loader::kStubHypercallOffset) {
        ++outcome_.stub_calls;
        Poke(patched_at_, saved_);
        program_ = start_.stub_program;
        answer = start_.stub_answer;
      } else {
        // A traced task's exec: its next instructions become a jump to the stub.
        patched_at_ = call.data.instruction_pointer;
        saved_.resize(loader::kStubJumpSize);
        if (pread(Memory().get(), saved_.data(), saved_.size(), static_cast<off_t>(patched_at_)) < 0) Throw("mem");
        const auto jump = loader::StubJump(start_.pico_base);
        Poke(patched_at_, {jump.begin(), jump.end()});
        answer = 0;
      }
      seccomp_notif_resp reply{.id = call.id, .val = answer, .error = 0, .flags = 0};
      if (answer < 0) reply.val = 0, reply.error = static_cast<int>(answer);
      ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &reply);
    }
  }

 private:
  UniqueFd Memory() const { return UniqueFd(open(("/proc/" + std::to_string(pid_) + "/mem").c_str(), O_RDWR)); }
  void Poke(uint64_t address, const std::vector<std::byte>& bytes) {
    if (pwrite(Memory().get(), bytes.data(), bytes.size(), static_cast<off_t>(address)) < 0) Throw("poke");
  }

  int Donate(const seccomp_notif& call, int fd) {
    seccomp_notif_addfd add{
        .id = call.id, .flags = 0, .srcfd = static_cast<uint32_t>(fd), .newfd = 0, .newfd_flags = O_CLOEXEC};
    const int number = ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    if (number < 0) Throw("ADDFD");
    return number;
  }

  Result<exec::ElfImage> Load(const seccomp_notif& call, const std::string& path, exec::ElfRole role, uint64_t random,
                              protocol::ExecImage& out) {
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return FailErrno();
    const auto read = [&](uint64_t offset, std::span<std::byte> to) -> Result<size_t> {
      const ssize_t got = pread(fd.get(), to.data(), to.size(), static_cast<off_t>(offset));
      if (got < 0) return FailErrno();
      return static_cast<size_t>(got);
    };
    std::vector<std::byte> first(256);
    first.resize(USL_TRY(read(0, first)));
    exec::ElfImage image = USL_TRY(exec::ParseElf(first, read, role));
    USL_TRY_VOID(exec::FillImage(image, start_.pico_base, exec::ChooseHint(image, random), out));
    if (!exec::IsWellFormed(out)) return Fail(EBADMSG);
    out.fd = Donate(call, fd.get());
    return image;
  }

  Result<> MakePlan(const seccomp_notif& call, protocol::ExecPlan& plan) {
    exec::NewPlan(plan);
    const auto image =
        USL_TRY(Load(call, program_, exec::ElfRole::kProgram, std::random_device()() * 3ull, plan.image));
    if (image.interpreter) {
      USL_TRY_VOID(Load(call, *image.interpreter, exec::ElfRole::kInterpreter, 0, plan.interpreter));
    }
    if (image.executable_stack) plan.flags |= protocol::kPlanExecutableStack;
    USL_TRY_VOID(exec::SetExecfn(plan, start_.execfn));
    USL_TRY_VOID(exec::SetPrefix(plan, start_.prefix, start_.drop));
    for (const auto& patch : start_.aux) USL_TRY_VOID(exec::AddAux(plan, patch.type, patch.value));
    exec::SetComm(plan, start_.execfn);
    plan.pico_fd = Donate(call, pico_.get());
    return {};
  }

  long Plan(const seccomp_notif& call) {
    ++outcome_.hypercalls;
    if (call.data.args[2] != sizeof(protocol::ExecPlan)) return -EINVAL;
    auto plan = std::make_unique<protocol::ExecPlan>();
    if (const auto made = MakePlan(call, *plan); !made) return -made.error().code();
    if (start_.change_plan) start_.change_plan(*plan);
    iovec local{plan.get(), sizeof(*plan)};
    iovec remote{reinterpret_cast<void*>(call.data.args[1]), sizeof(*plan)};
    return process_vm_writev(pid_, &local, 1, &remote, 1, 0) == sizeof(*plan) ? 0 : -EFAULT;
  }

  const Start& start_;
  pid_t pid_;
  UniqueFd listener_, pico_;
  Outcome& outcome_;
  std::string program_;
  uint64_t patched_at_ = 0;
  std::vector<std::byte> saved_;
};

struct Pipe {
  UniqueFd read, write;
  Pipe() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) Throw("pipe");
    read = UniqueFd(fds[0]);
    write = UniqueFd(fds[1]);
  }
};

}  // namespace

Outcome RunGuest(const Start& start) {
  const LoaderFile file(start.pico_base);
  UniqueFd pico = MakePicoPage(file.path());
  Pipe out, tell, wait;
  const pid_t pid = fork();
  if (pid == 0) Child(start, file.path(), out.write.get(), tell.write.get(), wait.read.get());
  out.write.Reset();
  tell.write.Reset();

  Outcome outcome;
  int number = -1;
  if (read(tell.read.get(), &number, sizeof(number)) == sizeof(number)) {
    const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    UniqueFd listener(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), number, 0)));
    if (!listener) Throw("pidfd_getfd");
    if (write(wait.write.get(), "g", 1) != 1) Throw("go");
    FakeKernel(start, pid, std::move(listener), std::move(pico), outcome).Serve();
  }
  char buffer[4096];
  for (ssize_t n; (n = read(out.read.get(), buffer, sizeof(buffer))) > 0;) outcome.output.append(buffer, n);
  waitpid(pid, &outcome.status, 0);
  std::istringstream lines(outcome.output);
  for (std::string line; std::getline(lines, line);) {
    if (const size_t equals = line.find('='); equals != line.npos) {
      outcome.values[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  return outcome;
}

}  // namespace usl::loader_test
