// The newer mount calls: open_tree(2), move_mount(2), mount_setattr(2), fsopen(2), fsconfig(2), fsmount(2), fspick(2),
// statmount(2), listmount(2). The C library here has no wrappers for all, so they are called by number.
#include <linux/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "conformance/helpers.h"
#include "conformance/mount_helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr int kOpenTree = 428, kMoveMount = 429, kFsOpen = 430, kFsConfig = 431, kFsMount = 432, kFsPick = 433;
constexpr int kMountSetAttr = 442, kStatMount = 457, kListMount = 458, kOpenTreeAttr = 467;
constexpr unsigned kClone = 1, kRecursive = 0x8000, kFromEmpty = 4, kToEmpty = 0x40, kBeneath = 0x200,
                   kSetGroup = 0x100;

Fd OpenTree(const std::string& path, unsigned flags, int at = AT_FDCWD) {
  return Fd(static_cast<int>(syscall(kOpenTree, at, path.c_str(), flags)));
}
long MoveTo(int from, const std::string& to, unsigned flags = 0) {
  return syscall(kMoveMount, from, "", AT_FDCWD, to.c_str(), flags | kFromEmpty);
}
long Config(int fd, unsigned command, const char* key = nullptr, const void* value = nullptr, int aux = 0) {
  return syscall(kFsConfig, fd, command, key, value, aux);
}
Fd NewFs(const char* type) {
  return Fd(static_cast<int>(syscall(kFsOpen, type, 1)));
}
long SetAttr(int at, const std::string& path, unsigned flags, mount_attr attr) {
  return syscall(kMountSetAttr, at, path.c_str(), flags, &attr, sizeof attr);
}
// The oldest message in the log of a context, or "".
std::string Message(int fd) {
  char text[512];
  const ssize_t size = read(fd, text, sizeof text);
  return size <= 0 ? "" : std::string(text, static_cast<size_t>(size));
}

class MountApiTest : public MountFixture {
 protected:
  Fd MakeTmpfs(unsigned attributes = 0) {
    const Fd context = NewFs("tmpfs");
    EXPECT_THAT(Config(context.get(), FSCONFIG_SET_STRING, "source", "made"), SyscallSucceeds());
    EXPECT_THAT(Config(context.get(), FSCONFIG_SET_STRING, "mode", "0711"), SyscallSucceeds());
    EXPECT_THAT(Config(context.get(), FSCONFIG_CMD_CREATE), SyscallSucceeds());
    return Fd(static_cast<int>(syscall(kFsMount, context.get(), 1, attributes)));
  }
};

TEST_F(MountApiTest, AFileSystemStepByStep) {
  const Fd mounted = MakeTmpfs(MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
  ASSERT_TRUE(mounted.ok()) << errno;
  // It is used before it is seen anywhere.
  EXPECT_THAT(mkdirat(mounted.get(), "d", 0755), SyscallSucceeds());
  ASSERT_THAT(MoveTo(mounted.get(), A()), SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "rw,nodev,noatime");
  EXPECT_EQ(Info(A()).source, "made");
  EXPECT_EQ(ModeOf(A()), 0711u);
  EXPECT_TRUE(Exists(A() + "/d"));
  EXPECT_THAT(MoveTo(mounted.get(), B()), SyscallSucceeds()) << "an attached mount moves on";
  EXPECT_FALSE(IsMounted(A()));
  EXPECT_TRUE(Exists(B() + "/d"));
}

TEST_F(MountApiTest, ContextErrors) {
  EXPECT_THAT(syscall(kFsOpen, "no-such", 0), SyscallFailsWithErrno(ENODEV));
  EXPECT_THAT(syscall(kFsOpen, "tmpfs", 2), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(kFsOpen, kWildPointer, 0), SyscallFailsWithErrno(EFAULT));
  EXPECT_EQ(ErrnoAs(kUser, [] { return syscall(kFsOpen, "tmpfs", 0); }), EPERM);
  const Fd context = NewFs("tmpfs");
  ASSERT_TRUE(context.ok());
  EXPECT_THAT(Config(context.get(), FSCONFIG_SET_STRING, "nonsense", "1"), SyscallFailsWithErrno(EINVAL));
  EXPECT_EQ(Message(context.get()), "e tmpfs: Unknown parameter 'nonsense'\n");
  EXPECT_THAT(Config(context.get(), FSCONFIG_SET_STRING, "size", "many"), SyscallFailsWithErrno(EINVAL));
  EXPECT_EQ(Message(context.get()), "e tmpfs: Bad value for 'size'\n");
  EXPECT_EQ(Message(context.get()), "");
  EXPECT_THAT(Config(context.get(), FSCONFIG_SET_FLAG, "ro", "value"), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Config(context.get(), FSCONFIG_SET_STRING, "size"), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Config(context.get(), FSCONFIG_CMD_CREATE, "key"), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Config(context.get(), 77), SyscallFailsWithErrno(EOPNOTSUPP));
  EXPECT_THAT(Config(-1, FSCONFIG_CMD_CREATE), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Config(1000, FSCONFIG_CMD_CREATE), SyscallFailsWithErrno(EBADF));
  const Fd other(open("/", O_RDONLY));
  EXPECT_THAT(Config(other.get(), FSCONFIG_CMD_CREATE), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Config(context.get(), FSCONFIG_CMD_RECONFIGURE), SyscallFailsWithErrno(EBUSY));
  EXPECT_THAT(syscall(kFsMount, context.get(), 0, 0), SyscallFailsWithErrno(EINVAL)) << "nothing was created";
  EXPECT_THAT(Config(context.get(), FSCONFIG_CMD_CREATE), SyscallSucceeds());
  EXPECT_THAT(Config(context.get(), FSCONFIG_CMD_CREATE), SyscallFailsWithErrno(EBUSY));
  EXPECT_THAT(Config(context.get(), FSCONFIG_SET_STRING, "size", "1m"), SyscallFailsWithErrno(EBUSY));
  EXPECT_THAT(syscall(kFsMount, context.get(), 2, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(kFsMount, context.get(), 0, MOUNT_ATTR__ATIME), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(kFsMount, other.get(), 0, 0), SyscallFailsWithErrno(EINVAL));
  const Fd mounted(static_cast<int>(syscall(kFsMount, context.get(), 0, 0)));
  EXPECT_TRUE(mounted.ok());
  EXPECT_THAT(syscall(kFsMount, context.get(), 0, 0), SyscallFailsWithErrno(EBUSY)) << "it is mounted";
}

TEST_F(MountApiTest, PicksAndReconfigures) {
  Tmpfs(A());
  ASSERT_THAT(Bind(A(), B()), SyscallSucceeds());
  EXPECT_THAT(syscall(kFsPick, AT_FDCWD, C().c_str(), 0), SyscallFailsWithErrno(EINVAL)) << "no mount";
  const Fd context(static_cast<int>(syscall(kFsPick, AT_FDCWD, A().c_str(), 1)));
  ASSERT_TRUE(context.ok());
  EXPECT_THAT(Config(context.get(), FSCONFIG_CMD_CREATE), SyscallFailsWithErrno(EBUSY));
  ASSERT_THAT(Config(context.get(), FSCONFIG_SET_STRING, "size", "4m"), SyscallSucceeds());
  ASSERT_THAT(Config(context.get(), FSCONFIG_SET_FLAG, "ro"), SyscallSucceeds());
  ASSERT_THAT(Config(context.get(), FSCONFIG_CMD_RECONFIGURE), SyscallSucceeds());
  struct statfs status;
  ASSERT_THAT(statfs(B().c_str(), &status), SyscallSucceeds());
  EXPECT_EQ(static_cast<uint64_t>(status.f_blocks) * static_cast<uint64_t>(status.f_bsize), 4u << 20);
  EXPECT_THAT(mkdir((B() + "/x").c_str(), 0755), SyscallFailsWithErrno(EROFS));
  ASSERT_THAT(Config(context.get(), FSCONFIG_SET_FLAG, "rw"), SyscallSucceeds());
  ASSERT_THAT(Config(context.get(), FSCONFIG_CMD_RECONFIGURE), SyscallSucceeds());
  EXPECT_THAT(mkdir((B() + "/x").c_str(), 0755), SyscallSucceeds());
}

TEST_F(MountApiTest, TreesWithoutAPlace) {
  Tmpfs(A());
  mkdir((A() + "/sub").c_str(), 0755);
  Tmpfs(A() + "/sub");
  close(open((A() + "/sub/f").c_str(), O_CREAT | O_WRONLY, 0644));
  EXPECT_THAT(syscall(kOpenTree, AT_FDCWD, A().c_str(), kRecursive), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(kOpenTree, AT_FDCWD, A().c_str(), 0x40000000), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(kOpenTree, AT_FDCWD, "/nowhere", 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return syscall(kOpenTree, AT_FDCWD, "/", kClone); }), EPERM);
  const Fd alone = OpenTree(A(), kClone);
  const Fd all = OpenTree(A(), kClone | kRecursive);
  ASSERT_TRUE(alone.ok() && all.ok());
  struct stat status;
  EXPECT_THAT(fstatat(alone.get(), "sub/f", &status, 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(fstatat(all.get(), "sub/f", &status, 0), SyscallSucceeds());
  EXPECT_THAT(fstatat(all.get(), "../..", &status, 0), SyscallSucceeds());
  const ino_t up = status.st_ino;
  ASSERT_THAT(fstat(all.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_ino, up) << "nothing is above";
  EXPECT_THAT(umount2(A().c_str(), MNT_DETACH), SyscallSucceeds());
  EXPECT_THAT(fstatat(all.get(), "sub/f", &status, 0), SyscallSucceeds());
  ASSERT_THAT(MoveTo(all.get(), B()), SyscallSucceeds());
  EXPECT_TRUE(Exists(B() + "/sub/f"));
  EXPECT_TRUE(IsMounted(B() + "/sub"));
}

TEST_F(MountApiTest, AttachedTreesAreOnlyOpened) {
  Tmpfs(A());
  const Fd tree = OpenTree(A(), 0);
  ASSERT_TRUE(tree.ok());
  EXPECT_THAT(umount(A().c_str()), SyscallFailsWithErrno(EBUSY));
  ASSERT_THAT(MoveTo(tree.get(), B()), SyscallSucceeds());
  EXPECT_TRUE(IsMounted(B()));
}

TEST_F(MountApiTest, ATreeEndsWithItsDescriptor) {
  Tmpfs(A());
  {
    const Fd tree = OpenTree(A(), kClone);
    ASSERT_TRUE(tree.ok());
    // The file system is in use by the copy, the mount is not.
    EXPECT_THAT(umount(A().c_str()), SyscallSucceeds());
    EXPECT_THAT(mkdirat(tree.get(), "d", 0755), SyscallSucceeds());
    const Fd again(dup(tree.get()));
    EXPECT_THAT(fchdir(again.get()), SyscallSucceeds());
  }
  // Its working directory is all that is left.
  EXPECT_TRUE(Exists("d"));
  const Fd here(open(".", O_PATH | O_DIRECTORY));
  EXPECT_THAT(MoveTo(here.get(), B()), SyscallFailsWithErrno(EINVAL)) << "unmounted";
  EXPECT_THAT(chdir("/"), SyscallSucceeds());
}

TEST_F(MountApiTest, MoveErrors) {
  Tmpfs(A());
  mkdir((A() + "/sub").c_str(), 0755);
  const Fd tree = OpenTree(A(), kClone);
  const Fd inside(openat(tree.get(), "sub", O_PATH | O_DIRECTORY));
  ASSERT_TRUE(inside.ok());
  EXPECT_THAT(MoveTo(inside.get(), B()), SyscallFailsWithErrno(EINVAL)) << "not the root of the tree";
  EXPECT_THAT(MoveTo(tree.get(), File()), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(MoveTo(tree.get(), "/nowhere"), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(MoveTo(tree.get(), B(), 0x1000), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(MoveTo(tree.get(), B(), kBeneath | kSetGroup), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(kMoveMount, tree.get(), "", AT_FDCWD, B().c_str(), 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(syscall(kMoveMount, 1000, "", AT_FDCWD, B().c_str(), kFromEmpty), SyscallFailsWithErrno(EBADF));
  const Fd plain(open(B().c_str(), O_PATH | O_DIRECTORY));
  EXPECT_THAT(syscall(kMoveMount, AT_FDCWD, C().c_str(), plain.get(), "", kToEmpty), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(kMoveMount, AT_FDCWD, A().c_str(), plain.get(), "", kToEmpty), SyscallSucceeds());
  EXPECT_TRUE(IsMounted(B()));
}

TEST_F(MountApiTest, Beneath) {
  Tmpfs(A());
  close(open((A() + "/top").c_str(), O_CREAT | O_WRONLY, 0644));
  const Fd mounted = MakeTmpfs();
  ASSERT_THAT(mkdirat(mounted.get(), "lower", 0755), SyscallSucceeds());
  EXPECT_THAT(MoveTo(mounted.get(), B(), kBeneath), SyscallFailsWithErrno(EINVAL)) << "nothing is mounted there";
  ASSERT_THAT(MoveTo(mounted.get(), A(), kBeneath), SyscallSucceeds());
  EXPECT_TRUE(Exists(A() + "/top"));
  ASSERT_THAT(umount(A().c_str()), SyscallSucceeds());
  EXPECT_TRUE(Exists(A() + "/lower"));
}

TEST_F(MountApiTest, SetGroup) {
  Tmpfs(A());
  mkdir((A() + "/x").c_str(), 0755);
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  ASSERT_THAT(Bind(A(), B()), SyscallSucceeds());
  ASSERT_THAT(SetPropagation(B(), MS_PRIVATE), SyscallSucceeds());
  ASSERT_THAT(syscall(kMoveMount, AT_FDCWD, A().c_str(), AT_FDCWD, B().c_str(), kSetGroup), SyscallSucceeds());
  EXPECT_EQ(Info(A()).shared, Info(B()).shared);
  EXPECT_THAT(syscall(kMoveMount, AT_FDCWD, A().c_str(), AT_FDCWD, B().c_str(), kSetGroup),
              SyscallFailsWithErrno(EINVAL));
}

TEST_F(MountApiTest, SetAttributes) {
  Tmpfs(A());
  mkdir((A() + "/sub").c_str(), 0755);
  Tmpfs(A() + "/sub");
  EXPECT_THAT(SetAttr(AT_FDCWD, A(), 0, {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID}), SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "ro,nosuid,relatime");
  EXPECT_EQ(Info(A()).super_options.substr(0, 2), "rw");
  EXPECT_EQ(Info(A() + "/sub").options, "rw,relatime");
  EXPECT_THAT(SetAttr(AT_FDCWD, A(), kRecursive, {.attr_set = MOUNT_ATTR_NODEV, .attr_clr = MOUNT_ATTR_RDONLY}),
              SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "rw,nosuid,nodev,relatime");
  EXPECT_EQ(Info(A() + "/sub").options, "rw,nodev,relatime");
  EXPECT_THAT(SetAttr(AT_FDCWD, A(), 0, {.attr_set = MOUNT_ATTR_NOATIME}), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(SetAttr(AT_FDCWD, A(), 0, {.attr_set = MOUNT_ATTR_NOATIME, .attr_clr = MOUNT_ATTR__ATIME}),
              SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "rw,nosuid,nodev,noatime");
  EXPECT_THAT(SetAttr(AT_FDCWD, A(), kRecursive, {.propagation = MS_SHARED}), SyscallSucceeds());
  EXPECT_NE(Info(A() + "/sub").shared, 0);
  EXPECT_THAT(SetAttr(AT_FDCWD, A(), 0, {.propagation = MS_SHARED | MS_SLAVE}), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(SetAttr(AT_FDCWD, A(), 0, {.attr_set = 0x4000000}), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(SetAttr(AT_FDCWD, C(), 0, {.attr_set = MOUNT_ATTR_RDONLY}), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(SetAttr(AT_FDCWD, "/nowhere", 0, {}), SyscallSucceeds()) << "nothing to do, so nothing is looked at";
  mount_attr attr{};
  EXPECT_THAT(syscall(kMountSetAttr, AT_FDCWD, "/", 0, &attr, 8), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(kMountSetAttr, AT_FDCWD, "/", 0, &attr, 8192), SyscallFailsWithErrno(E2BIG));
  EXPECT_THAT(syscall(kMountSetAttr, AT_FDCWD, "/", 0x10, &attr, sizeof attr), SyscallFailsWithErrno(EINVAL));
  // Nobody writes, or it does not become read-only.
  const Fd writer(open((A() + "/sub/f").c_str(), O_CREAT | O_WRONLY, 0644));
  ASSERT_TRUE(writer.ok());
  EXPECT_THAT(SetAttr(AT_FDCWD, A(), kRecursive, {.attr_set = MOUNT_ATTR_RDONLY}), SyscallFailsWithErrno(EBUSY));
  EXPECT_EQ(Info(A()).options, "rw,nosuid,nodev,noatime") << "all or nothing";
}

TEST_F(MountApiTest, AttributesOfTreesWithoutAPlace) {
  Tmpfs(A());
  const Fd tree = OpenTree(A(), kClone);
  EXPECT_THAT(SetAttr(tree.get(), "", AT_EMPTY_PATH, {.attr_set = MOUNT_ATTR_RDONLY}), SyscallSucceeds());
  EXPECT_THAT(mkdirat(tree.get(), "x", 0755), SyscallFailsWithErrno(EROFS));
  EXPECT_THAT(mkdir((A() + "/x").c_str(), 0755), SyscallSucceeds());
  mount_attr attr{.attr_set = MOUNT_ATTR_RDONLY};
  const Fd made(static_cast<int>(syscall(kOpenTreeAttr, AT_FDCWD, A().c_str(), kClone, &attr, sizeof attr)));
  if (!made.ok() && errno == ENOSYS) GTEST_SKIP() << "no open_tree_attr before Linux 6.15";
  ASSERT_TRUE(made.ok());
  EXPECT_THAT(mkdirat(made.get(), "y", 0755), SyscallFailsWithErrno(EROFS));
}

struct IdRequest {
  uint32_t size = 24, spare = 0;
  uint64_t id = 0, parameter = 0;
};
struct StatMount {
  uint32_t size, mnt_opts;
  uint64_t mask;
  uint32_t sb_dev_major, sb_dev_minor;
  uint64_t sb_magic;
  uint32_t sb_flags, fs_type;
  uint64_t mnt_id, mnt_parent_id;
  uint32_t mnt_id_old, mnt_parent_id_old;
  uint64_t mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
  uint32_t mnt_root, mnt_point;
  uint64_t rest[50];
  char text[4096];
};

uint64_t UniqueId(const std::string& path) {
  struct statx status {};
  constexpr unsigned kUnique = 0x4000;
  if (statx(AT_FDCWD, path.c_str(), 0, kUnique, &status) < 0 || !(status.stx_mask & kUnique)) return 0;
  return status.stx_mnt_id;
}

TEST_F(MountApiTest, StatMountAndListMount) {
  if (UniqueId("/") == 0) GTEST_SKIP() << "no unique mount ids before Linux 6.8";
  ASSERT_THAT(mount("t", A().c_str(), "tmpfs", MS_NOSUID, "size=64k"), SyscallSucceeds());
  mkdir((A() + "/sub").c_str(), 0755);
  Tmpfs(A() + "/sub");
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  IdRequest request{.id = UniqueId(A()), .parameter = 1 | 2 | 8 | 0x10 | 0x20};
  StatMount result{};
  ASSERT_THAT(syscall(kStatMount, &request, &result, sizeof result, 0), SyscallSucceeds());
  EXPECT_EQ(result.mask & request.parameter, request.parameter);
  EXPECT_EQ(result.mnt_id, UniqueId(A()));
  EXPECT_EQ(result.mnt_parent_id, UniqueId(Root()));
  EXPECT_EQ(result.mnt_id_old, static_cast<uint32_t>(Info(A()).id));
  EXPECT_EQ(result.mnt_attr, uint64_t{MOUNT_ATTR_NOSUID});
  EXPECT_EQ(result.mnt_propagation, uint64_t{MS_SHARED});
  EXPECT_EQ(result.mnt_peer_group, static_cast<uint64_t>(Info(A()).shared));
  EXPECT_EQ(result.sb_magic, 0x01021994u);
  EXPECT_STREQ(result.text + result.fs_type, "tmpfs");
  EXPECT_STREQ(result.text + result.mnt_root, "/");
  EXPECT_EQ(result.text + result.mnt_point, A());
  EXPECT_THAT(syscall(kStatMount, &request, &result, 520, 0), SyscallFailsWithErrno(EOVERFLOW));
  EXPECT_THAT(syscall(kStatMount, &request, &result, sizeof result, 1), SyscallFailsWithErrno(EINVAL));

  uint64_t ids[64];
  request.parameter = 0;
  EXPECT_THAT(syscall(kListMount, &request, ids, 64, 0), SyscallSucceedsWithValue(1));
  EXPECT_EQ(ids[0], UniqueId(A() + "/sub"));
  request.id = ~uint64_t{0};
  const long all = syscall(kListMount, &request, ids, 64, 0);
  ASSERT_GT(all, 2);
  EXPECT_TRUE(std::is_sorted(ids, ids + all));
  EXPECT_NE(std::find(ids, ids + all, UniqueId(A())), ids + all);
  // From where an earlier call stopped.
  request.parameter = ids[1];
  uint64_t rest[64];
  EXPECT_THAT(syscall(kListMount, &request, rest, 64, 0), SyscallSucceedsWithValue(all - 2));
  EXPECT_EQ(rest[0], ids[2]);
  EXPECT_THAT(syscall(kListMount, &request, rest, 64, 2), SyscallFailsWithErrno(EINVAL));
  request = {.id = 5};
  EXPECT_THAT(syscall(kStatMount, &request, &result, sizeof result, 0), SyscallFailsWithErrno(EINVAL));
  request = {.id = uint64_t{1} << 40};
  EXPECT_THAT(syscall(kStatMount, &request, &result, sizeof result, 0), SyscallFailsWithErrno(ENOENT));
  request.size = 8;
  EXPECT_THAT(syscall(kStatMount, &request, &result, sizeof result, 0), SyscallFailsWithErrno(EINVAL));
}

TEST_F(MountApiTest, StatxNumbers) {
  Tmpfs(A());
  struct statx status {};
  ASSERT_THAT(statx(AT_FDCWD, A().c_str(), 0, STATX_MNT_ID, &status), SyscallSucceeds());
  ASSERT_TRUE(status.stx_mask & STATX_MNT_ID);
  EXPECT_EQ(status.stx_mnt_id, static_cast<uint64_t>(Info(A()).id));
  EXPECT_TRUE(status.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

}  // namespace
}  // namespace usl::conformance
