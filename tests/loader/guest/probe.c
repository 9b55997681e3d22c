// A guest program for loader_test: prints, as key=value lines, how it finds the world that the loader left it.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));
void _start(void);

#ifdef PROBE_ALIGN
static char aligned[PROBE_ALIGN] __attribute__((aligned(PROBE_ALIGN))) = {1};
#else
static char aligned[16] __attribute__((aligned(16))) = {1};
#endif
static char bss[300000];
static char data[100] = "data";

static void PrintMaps(uint64_t stack) {
  FILE* maps = fopen("/proc/self/maps", "r");
  char line[512], permissions[8];
  int loader = 0, pico = 0;
  unsigned long start, end;
  while (maps && fgets(line, sizeof(line), maps)) {
    if (sscanf(line, "%lx-%lx %7s", &start, &end, permissions) != 3) continue;
    if (strstr(line, "/loader-")) loader++;
    if (start == 0x10000 && end == 0x11000) pico = !strcmp(permissions, "r-xs");
    if (start <= stack && stack < end) printf("stack_permissions=%s\n", permissions);
  }
  printf("loader_mappings=%d\npico_page=%d\n", loader, pico);
}

static int BssIsClear(void) {
  for (size_t i = 0; i < sizeof(bss); i++) {
    if (bss[i]) return 0;
  }
  return 1;
}

static uint64_t Sum(char** strings, int* count) {
  uint64_t sum = 0;
  for (*count = 0; strings[*count]; ++*count) {
    for (const char* at = strings[*count]; *at; at++) sum = sum * 31 + (unsigned char)*at;
  }
  return sum;
}

static unsigned long Blocked(void) {
  unsigned long mask = 0;
  syscall(SYS_rt_sigprocmask, 0, NULL, &mask, sizeof(mask));
  return mask;
}

static int OpenFds(void) {
  int open = 0;
  for (int fd = 3; fd < 256; fd++) open += fcntl(fd, F_GETFD) >= 0;
  return open;
}

int main(int argc, char** argv, char** envp) {
  int count;
  char name[16];
  printf("open_fds=%d\n", OpenFds());
  printf("blocked=%lx\n", Blocked());
  printf("argc=%d\n", argc);
  for (int i = 0; i < argc && i < 8; i++) printf("argv%d=%.100s\n", i, argv[i]);
  printf("argv_sum=%lx\n", (unsigned long)Sum(argv, &count));
  printf("argv_count=%d\n", count);
  printf("envp_sum=%lx\n", (unsigned long)Sum(envp, &count));
  printf("envp_count=%d\n", count);
  printf("execfn=%s\n", (const char*)getauxval(AT_EXECFN));
  printf("phdr_ok=%d\n", getauxval(AT_PHDR) == (uintptr_t)&__ehdr_start + __ehdr_start.e_phoff);
  printf("phnum_ok=%d\n", getauxval(AT_PHNUM) == __ehdr_start.e_phnum && getauxval(AT_PHENT) == sizeof(Elf64_Phdr));
  printf("entry_ok=%d\n", getauxval(AT_ENTRY) == (uintptr_t)&_start);
  printf("base=%lx\n", getauxval(AT_BASE));
  printf("secure=%lu\nuid=%lu\negid=%lu\n", getauxval(AT_SECURE), getauxval(AT_UID), getauxval(AT_EGID));
  errno = 0;
  unsigned long execfd = getauxval(AT_EXECFD);
  printf("execfd=%ld\n", errno ? -1 : (long)execfd);
  printf("vdso_ok=%d\n", !memcmp((void*)getauxval(AT_SYSINFO_EHDR), ELFMAG, SELFMAG));
  printf("random_ok=%d\n", getauxval(AT_RANDOM) != 0 && getauxval(AT_RANDOM) > (uintptr_t)argv);
  printf("stack_aligned=%d\n", (uintptr_t)argv % 16 == 8);
  printf("bss_clear=%d\ndata_ok=%d\n", BssIsClear(), !strcmp(data, "data") && data[99] == 0);
  printf("var_aligned=%d\n", (uintptr_t)aligned % sizeof(aligned) == 0 && aligned[0] == 1);
  prctl(PR_GET_NAME, name);
  printf("comm=%s\n", name);
  PrintMaps((uintptr_t)argv);
  printf("image=%lx\nstack=%lx\n", (unsigned long)&__ehdr_start, (unsigned long)argv);
  unsigned long brk = syscall(SYS_brk, 0);
  printf("brk=%lx\nbrk_grows=%d\n", brk, (unsigned long)syscall(SYS_brk, brk + (1ul << 30)) == brk + (1ul << 30));
  return 7;
}
