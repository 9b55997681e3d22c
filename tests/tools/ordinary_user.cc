// ordinary_user [UID:GID] CMD [ARG...]: runs CMD as an ordinary user of a locked-down machine, as USL's tests do: no
// root, no capabilities, no supplementary groups, no new privileges and, by a seccomp filter of its own, no user
// namespaces (as with user.max_user_namespaces = 0, which would need root and change the whole machine). Without
// UID:GID the caller stays who it is; then it must not be root.
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// Refuses unshare and clone with CLONE_NEWUSER (ENOSPC) and clone3 (ENOSYS), whose flags are in memory.
bool ForbidUserNamespaces() {
  constexpr unsigned kArgument = offsetof(seccomp_data, args[0]);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kArgument),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 1, 2),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSPC),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{.len = sizeof program / sizeof program[0], .filter = program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

[[noreturn]] void Die(const char* what) {
  fprintf(stderr, "ordinary_user: %s: %s\n", what, strerror(errno));
  exit(125);
}

}  // namespace

int main(int argc, char** argv) {
  int at = 1;
  unsigned uid = 0, gid = 0;
  if (argc > at && sscanf(argv[at], "%u:%u", &uid, &gid) == 2) {
    ++at;
    if (uid != getuid() &&
        (setgroups(0, nullptr) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)) {
      Die("cannot become that user");
    }
  }
  if (argc <= at) {
    fprintf(stderr, "usage: ordinary_user [UID:GID] CMD [ARG...]\n");
    return 125;
  }
  if (getuid() == 0) {
    fprintf(stderr, "ordinary_user: root needs UID:GID\n");
    return 125;
  }
  if (!ForbidUserNamespaces()) Die("cannot forbid user namespaces");
  execvp(argv[at], argv + at);
  Die(argv[at]);
}
