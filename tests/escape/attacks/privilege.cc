// Privilege within the guest: what uid 1000 may not do to root there, by set-id programs, capabilities and tracing.
// Nothing here has a control: natively an ordinary user meets the host's own rules.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "attack.h"
#include "protocol/exec_plan.h"

namespace escape {
namespace {

// Lets a stopped tracee go on, with the signal that it stopped for; one that faults would do so forever without.
void Continue(pid_t tracee, int status) {
  const int signal = WSTOPSIG(status) & 0x7f;
  ptrace(PTRACE_CONT, tracee, nullptr, static_cast<long>(signal == SIGTRAP || status >> 16 ? 0 : signal));
}

// Starts the set-id copy of this program as `attacks privilege.probe HOW=...`, or what `file` is.
void ExecProbe(const std::string& file, const char* how) {
  char name[] = "probe", attack[] = "privilege.probe", variable[] = "LD_PRELOAD=/work/evil.so";
  std::string argument = std::string("how=") + how;
  char* argv[] = {name, attack, argument.data(), nullptr};
  char* environment[] = {variable, nullptr};
  execve(file.c_str(), argv, environment);
}

// What the set-id program finds: 10 = root and AT_SECURE, 11 = root without it, 12 = not root. `how` says for how long
// it stays.
Outcome Probe() {
  const bool secure = getauxval(AT_SECURE) != 0;
  if (Fact("how") == "wait") poll(nullptr, 0, 3000);
  if (Fact("how") == "caps") {
    uint32_t header[2] = {_LINUX_CAPABILITY_VERSION_3, 0}, data[6] = {};
    syscall(SYS_capget, header, data);
    _exit(data[0] || data[1] || data[3] || data[4] ? 11 : 12);
  }
  _exit(geteuid() == 0 ? (secure ? 10 : 11) : 12);
}
ESCAPE_ATTACK(Probe, "privilege.probe", kNone, "helper");

// It works at all, and says AT_SECURE so that ld.so ignores LD_PRELOAD.
Outcome SecureMode() {
  int status = InChild([] {
    ExecProbe(Fact("suid_program"), "");
    return 77;
  });
  if (status == 10) return Held("root with AT_SECURE");
  return Escaped("the set-id program ended with " + std::to_string(status));
}
ESCAPE_ATTACK(SecureMode, "privilege.secure_mode", kNone, "user");

Outcome Identity() {
  const gid_t root_group = 0;
  uint32_t header[2] = {_LINUX_CAPABILITY_VERSION_3, 0}, all[6] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
  if (setuid(0) == 0 || seteuid(0) == 0) return Escaped("setuid");
  if (setresuid(0, 0, 0) == 0 || setreuid(-1, 0) == 0) return Escaped("setresuid");
  if (setgid(0) == 0 || setresgid(0, 0, 0) == 0) return Escaped("setgid");
  if (setgroups(1, &root_group) == 0) return Escaped("setgroups");
  if (syscall(SYS_capset, header, all) == 0) return Escaped("capset");
  syscall(SYS_setfsuid, 0);
  if (open("/etc/shadow", O_RDONLY) >= 0) return Escaped("setfsuid");
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) == 0) return Escaped("PR_CAP_AMBIENT");
  if (prctl(PR_SET_SECUREBITS, 1) == 0) return Escaped("PR_SET_SECUREBITS");
  if (prctl(PR_CAPBSET_DROP, 0) == 0) return Escaped("PR_CAPBSET_DROP");
  if (chroot("/") == 0) return Escaped("chroot");
  if (sethostname("x", 1) == 0) return Escaped("sethostname");
  if (mknod("/tmp/node", S_IFCHR | 0666, 0x103) == 0) return Escaped("mknod");
  if (syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, nullptr) == 0) return Escaped("mount");
  return HeldErrno("all of them, the last");
}
ESCAPE_ATTACK(Identity, "privilege.identity", kNone, "user");

Outcome RootsFiles() {
  for (const char* path : {"/etc/shadow", "/etc/gshadow", "/root", "/root/private", "/etc/private"}) {
    int fd = open(path, O_RDONLY);
    if (fd >= 0) return Escaped(std::string("reads ") + path);
  }
  for (const char* path : {"/etc/passwd", "/etc/target"}) {
    if (open(path, O_WRONLY) >= 0) return Escaped(std::string("writes ") + path);
    if (chmod(path, 0666) == 0 || chown(path, getuid(), getgid()) == 0) return Escaped(std::string("owns ") + path);
    if (truncate(path, 0) == 0 || rename(path, "/tmp/x") == 0 || unlink(path) == 0)
      return Escaped(std::string("changes ") + path);
  }
  if (WriteFile("/etc/fresh", "x") || mkdir("/fresh", 0755) == 0) return Escaped("creates in root's directories");
  return HeldErrno("all of them, the last");
}
ESCAPE_ATTACK(RootsFiles, "privilege.roots_files", kNone, "user");

// The parent stays root, the child gives root up and turns on it.
Outcome RootsProcess() {
  const pid_t parent = getpid();
  int status = InChild([=] {
    if (setgid(1000) < 0 || setuid(1000) < 0 || getuid() != 1000) return 90;
    char text[64];
    rlimit64 limit{5, 5};
    iovec mine{text, sizeof text}, theirs{reinterpret_cast<void*>(0x400000), 64};
    const std::string base = "/proc/" + std::to_string(parent);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    if (kill(parent, SIGUSR1) == 0) return 1;
    if (kill(-getpgrp(), 0) == 0 && getpgrp() == parent) return 0;
    if (syscall(SYS_tgkill, parent, parent, SIGUSR1) == 0) return 2;
    if (ptrace(PTRACE_SEIZE, parent, nullptr, nullptr) == 0) return 3;
    if (process_vm_readv(parent, &mine, 1, &theirs, 1, 0) >= 0) return 4;
    if (process_vm_writev(parent, &mine, 1, &theirs, 1, 0) >= 0) return 5;
    if (syscall(SYS_prlimit64, parent, RLIMIT_NOFILE, &limit, nullptr) == 0) return 6;
    if (open((base + "/mem").c_str(), O_RDWR) >= 0 || open((base + "/environ").c_str(), O_RDONLY) >= 0) return 7;
    int pidfd = static_cast<int>(syscall(SYS_pidfd_open, parent, 0));
    if (pidfd >= 0 && syscall(SYS_pidfd_getfd, pidfd, 0, 0) >= 0) return 8;
    if (pidfd >= 0 && syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, nullptr, 0) == 0) return 9;
    if (setpriority(PRIO_PROCESS, static_cast<id_t>(parent), 5) == 0) return 10;
    if (sched_setaffinity(parent, sizeof cpus, &cpus) == 0) return 11;
    if (kill(1, SIGTERM) == 0 || ptrace(PTRACE_SEIZE, 1, nullptr, nullptr) == 0) return 12;
    return 0;
  });
  return status == 0 ? Held() : Escaped("way " + std::to_string(status));
}
ESCAPE_ATTACK(RootsProcess, "privilege.roots_process", kNone, "");

// Init is USL's own program: even root of the guest neither traces nor reads it.
Outcome TraceInit() {
  char text[64];
  iovec mine{text, sizeof text}, theirs{reinterpret_cast<void*>(0x400000), 64};
  for (pid_t pid : {1, getppid()}) {
    if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0 || ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) == 0)
      return Escaped("ptrace");
    if (process_vm_readv(pid, &mine, 1, &theirs, 1, 0) >= 0) return Escaped("process_vm_readv");
    int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    for (int fd = 0; fd < 16 && pidfd >= 0; ++fd) {
      if (syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0) return Escaped("pidfd_getfd of " + std::to_string(fd));
    }
    const std::string base = "/proc/" + std::to_string(pid);
    if (open((base + "/mem").c_str(), O_RDONLY) >= 0) return Escaped("/proc/1/mem");
    // Its standard input and output are /dev/null, and Linux's root may open those of any process.
    for (int fd = 2; fd < 16; ++fd) {
      for (int mode : {O_RDONLY, O_WRONLY}) {
        if (fd == 2 && mode == O_WRONLY) continue;  // the instance's own standard error
        if (open((base + "/fd/" + std::to_string(fd)).c_str(), mode | O_NONBLOCK) >= 0) return Escaped("/proc/1/fd");
      }
    }
  }
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 && getppid() == 1)
    return Escaped("PTRACE_TRACEME with init as tracer");
  return HeldErrno("ptrace");
}
ESCAPE_ATTACK(TraceInit, "privilege.trace_init", kNone, "view");

// Capabilities that uid 1000 writes on a file of its own.
Outcome FileCapabilities() {
  EnterWorkDirectory();
  int from = open(Fact("own_program").c_str(), O_RDONLY);
  int to = open("program", O_WRONLY | O_CREAT, 0755);
  char buffer[65536];
  for (ssize_t size; (size = read(from, buffer, sizeof buffer)) > 0;) write(to, buffer, static_cast<size_t>(size));
  const uint32_t value[5] = {0x02000001, ~0u, 0, 0xff, 0};
  fsetxattr(to, "security.capability", value, sizeof value, 0);
  setxattr("program", "security.capability", value, sizeof value, 0);
  setxattr("program", "user.security.capability", value, sizeof value, 0);
  fchmod(to, 06755);
  close(to);
  int status = InChild([] {
    ExecProbe("./program", "caps");
    return 77;
  });
  int identity = InChild([] {
    ExecProbe("./program", "");
    return 77;
  });
  if (status == 12 && identity == 12) return Held("no capability");
  return Escaped("status " + std::to_string(status) + ", " + std::to_string(identity));
}
ESCAPE_ATTACK(FileCapabilities, "privilege.file_capabilities", kNone, "user");

// A set-id bit on one's own file is that of its owner, also after a change of owner.
Outcome SetIdBits() {
  EnterWorkDirectory();
  WriteFile("mine", "x", 0755);
  struct stat status;
  chmod("mine", 04755);
  chown("mine", 0, 0);
  stat("mine", &status);
  if (status.st_uid == 0) return Escaped("chown to root");
  // Writing to a root's set-id program that is writable would clear the bits; making a link to it keeps the owner.
  if (link(Fact("suid_program").c_str(), "linked") == 0 && chmod("linked", 04777) == 0)
    return Escaped("chmod through a link");
  return Held();
}
ESCAPE_ATTACK(SetIdBits, "privilege.set_id_bits", kNone, "user");

// Traced from the start: no gain.
Outcome TracedFirst() {
  pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ExecProbe(Fact("suid_program"), "");
    _exit(77);
  }
  int status = 0;
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) Continue(child, status);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return code == 10 || code == 11 ? Escaped("a traced process became root") : Held("status " + std::to_string(code));
}
ESCAPE_ATTACK(TracedFirst, "privilege.traced_first", kNone, "user");

// The same by PTRACE_EVENT_EXEC, where the tracer looks at the new program before its first instruction.
Outcome TracedByEvent() {
  pid_t child = fork();
  if (child == 0) {
    raise(SIGSTOP);
    ExecProbe(Fact("suid_program"), "");
    _exit(77);
  }
  int status = 0, events = 0, looks = 0;
  if (waitpid(child, &status, WUNTRACED) != child || ptrace(PTRACE_SEIZE, child, nullptr, PTRACE_O_TRACEEXEC) < 0) {
    kill(child, SIGKILL);
    WaitStatus(child);
    return HeldErrno("PTRACE_SEIZE");
  }
  kill(child, SIGCONT);
  while (waitpid(child, &status, __WALL) == child && WIFSTOPPED(status)) {
    if (status >> 16 == PTRACE_EVENT_EXEC) {
      user_regs_struct registers{};
      ++events;
      looks += ptrace(PTRACE_GETREGS, child, nullptr, &registers) == 0;
    }
    Continue(child, status);
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code == 10 || code == 11) return Escaped("a traced process became root");
  return Held("status " + std::to_string(code) + ", " + std::to_string(events) + " events, " + std::to_string(looks) +
              " looks");
}
ESCAPE_ATTACK(TracedByEvent, "privilege.traced_by_event", kNone, "user");

// Root without dumpability once it runs: nothing of its memory and descriptors for its own starter.
Outcome RunningSetId() {
  pid_t child = fork();
  if (child == 0) {
    ExecProbe(Fact("suid_program"), "wait");
    _exit(77);
  }
  const std::string base = "/proc/" + std::to_string(child);
  std::string name;
  for (int i = 0; i < 200 && name.find("probe") == name.npos; ++i) {
    int fd = open((base + "/cmdline").c_str(), O_RDONLY);
    name = fd < 0 ? "" : ReadAll(fd);
    close(fd);
    poll(nullptr, 0, 5);
  }
  poll(nullptr, 0, 100);
  std::string how;
  char text[64];
  iovec mine{text, sizeof text}, theirs{reinterpret_cast<void*>(0x10000), 64};
  if (ptrace(PTRACE_SEIZE, child, nullptr, nullptr) == 0) how = "PTRACE_SEIZE";
  if (process_vm_readv(child, &mine, 1, &theirs, 1, 0) > 0) how = "process_vm_readv";
  if (process_vm_writev(child, &mine, 1, &theirs, 1, 0) > 0) how = "process_vm_writev";
  if (open((base + "/mem").c_str(), O_RDWR) >= 0) how = "/proc/PID/mem";
  if (open((base + "/environ").c_str(), O_RDONLY) >= 0) how = "/proc/PID/environ";
  if (open((base + "/fd/0").c_str(), O_RDONLY | O_NONBLOCK) >= 0) how = "/proc/PID/fd";
  int pidfd = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  if (pidfd >= 0 && syscall(SYS_pidfd_getfd, pidfd, 0, 0) >= 0) how = "pidfd_getfd";
  rlimit64 limit{0, 0};
  if (syscall(SYS_prlimit64, child, RLIMIT_FSIZE, &limit, nullptr) == 0) how = "prlimit";
  kill(child, SIGKILL);  // allowed: the real uid is still the caller's
  WaitStatus(child);
  return how.empty() ? HeldErrno("all of them, the last") : Escaped(how);
}
ESCAPE_ATTACK(RunningSetId, "privilege.running_set_id", kNone, "user");

// A tracer that seizes while the program starts. Traced and root at once is the escape.
Outcome SeizeRace() {
  const time_t end = time(nullptr) + 3;
  int rounds = 0, seized = 0, roots = 0;
  for (; time(nullptr) < end; ++rounds) {
    pid_t child = fork();
    if (child == 0) {
      ExecProbe(Fact("suid_program"), "");
      _exit(77);
    }
    Spin(static_cast<unsigned>(rounds % 64) * 20000);
    const bool traced = ptrace(PTRACE_SEIZE, child, nullptr, nullptr) == 0;
    seized += traced;
    int status = 0;
    // While it is traced an exec or signal stops it; its rights at the end tell.
    while (waitpid(child, &status, __WALL) == child && WIFSTOPPED(status)) Continue(child, status);
    const bool root = WIFEXITED(status) && (WEXITSTATUS(status) == 10 || WEXITSTATUS(status) == 11);
    roots += root;
    if (traced && root) return Escaped("traced root after " + std::to_string(rounds) + " rounds");
  }
  return Held(std::to_string(rounds) + " rounds, " + std::to_string(seized) + " seized, " + std::to_string(roots) +
              " root");
}
ESCAPE_ATTACK(SeizeRace, "privilege.seize_race", kNone, "user");

// Memory access that was allowed before the exec, and is carried out after it.
Outcome WriteRace() {
  const time_t end = time(nullptr) + 2;
  int rounds = 0;
  for (; time(nullptr) < end; ++rounds) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0) return HeldErrno("pipe");
    pid_t child = fork();
    if (child == 0) {
      ExecProbe(Fact("suid_program"), "");
      _exit(77);
    }
    close(ready[1]);
    // The program's own code: 0xc3 (return) in its place would crash it.
    char text[1] = {};
    iovec mine{text, 1}, theirs{const_cast<char*>(kMarker), 1};
    long reads = 0, status = 0;
    bool changed = false;
    while (waitpid(child, reinterpret_cast<int*>(&status), WNOHANG) == 0) {
      reads += process_vm_readv(child, &mine, 1, &theirs, 1, 0) == 1;
      char geteuid_is_root = 0;
      const std::string path = "/proc/" + std::to_string(child) + "/status";
      (void)geteuid_is_root;
      int fd = open(path.c_str(), O_RDONLY);
      if (fd < 0) continue;
      const std::string now = ReadAll(fd);
      close(fd);
      // Effective uid 0 before a read that still succeeds.
      if (now.find("\nUid:\t1000\t0\t") != now.npos && process_vm_readv(child, &mine, 1, &theirs, 1, 0) == 1)
        changed = true;
    }
    close(ready[0]);
    if (changed) return Escaped("memory of a running set-id program was read");
  }
  return Held(std::to_string(rounds) + " rounds");
}
ESCAPE_ATTACK(WriteRace, "privilege.memory_race", kNone, "user");

sigjmp_buf back;
volatile sig_atomic_t storm_is_here;

// The exec of a set-id program is left by a signal handler when all is checked; the process then lets itself be traced,
// and starts the loader by hand.
Outcome TraceAbandonedExec() {
  const time_t end = time(nullptr) + 3;
  int rounds = 0, abandoned = 0;
  for (; time(nullptr) < end; ++rounds) {
    pid_t child = fork();
    if (child == 0) {
      const pid_t self = getpid();
      signal(SIGUSR1, [](int) { storm_is_here = 1; });
      volatile int tries = 0;
      pid_t storm = fork();
      if (storm == 0) {
        for (int i = 0; i < 2000 && getppid() == self; ++i) {
          kill(self, SIGUSR1);
          Spin(static_cast<unsigned>(i % 50) * 1000);
        }
        _exit(0);
      }
      while (!storm_is_here) sched_yield();
      if (sigsetjmp(back, 1) != 0) tries = tries + 1;
      signal(SIGUSR1, [](int) { siglongjmp(back, 1); });
      if (tries < 5) ExecProbe(Fact("suid_program"), "");
      signal(SIGUSR1, SIG_IGN);
      kill(storm, SIGKILL);
      if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) < 0) _exit(78);
      char name[] = "probe", attack[] = "privilege.probe", how[] = "how=";
      char* argv[] = {name, attack, how, nullptr};
      char* none[] = {nullptr};
      syscall(SYS_execve, usl::protocol::kDefaultPicoBase, argv, none);
      _exit(79);
    }
    int status = 0;
    bool traced = false;
    while (waitpid(child, &status, __WALL) == child && WIFSTOPPED(status)) {
      traced = true;
      Continue(child, status);
    }
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    abandoned += traced || code >= 78;
    if (traced && (code == 10 || code == 11)) return Escaped("traced root after " + std::to_string(rounds) + " rounds");
  }
  return Held(std::to_string(rounds) + " rounds, " + std::to_string(abandoned) + " abandoned");
}
ESCAPE_ATTACK(TraceAbandonedExec, "privilege.trace_abandoned_exec", kNone, "user");

// An image that may be executed but not read: its tracer gets nothing of it.
Outcome UnreadableImage() {
  const std::string image = Fact("unreadable_program");
  if (open(image.c_str(), O_RDONLY) >= 0) return Escaped("it is readable");
  pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    char name[] = "program", word[] = "exit";
    char* argv[] = {name, word, nullptr};
    char* none[] = {nullptr};
    execve(image.c_str(), argv, none);
    _exit(77);
  }
  int status = 0;
  std::string how;
  // At every stop from the exec on: the loader's stops show nothing of the image, later ones would.
  for (int stop = 0; waitpid(child, &status, __WALL) == child && WIFSTOPPED(status); ++stop) {
    errno = 0;
    const long word = ptrace(PTRACE_PEEKDATA, child, 0x400000, nullptr);
    if (errno == 0 && (word & 0xffffffff) == 0x464c457f) how = "PTRACE_PEEKDATA";
    char text[8];
    iovec mine{text, 8}, theirs{reinterpret_cast<void*>(0x400000), 8};
    if (process_vm_readv(child, &mine, 1, &theirs, 1, 0) == 8 && memcmp(text, ELFMAG, 4) == 0) how = "process_vm_readv";
    int fd = open(("/proc/" + std::to_string(child) + "/mem").c_str(), O_RDONLY);
    if (fd >= 0 && pread(fd, text, 8, 0x400000) == 8 && memcmp(text, ELFMAG, 4) == 0) how = "/proc/PID/mem";
    close(fd);
    if (stop < 400) {
      ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
    } else {
      ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    }
    if (stop > 600) break;
  }
  kill(child, SIGKILL);
  waitpid(child, &status, __WALL);
  return how.empty() ? Held("nothing of it shows") : Escaped(how + " reads it");
}
ESCAPE_ATTACK(UnreadableImage, "privilege.unreadable_image", kNone, "user");

// PR_SET_DUMPABLE is virtual: a set-id program may not be made readable again from outside, nor by /proc/PID/exe.
Outcome ExecutableLink() {
  const std::string image = Fact("unreadable_program");
  pid_t child = fork();
  if (child == 0) {
    char name[] = "program", word[] = "wait";
    char* argv[] = {name, word, nullptr};
    char* none[] = {nullptr};
    execve(image.c_str(), argv, none);
    _exit(77);
  }
  poll(nullptr, 0, 200);
  Outcome outcome = Held("EACCES");
  for (const char* link : {"/exe", "/map_files", "/mem"}) {
    int fd = open(("/proc/" + std::to_string(child) + link).c_str(), O_RDONLY);
    if (fd < 0) continue;
    char text[8] = "";
    if (pread(fd, text, 8, 0) == 8 && memcmp(text, ELFMAG, 4) == 0) outcome = Escaped(std::string(link) + " reads it");
    close(fd);
  }
  kill(child, SIGKILL);
  WaitStatus(child);
  return outcome;
}
ESCAPE_ATTACK(ExecutableLink, "privilege.executable_link", kNone, "user");

}  // namespace
}  // namespace escape
