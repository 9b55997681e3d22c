// A guest program for loader_test: calls execve or execveat and tells what comes back. The registers around the call
// must survive it, as after any system call.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

static long Call(long number, long a, const void* b, const void* c, const void* d, long e, int* kept) {
  register const void* r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = 0x9999;
  register long r12 __asm__("r12") = 0x1212;
  long result, rdi = a;
  const void *rsi = b, *rdx = c;
  __asm__ volatile(
      "movq $0x1234567, -8(%%rsp)\n\t"
      "syscall\n\t"
      "cmpq $0x1234567, -8(%%rsp)\n\t"
      "je 1f\n\t"
      "xorl %%r9d, %%r9d\n"
      "1:"
      : "=a"(result), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8), "+r"(r9), "+r"(r12)
      : "0"(number)
      : "rcx", "r11", "memory");
  *kept = rdi == a && rsi == b && rdx == c && r10 == d && r8 == e && r9 == 0x9999 && r12 == 0x1212;
  return result;
}

int main(int argc, char** argv) {
  (void)argc;
  char* arguments[] = {"called", "by", argv[1], NULL};
  char* environment[] = {"STUB=1", NULL};
  const char path[] = "/guest/target";
  int kept;
  long result;
  if (!strcmp(argv[1], "execveat")) {
    result = Call(SYS_execveat, AT_FDCWD, path, arguments, environment, 0, &kept);
  } else if (!strcmp(argv[1], "fault")) {
    result = Call(SYS_execve, (long)path, (void*)8, environment, NULL, 5, &kept);
  } else {
    result = Call(SYS_execve, (long)path, arguments, environment, NULL, 5, &kept);
  }
  printf("result=%ld\nkept=%d\n", result, kept);
  return 9;
}
