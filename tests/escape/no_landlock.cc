// no_landlock CMD [ARG...]: runs CMD as on a host without Landlock, where USL has only its own checks between a guest
// and the host's processes.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char** argv) {
  constexpr unsigned kCreateRuleset = 444, kRestrictSelf = 446;
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kCreateRuleset, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kRestrictSelf, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{sizeof program / sizeof program[0], program};
  if (argc < 2) return 125;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0) {
    perror("no_landlock");
    return 125;
  }
  execvp(argv[1], argv + 1);
  perror(argv[1]);
  return 125;
}
