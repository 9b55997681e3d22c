// ptrace(2): the stop that a tracer sees at execve(2).
#include <elf.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cstring>
#include <map>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

// A position-independent program with an interpreter, everywhere.
constexpr char kProgram[] = "/bin/true";

// A child that stops itself, then executes kProgram with SIGUSR1 blocked and SIGUSR2 not.
class ExecStop : public testing::Test {
 protected:
  void Start(bool trace_me) {
    pid_ = fork();
    if (pid_ != 0) return;
    if (trace_me) ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    raise(SIGSTOP);
    char* const argv[] = {const_cast<char*>("program"), nullptr};
    char* const envp[] = {nullptr};
    execve(kProgram, argv, envp);
    _exit(99);
  }
  void TearDown() override {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, __WALL);
    }
  }
  int Wait() const {
    int status = -1;
    EXPECT_THAT(waitpid(pid_, &status, __WALL), SyscallSucceeds());
    return status;
  }
  // waitpid's status of a stop by `signal` with `event`.
  static int Stopped(int signal, int event = 0) { return (event << 16) | (signal << 8) | 0x7f; }

  std::string Proc(const std::string& name) const { return "/proc/" + std::to_string(pid_) + "/" + name; }
  uint64_t Peek(uint64_t address) const {
    errno = 0;
    const long word = ptrace(PTRACE_PEEKDATA, pid_, address, nullptr);
    EXPECT_EQ(errno, 0) << std::hex << address;
    return static_cast<uint64_t>(word);
  }
  std::map<uint64_t, uint64_t> AuxiliaryVector() const {
    const std::string bytes = ReadFile(Proc("auxv"));
    std::map<uint64_t, uint64_t> vector;
    for (size_t at = 0; at + sizeof(Elf64_auxv_t) <= bytes.size(); at += sizeof(Elf64_auxv_t)) {
      Elf64_auxv_t entry;
      memcpy(&entry, bytes.data() + at, sizeof entry);
      vector[entry.a_type] = entry.a_un.a_val;
    }
    return vector;
  }
  // Everything by which a debugger finds its way in a new program.
  void ExpectNewProgram() const {
    char executable[256] = {}, expected[256] = {};
    ASSERT_THAT(readlink(Proc("exe").c_str(), executable, sizeof executable - 1), SyscallSucceeds());
    ASSERT_NE(realpath(kProgram, expected), nullptr);
    EXPECT_STREQ(executable, expected);

    user_regs_struct registers{};
    ASSERT_THAT(ptrace(PTRACE_GETREGS, pid_, nullptr, &registers), SyscallSucceeds());
    auto vector = AuxiliaryVector();
    ASSERT_NE(vector[AT_BASE], 0u);
    EXPECT_EQ(Peek(vector[AT_BASE]) & 0xffffffff, 0x464c457fu);  // "\177ELF"
    // Where the interpreter's header says that it starts.
    EXPECT_EQ(registers.rip, vector[AT_BASE] + Peek(vector[AT_BASE] + offsetof(Elf64_Ehdr, e_entry)));
    EXPECT_EQ(Peek(vector[AT_PHDR]) & 0xffffffff, static_cast<uint64_t>(PT_PHDR));
    // The program headers tell where they are linked to, and so where the program is.
    const uint64_t base = vector[AT_PHDR] - Peek(vector[AT_PHDR] + offsetof(Elf64_Phdr, p_vaddr));
    EXPECT_EQ(vector[AT_ENTRY], base + Peek(base + offsetof(Elf64_Ehdr, e_entry)));
    char line[32];
    snprintf(line, sizeof line, "%lx-", static_cast<unsigned long>(base));
    EXPECT_NE(ReadFile(Proc("maps")).find(line), std::string::npos);
    EXPECT_EQ(registers.rsp % 16, 0u);
    EXPECT_EQ(Peek(registers.rsp), 1u);  // argc
    for (uint64_t value : {registers.rbx, registers.rcx, registers.rdx, registers.rdi, registers.rsi, registers.rbp,
                           registers.r8, registers.r10, registers.r11, registers.r15}) {
      EXPECT_EQ(value, 0u);
    }
    EXPECT_NE(ReadFile(Proc("status")).find("\nSigBlk:\t0000000000000200\n"), std::string::npos)
        << ReadFile(Proc("status"));
    EXPECT_EQ(ReadFile(Proc("comm")), "true\n");
    EXPECT_EQ(ReadFile(Proc("cmdline")), std::string("program", 8));
  }
  void ExpectItRuns() {
    ASSERT_THAT(ptrace(PTRACE_CONT, pid_, nullptr, nullptr), SyscallSucceeds());
    const int status = Wait();
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << std::hex << status;
    pid_ = -1;
  }
  void SeizeStopped(long options) {
    Start(false);
    int status;
    ASSERT_THAT(waitpid(pid_, &status, WUNTRACED), SyscallSucceeds());
    ASSERT_THAT(ptrace(PTRACE_SEIZE, pid_, nullptr, options), SyscallSucceeds());
    ASSERT_THAT(kill(pid_, SIGCONT), SyscallSucceeds());
    // The stops of a group stop that ends and of SIGCONT itself, in whatever number.
    while ((status = Wait()) != Stopped(SIGCONT)) {
      ASSERT_TRUE(WIFSTOPPED(status));
      ASSERT_THAT(ptrace(PTRACE_CONT, pid_, nullptr, nullptr), SyscallSucceeds());
    }
  }

  pid_t pid_ = -1;
};

TEST_F(ExecStop, OfATracerWithoutOptionsIsASigtrap) {
  Start(true);
  ASSERT_EQ(Wait(), Stopped(SIGSTOP));
  ASSERT_THAT(ptrace(PTRACE_CONT, pid_, nullptr, nullptr), SyscallSucceeds());
  ASSERT_EQ(Wait(), Stopped(SIGTRAP));
  ExpectNewProgram();
  ExpectItRuns();
}

TEST_F(ExecStop, IsAnEventWhereItIsAskedFor) {
  SeizeStopped(PTRACE_O_TRACEEXEC);
  ASSERT_THAT(ptrace(PTRACE_CONT, pid_, nullptr, nullptr), SyscallSucceeds());
  ASSERT_EQ(Wait(), Stopped(SIGTRAP, PTRACE_EVENT_EXEC));
  unsigned long former = 0;
  ASSERT_THAT(ptrace(PTRACE_GETEVENTMSG, pid_, nullptr, &former), SyscallSucceeds());
  EXPECT_EQ(former, static_cast<unsigned long>(pid_));
  ExpectNewProgram();
  ExpectItRuns();
}

// What only wants to go on does.
TEST_F(ExecStop, NeedsNoLook) {
  SeizeStopped(PTRACE_O_TRACEEXEC);
  ASSERT_THAT(ptrace(PTRACE_CONT, pid_, nullptr, nullptr), SyscallSucceeds());
  ASSERT_EQ(Wait(), Stopped(SIGTRAP, PTRACE_EVENT_EXEC));
  ExpectItRuns();
}

TEST_F(ExecStop, CanBeTheLastThingSeen) {
  SeizeStopped(PTRACE_O_TRACEEXEC);
  ASSERT_THAT(ptrace(PTRACE_CONT, pid_, nullptr, nullptr), SyscallSucceeds());
  ASSERT_EQ(Wait(), Stopped(SIGTRAP, PTRACE_EVENT_EXEC));
  ASSERT_THAT(ptrace(PTRACE_DETACH, pid_, nullptr, nullptr), SyscallSucceeds());
  const int status = Wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << std::hex << status;
  pid_ = -1;
}

// What gdb asks for, so that addresses are the same at every run.
TEST_F(ExecStop, HasTheSameAddressesWithoutRandomization) {
  uint64_t entries[2] = {};
  for (uint64_t& entry : entries) {
    const int former = personality(0xffffffff);
    ASSERT_THAT(personality(former | ADDR_NO_RANDOMIZE), SyscallSucceeds());
    Start(true);
    personality(former);
    ASSERT_EQ(Wait(), Stopped(SIGSTOP));
    ASSERT_THAT(ptrace(PTRACE_CONT, pid_, nullptr, nullptr), SyscallSucceeds());
    ASSERT_EQ(Wait(), Stopped(SIGTRAP));
    entry = AuxiliaryVector()[AT_ENTRY];
    ExpectItRuns();
  }
  EXPECT_EQ(entries[0], entries[1]);
}

// From the event a tracer of system calls gets to the end of execve, and from there to the first call of the new
// program.
TEST_F(ExecStop, StandsBetweenTheCallsOfTheOldAndTheNewProgram) {
  SeizeStopped(PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD);
  ASSERT_THAT(ptrace(PTRACE_CONT, pid_, nullptr, nullptr), SyscallSucceeds());
  ASSERT_EQ(Wait(), Stopped(SIGTRAP, PTRACE_EVENT_EXEC));
  __ptrace_syscall_info info{};
  ASSERT_THAT(ptrace(PTRACE_SYSCALL, pid_, nullptr, nullptr), SyscallSucceeds());
  ASSERT_EQ(Wait(), Stopped(SIGTRAP | 0x80));
  ASSERT_THAT(ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof info, &info), SyscallSucceeds());
  EXPECT_EQ(info.op, PTRACE_SYSCALL_INFO_EXIT);
  EXPECT_EQ(info.exit.rval, 0);
  ASSERT_THAT(ptrace(PTRACE_SYSCALL, pid_, nullptr, nullptr), SyscallSucceeds());
  ASSERT_EQ(Wait(), Stopped(SIGTRAP | 0x80));
  ASSERT_THAT(ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof info, &info), SyscallSucceeds());
  EXPECT_EQ(info.op, PTRACE_SYSCALL_INFO_ENTRY);
  EXPECT_EQ(info.entry.nr, static_cast<uint64_t>(SYS_brk));  // ld.so's first
  ExpectItRuns();
}

}  // namespace
}  // namespace usl::conformance
