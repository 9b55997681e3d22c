// exec: host programs by path, descriptor, `#!` and PT_INTERP; races; USL's own loader and its hypercall.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "attack.h"
#include "protocol/exec_plan.h"

namespace escape {
namespace {

char* kNoArguments[] = {nullptr};

// Exit status of a program that the child becomes; 77 where exec fails. The host's program ends with 1.
int StatusOfExec(const std::function<void(char** argv)>& exec) {
  return InChild([&] {
    char name[] = "program";
    char* argv[] = {name, nullptr};
    exec(argv);
    return errno == 0 ? 78 : 77;
  });
}

Outcome JudgeStatus(int status, const std::string& how) {
  return status == 1 ? Escaped(how + " ran a host program") : Held(how + ": status " + std::to_string(status));
}

Outcome ByPath() {
  EnterWorkDirectory();
  const std::string program = Fact("host_program");
  symlink(program.c_str(), "link");
  int here = open(".", O_RDONLY | O_DIRECTORY);
  auto try_exec = [](const std::string& how, const std::function<void(char**)>& exec) {
    return JudgeStatus(StatusOfExec(exec), how);
  };
  return FirstEscape(
      {[&] { return try_exec("execve", [&](char** argv) { execve(program.c_str(), argv, kNoArguments); }); },
       [&] { return try_exec("execve of a symlink", [&](char** argv) { execve("link", argv, kNoArguments); }); },
       [&] {
         return try_exec("execveat", [&](char** argv) {
           syscall(SYS_execveat, here, Climb(program).c_str(), argv, kNoArguments, 0);
         });
       },
       [&] {
         return try_exec("execve of ..", [&](char** argv) { execve(Climb(program).c_str(), argv, kNoArguments); });
       }});
}
ESCAPE_ATTACK(ByPath, "exec.by_path", kEscapes, "");

Outcome Script() {
  EnterWorkDirectory();
  WriteFile("script", "#!" + Fact("host_program") + " argument\n", 0755);
  return JudgeStatus(StatusOfExec([](char** argv) { execve("script", argv, kNoArguments); }), "#!");
}
ESCAPE_ATTACK(Script, "exec.script", kEscapes, "");

// An ELF file whose program interpreter is the host's program.
Outcome Interpreter() {
  EnterWorkDirectory();
  const std::string path = Fact("host_program");
  struct {
    Elf64_Ehdr header{};
    Elf64_Phdr segments[2]{};
    char interpreter[4096 - sizeof(Elf64_Ehdr) - 2 * sizeof(Elf64_Phdr)]{};
  } image;
  memcpy(image.header.e_ident, ELFMAG, SELFMAG);
  image.header.e_ident[EI_CLASS] = ELFCLASS64;
  image.header.e_ident[EI_DATA] = ELFDATA2LSB;
  image.header.e_ident[EI_VERSION] = EV_CURRENT;
  image.header.e_type = ET_DYN;
  image.header.e_machine = EM_X86_64;
  image.header.e_version = EV_CURRENT;
  image.header.e_phoff = sizeof(Elf64_Ehdr);
  image.header.e_ehsize = sizeof(Elf64_Ehdr);
  image.header.e_phentsize = sizeof(Elf64_Phdr);
  image.header.e_phnum = 2;
  strncpy(image.interpreter, path.c_str(), sizeof image.interpreter - 1);
  image.segments[0] = {PT_INTERP,       PF_R, sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr), 0, 0, path.size() + 1,
                       path.size() + 1, 1};
  image.segments[1] = {PT_LOAD, PF_R | PF_X, 0, 0, 0, sizeof image, sizeof image, 4096};
  WriteFile("elf", std::string(reinterpret_cast<char*>(&image), sizeof image), 0755);
  return JudgeStatus(StatusOfExec([](char** argv) { execve("elf", argv, kNoArguments); }), "PT_INTERP");
}
ESCAPE_ATTACK(Interpreter, "exec.interpreter", kEscapes, "");

// A second thread turns the path of an allowed program into the host's, and back.
Outcome PathRace() {
  const std::string here = EnterWorkDirectory();
  std::string allowed = Fact("guest_program"), forbidden = Fact("host_program");
  while (allowed.size() < forbidden.size()) allowed.insert(0, "/");
  while (forbidden.size() < allowed.size()) forbidden.insert(0, "/");
  const int64_t end = time(nullptr) + 3;
  int tries = 0, ran = 0;
  for (; time(nullptr) < end; ++tries) {
    int status = InChild([&] {
      std::vector<char> path(allowed.begin(), allowed.end());
      path.push_back(0);
      std::thread([&] {
        for (unsigned round = 0;; ++round) {
          memcpy(path.data(), (round % 2 ? forbidden : allowed).data(), allowed.size());
          Spin((round + static_cast<unsigned>(tries)) % 200);
        }
      }).detach();
      char name[] = "true";
      char* argv[] = {name, nullptr};
      execve(path.data(), argv, kNoArguments);
      return 77;
    });
    ran += status == 0;
    if (status == 1) return Escaped("host program after " + std::to_string(tries) + " tries");
  }
  return Held(std::to_string(tries) + " tries, the allowed program ran " + std::to_string(ran) + " times");
}
ESCAPE_ATTACK(PathRace, "exec.path_race", kEscapes, "");

const uint64_t kPico = usl::protocol::kDefaultPicoBase;

// The loader without anything to load, and what looks like its path.
Outcome LoaderDirectly() {
  char first[] = "/bin/sh";
  char* argv[] = {first, first, nullptr};
  int worst = 0;
  for (uint64_t offset :
       {uint64_t{0}, uint64_t{1}, uint64_t{8}, usl::protocol::kPicoStubOffset, usl::protocol::kHypercallOffset - 8,
        usl::protocol::kHypercallOffset - 1, usl::protocol::kHypercallOffset + 1}) {
    int status = InChild([&] {
      syscall(SYS_execve, kPico + offset, argv, kNoArguments);
      syscall(SYS_execve, (kPico + offset) | 1UL << 32, argv, kNoArguments);
      return 77;
    });
    if (status == 0 || status == 1) return Escaped("something ran from offset " + std::to_string(offset));
    worst = status;
  }
  return Held("status " + std::to_string(worst));
}
ESCAPE_ATTACK(LoaderDirectly, "exec.loader_directly", kNone, "");

// Threads that ask for the plan while another executes an image that the caller may not read: they want its descriptor.
Outcome ForgedHypercall() {
  auto* got =
      static_cast<std::atomic<int>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const time_t end = time(nullptr) + 2;
  int rounds = 0;
  for (; time(nullptr) < end && got->load() == 0; ++rounds) {
    const char* image = rounds % 2 ? Fact("unreadable_program").c_str() : Fact("suid_program").c_str();
    InChild([&] {
      for (int i = 0; i < 3; ++i) {
        std::thread([&] {
          static char plan[sizeof(usl::protocol::ExecPlan)];
          for (;;) {
            if (syscall(SYS_execve, kPico + usl::protocol::kHypercallOffset, plan, sizeof plan) == 0) got->store(1);
          }
        }).detach();
      }
      char name[] = "program", word[] = "exit";
      char* argv[] = {name, word, nullptr};
      execve(image, argv, kNoArguments);
      return 77;
    });
  }
  return got->load() ? Escaped("a thread got the plan") : Held(std::to_string(rounds) + " rounds");
}
ESCAPE_ATTACK(ForgedHypercall, "exec.forged_hypercall", kNone, "user");

// The same from a process that shares the memory (CLONE_VM), and from one whose exec was abandoned by a signal.
Outcome AbandonedExec() {
  const pid_t parent = getpid();
  int64_t tries = 0;
  signal(SIGUSR1, [](int) {});
  pid_t storm = fork();
  if (storm == 0) {
    while (getppid() == parent) kill(parent, SIGUSR1);
    _exit(0);
  }
  static char plan[sizeof(usl::protocol::ExecPlan)];
  const time_t end = time(nullptr) + 2;
  bool escaped = false;
  for (; time(nullptr) < end && !escaped; ++tries) {
    // A path that is found, but arguments that the host refuses: the native exec comes back with EFAULT.
    char* bad[] = {reinterpret_cast<char*>(8), nullptr};
    execve(Fact("unreadable_program").c_str(), bad, kNoArguments);
    escaped = syscall(SYS_execve, kPico + usl::protocol::kHypercallOffset, plan, sizeof plan) == 0;
  }
  kill(storm, SIGKILL);
  WaitStatus(storm);
  return escaped ? Escaped("the plan of an abandoned exec") : Held(std::to_string(tries) + " tries");
}
ESCAPE_ATTACK(AbandonedExec, "exec.abandoned", kNone, "user");

}  // namespace
}  // namespace escape
