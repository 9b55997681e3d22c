// The fast path: what the kernel publishes can be changed by nobody, and shows nothing that its reader may not ask for.
#include "protocol/fast_path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "attack.h"

namespace escape {
namespace {

using usl::protocol::FastTable;

constexpr int kOften = 12;

// The mapping of the table in this process, by its size and rights; null where there is none.
FastTable* Table() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long start = 0, end = 0;
    char rights[5] = {};
    if (sscanf(line.c_str(), "%lx-%lx %4s", &start, &end, rights) != 3) continue;
    if (end - start == sizeof(FastTable) && std::string(rights) == "r--s") return reinterpret_cast<FastTable*>(start);
  }
  return nullptr;
}

// Makes this process one that is answered here.
void Warm(const char* path) {
  struct stat status;
  for (int i = 0; i < kOften; ++i) (void)stat(path, &status);
}

Outcome Change() {
  Warm("/usr/bin/env");
  FastTable* table = Table();
  if (!table) return Escaped("there is no table: nothing was tested");
  const uint32_t before = *static_cast<volatile uint32_t*>(&table->generation);
  const uint32_t forged = before + 1000;
  if (mprotect(table, 4096, PROT_READ | PROT_WRITE) == 0) return Escaped("mprotect made it writable");
  if (pkey_mprotect(table, 4096, PROT_READ | PROT_WRITE, -1) == 0) return Escaped("pkey_mprotect made it writable");
  const int memory = open("/proc/self/mem", O_RDWR);
  if (memory >= 0) (void)!pwrite(memory, &forged, sizeof forged, reinterpret_cast<off_t>(table));
  iovec from{const_cast<uint32_t*>(&forged), sizeof forged}, to{table, sizeof forged};
  (void)process_vm_writev(getpid(), &from, 1, &to, 1, 0);
  void* moved = mremap(table, sizeof(FastTable), sizeof(FastTable), MREMAP_MAYMOVE);
  if (moved != MAP_FAILED && mprotect(moved, 4096, PROT_READ | PROT_WRITE) == 0) {
    return Escaped("mprotect after mremap made it writable");
  }
  const int descriptor = open("/proc/self/map_files/x", O_RDWR);
  if (descriptor >= 0) return Escaped("map_files opened");
  const auto* now = static_cast<volatile uint32_t*>(&table->generation);
  if (*now == forged) return Escaped("it was written to");
  return Held();
}
ESCAPE_ATTACK(Change, "fast_path.change", kNone, "");

bool IsPublished(const FastTable& table, const std::string& name) {
  for (const auto& slot : table.slots) {
    if (std::string(slot.text, sizeof slot.text).find(name) != std::string::npos) return true;
  }
  return false;
}

// A user must not learn from the table what root does in a directory that is closed to him.
Outcome Peek() {
  const std::string here = "/tmp/usl-peek-" + std::to_string(getpid()), closed = here + "/closed";
  const std::string name = "a-name-that-nobody-else-may-know";
  if (mkdir(here.c_str(), 0755) < 0 || mkdir(closed.c_str(), 0700) < 0 || !WriteFile(closed + "/" + name, "x")) {
    return Escaped("the test failed");
  }
  Warm((closed + "/" + name).c_str());
  Warm((closed + "/missing-" + name).c_str());
  const FastTable* table = Table();
  if (!table) return Escaped("there is no table: nothing was tested");
  if (IsPublished(*table, name)) return Escaped("the name is there");
  // The control: what everybody may see is published.
  if (chmod(closed.c_str(), 0711) < 0) return Escaped("the test failed");
  Warm((closed + "/missing-" + name).c_str());
  return IsPublished(*table, name) ? Held() : Escaped("nothing is published: nothing was tested");
}
ESCAPE_ATTACK(Peek, "fast_path.peek", kNone, "");

// Stubs and control block belong to the process: whoever changes them gets wrong answers, nothing more.
Outcome ForgeOwnAnswers() {
  return InChild([] {
           Warm("/usr/bin/env");
           FastTable* table = Table();
           if (!table) return 3;
           // The whole range is replaced by a table of the attacker's own, with an answer for a path outside.
           auto* range = reinterpret_cast<char*>(table) - usl::protocol::kFastCodeSize - usl::protocol::kFastAreaSize;
           void* own =
               mmap(table, sizeof(FastTable), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
           if (own == MAP_FAILED) return 0;
           memset(own, 0xff, sizeof(FastTable));
           struct stat status;
           for (int i = 0; i < kOften; ++i) (void)stat("/usr/bin/env", &status);
           // The kernel goes on with what it patches elsewhere, and does not care.
           munmap(range, usl::protocol::kFastAreaSize);
           return 0;
         }) == 3
             ? Escaped("there is no table: nothing was tested")
             : Held("the kernel lives: " + std::to_string(getppid() > 0));
}
ESCAPE_ATTACK(ForgeOwnAnswers, "fast_path.forge", kNone, "");

}  // namespace
}  // namespace escape
