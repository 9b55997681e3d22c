// The pico page: no process may replace, move, drop, unshare or change it. Natively the program maps a page of the same
// kind at the same place first, so that the control shows which calls would.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"
#include "protocol/exec_plan.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace escape {
namespace {

constexpr uint64_t kBase = usl::protocol::kDefaultPicoBase, kSize = usl::protocol::kPicoSize;
constexpr uint64_t kHigh = uint64_t{1} << 32;

void MapLikeUsl() {
  int fd = memfd_create("pico", MFD_ALLOW_SEALING);
  const char path[] = "/run/usl/loader-10000";
  if (ftruncate(fd, kSize) < 0 || write(fd, path, sizeof path) < 0) _exit(3);
  fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
  int readable = open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY);
  void* page =
      mmap(reinterpret_cast<void*>(kBase), kSize, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, readable, 0);
  if (page != reinterpret_cast<void*>(kBase)) _exit(3);
}

// The page as the host's kernel sees it: without a fault where it is gone.
std::string PageContent() {
  static char content[kSize];
  iovec to{content, kSize}, from{reinterpret_cast<void*>(kBase), kSize};
  ssize_t size = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
  if (size < 0 && errno != EFAULT) {  // where that call is refused
    int pipes[2];
    if (pipe(pipes) < 0) return "";
    size = write(pipes[1], reinterpret_cast<void*>(kBase), kSize);
    if (size > 0) memcpy(content, reinterpret_cast<void*>(kBase), kSize);
    close(pipes[0]);
    close(pipes[1]);
  }
  return size == static_cast<ssize_t>(kSize) ? std::string(content, kSize) : std::string();
}

// Runs each try in a child of its own: 1 if the page, or that of the child's child, is no more what it was.
Outcome EachInChild(const std::vector<std::pair<const char*, std::function<long()>>>& tries) {
  for (const auto& [name, attempt] : tries) {
    int status = InChild([&] {
      if (IsNative()) MapLikeUsl();
      const std::string before = PageContent();
      if (before.empty()) return 3;
      attempt();
      if (PageContent() != before) return 1;
      return InChild([&] { return PageContent() == before ? 0 : 1; });
    });
    if (status == 1 || status >= 128) return Escaped(std::string(name) + " got at the page");
    if (status != 0) return Escaped(std::string(name) + ": the test failed with " + std::to_string(status));
  }
  return Held(std::to_string(tries.size()) + " ways");
}

long Map(uint64_t at, uint64_t size, long flags) {
  return syscall(SYS_mmap, at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

Outcome Replace() {
  auto spare = [] { return mmap(nullptr, 4 * kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); };
  return EachInChild({
      {"mmap MAP_FIXED", [] { return Map(kBase, kSize, MAP_FIXED); }},
      {"mmap MAP_FIXED with bit 32", [] { return Map(kBase, kSize, MAP_FIXED | kHigh); }},
      {"mmap MAP_FIXED_NOREPLACE | MAP_FIXED", [] { return Map(kBase, kSize, MAP_FIXED | MAP_FIXED_NOREPLACE); }},
      {"mmap from within", [] { return Map(kBase, 1, MAP_FIXED); }},
      {"mmap of a large range", [] { return Map(kBase, 1 << 20, MAP_FIXED | MAP_NORESERVE); }},
      {"mmap of a stack over it", [] { return Map(kBase, kSize, MAP_FIXED | MAP_GROWSDOWN); }},
      {"mmap of huge pages", [] { return Map(0, 1, MAP_FIXED | MAP_HUGETLB); }},
      {"mremap onto it",
       [&] { return syscall(SYS_mremap, spare(), kSize, kSize, MREMAP_MAYMOVE | MREMAP_FIXED, kBase); }},
      {"mremap onto it with bit 32",
       [&] { return syscall(SYS_mremap, spare(), kSize, kSize, MREMAP_MAYMOVE | MREMAP_FIXED | kHigh, kBase); }},
      {"shmat SHM_REMAP",
       [] {
         int id = shmget(IPC_PRIVATE, kSize, 0600);
         long result = syscall(SYS_shmat, id, kBase, SHM_REMAP);
         shmctl(id, IPC_RMID, nullptr);
         return result;
       }},
      {"shmat SHM_REMAP | SHM_RND",
       [] {
         int id = shmget(IPC_PRIVATE, 2 * kSize, 0600);
         long result = syscall(SYS_shmat, id, kBase + 100, SHM_REMAP | SHM_RND | kHigh);
         shmctl(id, IPC_RMID, nullptr);
         return result;
       }},
      {"remap_file_pages", [] { return syscall(SYS_remap_file_pages, kBase, kSize, 0, 0, 0); }},
  });
}
ESCAPE_ATTACK(Replace, "pico.replace", kEscapes, "");

Outcome Drop() {
  return EachInChild({
      {"munmap", [] { return syscall(SYS_munmap, kBase, kSize); }},
      {"munmap of one byte", [] { return syscall(SYS_munmap, kBase, 1); }},
      {"munmap from address 0", [] { return syscall(SYS_munmap, 0, kBase + kSize); }},
      {"munmap of all but the rest", [] { return syscall(SYS_munmap, kBase - kSize, 2 * kSize); }},
      {"munmap with a wrapping size", [] { return syscall(SYS_munmap, kBase, -kBase); }},
      {"munmap of 4 GiB", [] { return syscall(SYS_munmap, 0x8000, kHigh); }},
      {"mremap away",
       [] { return syscall(SYS_mremap, kBase, kSize, kSize, MREMAP_MAYMOVE | MREMAP_FIXED, 0x7000000000); }},
      {"mremap MREMAP_DONTUNMAP",
       [] { return syscall(SYS_mremap, kBase, kSize, kSize, MREMAP_MAYMOVE | 4, 0x7000000000); }},
      {"mremap to nothing", [] { return syscall(SYS_mremap, kBase, kSize, 0, MREMAP_MAYMOVE, 0); }},
      {"madvise DONTFORK", [] { return syscall(SYS_madvise, kBase, kSize, MADV_DONTFORK); }},
      {"madvise DONTFORK with bit 32", [] { return syscall(SYS_madvise, kBase, kSize, MADV_DONTFORK | kHigh); }},
      {"madvise DONTFORK from below", [] { return syscall(SYS_madvise, kBase - kSize, 2 * kSize, MADV_DONTFORK); }},
      {"madvise DONTFORK from 0", [] { return syscall(SYS_madvise, 0, kBase + 1, MADV_DONTFORK); }},
      {"madvise REMOVE", [] { return syscall(SYS_madvise, kBase, kSize, MADV_REMOVE); }},
      {"madvise WIPEONFORK", [] { return syscall(SYS_madvise, kBase, kSize, MADV_WIPEONFORK); }},
      {"process_madvise",
       [] {
         iovec range{reinterpret_cast<void*>(kBase), kSize};
         int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
         syscall(SYS_process_madvise, -10001 /* PIDFD_SELF */, &range, 1, MADV_DONTFORK, 0);
         return syscall(SYS_process_madvise, self, &range, 1, MADV_DONTFORK, 0);
       }},
  });
}
ESCAPE_ATTACK(Drop, "pico.drop", kEscapes, "");

Outcome Change() {
  auto poke = [](long protection) {
    return [protection] {
      long result = syscall(SYS_mprotect, kBase, kSize, protection);
      if (result == 0 && protection & PROT_WRITE) *reinterpret_cast<char*>(kBase) ^= 1;
      return result;
    };
  };
  return EachInChild({
      {"mprotect for writing", poke(PROT_READ | PROT_WRITE)},
      {"mprotect PROT_NONE", poke(PROT_NONE)},
      {"pkey_mprotect", [] { return syscall(SYS_pkey_mprotect, kBase, kSize, PROT_NONE, -1); }},
      {"mprotect from 0", [] { return syscall(SYS_mprotect, 0, kBase + kSize, PROT_NONE); }},
      {"/proc/self/mem",
       [] {
         int fd = open("/proc/self/mem", O_RDWR);
         return static_cast<long>(pwrite(fd, "/bin/sh", 8, kBase));
       }},
      {"process_vm_writev",
       [] {
         char text[] = "/bin/sh";
         iovec from{text, sizeof text}, to{reinterpret_cast<void*>(kBase), sizeof text};
         return static_cast<long>(process_vm_writev(getpid(), &from, 1, &to, 1, 0));
       }},
      {"PTRACE_POKEDATA",
       [] {
         pid_t child = fork();
         if (child == 0) {
           ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
           raise(SIGSTOP);
           // The page is shared: what were changed here would be changed in the parent.
           _exit(0);
         }
         waitpid(child, nullptr, 0);
         long result = ptrace(PTRACE_POKEDATA, child, kBase, 0x0068732f6e69622f);
         ptrace(PTRACE_CONT, child, nullptr, nullptr);
         kill(child, SIGKILL);
         waitpid(child, nullptr, 0);
         return result;
       }},
      {"a write through another mapping",
       [] {
         // map_files would give the memfd itself.
         char name[64];
         snprintf(name, sizeof name, "/proc/self/map_files/%lx-%lx", kBase, kBase + kSize);
         int fd = open(name, O_RDWR);
         return static_cast<long>(pwrite(fd, "/bin/sh", 8, 0));
       }},
  });
}
ESCAPE_ATTACK(Change, "pico.change", kEscapes, "");

// The code of the page may be called by anybody: it does nothing that its caller could not do.
Outcome CallItsCode() {
  const pid_t victim = Victim();
  for (const uint64_t code : {usl::protocol::kPicoFollowOffset, usl::protocol::kPicoStubOffset}) {
    for (const pid_t target : {victim, 1, getppid(), getpid(), -1, 0}) {
      const int status = InChild([&] {
        alarm(2);
        long answer = SYS_getpid;
        asm volatile(
            "subq $256, %%rsp\n\t"
            "movl %[target], %%r11d\n\t"
            "leaq 1f(%%rip), %%rcx\n\t"
            "jmp *%[code]\n"
            "1:\taddq $256, %%rsp"
            : "+a"(answer)
            : [code] "r"(kBase + code), [target] "r"(target), "D"(0), "S"(0), "d"(0)
            : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
        return answer == SYS_getpid ? 5 : 6;
      });
      if (kill(victim, 0) == 0) return Escaped("the victim can be reached");
      if (status != 5 && status != 6 && status < 128) return Escaped("status " + std::to_string(status));
    }
  }
  return Held("back with nothing");
}
ESCAPE_ATTACK(CallItsCode, "pico.call_its_code", kNone, "");

// A program still starts afterwards, in the same process that tried.
Outcome ExecStillWorks() {
  int status = InChild([] {
    syscall(SYS_madvise, kBase, kSize, MADV_DONTFORK);
    syscall(SYS_munmap, kBase, kSize);
    pid_t child = fork();
    if (child != 0) return WaitStatus(child);
    char name[] = "true";
    char* argv[] = {name, nullptr};
    char* none[] = {nullptr};
    execve(Fact("guest_program").c_str(), argv, none);
    return 77;
  });
  return status == 0 ? Held("it does") : Escaped("exec is broken: " + std::to_string(status));
}
ESCAPE_ATTACK(ExecStillWorks, "pico.exec_still_works", kNone, "");

}  // namespace
}  // namespace escape
