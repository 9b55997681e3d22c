// Mounts that come and go under paths that are asked for again and again from one place, in whichever namespace: every
// answer is today's. (USL answers such calls inside the guest, src/kernel/README-fast-path.md.)
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "conformance/helpers.h"
#include "conformance/mount_helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr int kOften = 12;

// The device of a path, asked so often that a cache would have answered the last ones; 0 when it is missing, 1 when the
// answers differ.
__attribute__((noinline)) dev_t Device(const std::string& path) {
  dev_t found = 0;
  for (int i = 0; i < kOften; ++i) {
    struct stat status {};
    const dev_t now = stat(path.c_str(), &status) == 0 ? status.st_dev : 0;
    if (i > 0 && now != found) return 1;
    found = now;
  }
  return found;
}

class MountRepeated : public MountFixture {};

TEST_F(MountRepeated, MountsComeAndGo) {
  const dev_t below = Device(A());
  EXPECT_EQ(Device(A() + "/x"), 0u);
  Tmpfs(A());
  const dev_t above = Device(A());
  EXPECT_NE(above, below);
  ASSERT_THAT(mkdir((A() + "/x").c_str(), 0755), SyscallSucceeds());
  EXPECT_EQ(Device(A() + "/x"), above);
  ASSERT_THAT(Bind(A(), B()), SyscallSucceeds());
  EXPECT_EQ(Device(B() + "/x"), above);
  ASSERT_THAT(mount(B().c_str(), C().c_str(), nullptr, MS_MOVE, nullptr), SyscallSucceeds());
  EXPECT_EQ(Device(B()), below);
  EXPECT_EQ(Device(B() + "/x"), 0u);
  EXPECT_EQ(Device(C() + "/x"), above);
  ASSERT_THAT(umount2(C().c_str(), 0), SyscallSucceeds());
  ASSERT_THAT(umount2(A().c_str(), MNT_DETACH), SyscallSucceeds());
  EXPECT_EQ(Device(A()), below);
  EXPECT_EQ(Device(A() + "/x"), 0u);
}

TEST_F(MountRepeated, AnotherProcessMounts) {
  const dev_t below = Device(A());
  EXPECT_TRUE(InChild([&] { return mount("t", A().c_str(), "tmpfs", 0, nullptr) == 0; }));
  EXPECT_NE(Device(A()), below);
  EXPECT_TRUE(InChild([&] { return umount(A().c_str()) == 0; }));
  EXPECT_EQ(Device(A()), below);
}

TEST_F(MountRepeated, PropagationFromAnotherNamespace) {
  Tmpfs(A());
  const dev_t above = Device(A());
  ASSERT_THAT(mkdir((A() + "/x").c_str(), 0755), SyscallSucceeds());
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  EXPECT_EQ(Device(A() + "/x"), above);
  EXPECT_TRUE(
      InChild([&] { return unshare(CLONE_NEWNS) == 0 && mount("t", (A() + "/x").c_str(), "tmpfs", 0, nullptr) == 0; }));
  EXPECT_NE(Device(A() + "/x"), above);
}

TEST_F(MountRepeated, NamespacesKeepTheirOwn) {
  const dev_t below = Device(A());
  Peer peer([&] { return unshare(CLONE_NEWNS) == 0 && mount("t", A().c_str(), "tmpfs", 0, nullptr) == 0; });
  ASSERT_TRUE(peer.started());
  EXPECT_EQ(Device(A()), below);
  EXPECT_TRUE(peer.Ask([&] { return Device(A()) != below && Device(A()) > 1; }));
  EXPECT_EQ(Device(A()), below);
}

// The child starts as a copy of who made it, its caches too.
TEST_F(MountRepeated, CloneIntoANamespace) {
  const dev_t below = Device(A());
  int to_child[2], to_parent[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(to_parent), 0);
  const pid_t child = static_cast<pid_t>(syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, nullptr, nullptr, nullptr, 0));
  ASSERT_GE(child, 0) << errno;
  if (child == 0) {
    char byte = 0;
    bool right = Device(A()) == below;
    (void)!write(to_parent[1], &byte, 1);
    (void)!read(to_child[0], &byte, 1);  // the parent has mounted, here nothing has
    right = right && Device(A()) == below && Device(A()) == below;
    right = right && mount("t", B().c_str(), "tmpfs", 0, nullptr) == 0 && Device(B()) != below;
    (void)!write(to_parent[1], &byte, 1);
    (void)!read(to_child[0], &byte, 1);
    right = right && Device(B()) != below && Device(B()) > 1;
    _exit(right ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
  // By a child, so that this process stays what it was.
  EXPECT_TRUE(InChild([&] { return mount("t", A().c_str(), "tmpfs", 0, nullptr) == 0; }));
  EXPECT_NE(Device(A()), below);
  ASSERT_EQ(write(to_child[1], &byte, 1), 1);
  ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
  EXPECT_EQ(Device(B()), below);
  ASSERT_EQ(write(to_child[1], &byte, 1), 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  for (int fd : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(fd);
}

// A name that goes takes what other namespaces have mounted on it along.
TEST_F(MountRepeated, RemovedMountPointsOfOtherNamespaces) {
  const dev_t own = Device(File());
  Tmpfs(A());
  const std::string other = A() + "/other";
  { const Fd made(open(other.c_str(), O_CREAT | O_WRONLY, 0644)); }
  const dev_t foreign = Device(other);
  ASSERT_NE(own, foreign);
  int to_child[2], to_parent[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(to_parent), 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    bool right = unshare(CLONE_NEWNS) == 0 && Bind(other, File()) == 0 && Device(File()) == foreign;
    (void)!write(to_parent[1], &byte, 1);
    (void)!read(to_child[0], &byte, 1);
    right = right && Device(File()) == 0;
    _exit(right ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
  EXPECT_EQ(Device(File()), own);
  EXPECT_THAT(unlink(File().c_str()), SyscallSucceeds());
  ASSERT_EQ(write(to_child[1], &byte, 1), 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  for (int fd : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(fd);
}

// Whoever looks at an expiring mount keeps it.
TEST_F(MountRepeated, LookingKeepsAMount) {
  Tmpfs(A());
  ASSERT_THAT(mkdir((A() + "/x").c_str(), 0755), SyscallSucceeds());
  EXPECT_GT(Device(A() + "/x"), 1u);
  ASSERT_THAT(umount2(A().c_str(), MNT_EXPIRE), SyscallFailsWithErrno(EAGAIN));
  EXPECT_GT(Device(A() + "/x"), 1u);
  ASSERT_THAT(umount2(A().c_str(), MNT_EXPIRE), SyscallFailsWithErrno(EAGAIN));
  EXPECT_THAT(umount2(A().c_str(), MNT_EXPIRE), SyscallSucceeds());
  EXPECT_EQ(Device(A() + "/x"), 0u);
}

}  // namespace
}  // namespace usl::conformance
