// mount_namespaces(7), mount(2), umount2(2), pivot_root(2), tmpfs(5). Everything happens in a mount namespace of the
// test's own, so that nothing stays behind natively.
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>

#include "conformance/helpers.h"
#include "conformance/mount_helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr int kUmountNoFollow = 8;

std::string MakeFile(const std::string& path) {
  const Fd file(open(path.c_str(), O_CREAT | O_WRONLY, 0644));
  return path;
}

class MountTest : public MountFixture {};

TEST_F(MountTest, SharedMountsSeeEachOther) {
  Tmpfs(A());
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  mkdir((A() + "/x").c_str(), 0755);
  ASSERT_THAT(Bind(A(), B()), SyscallSucceeds());
  EXPECT_NE(Info(A()).shared, 0);
  EXPECT_EQ(Info(A()).shared, Info(B()).shared);
  Tmpfs(A() + "/x");
  ASSERT_TRUE(IsMounted(B() + "/x"));
  EXPECT_EQ(Info(A() + "/x").shared, Info(B() + "/x").shared);
  EXPECT_EQ(Info(A() + "/x").device, Info(B() + "/x").device);
  EXPECT_EQ(Info(B() + "/x").parent, Info(B()).id);
  EXPECT_THAT(umount((B() + "/x").c_str()), SyscallSucceeds());
  EXPECT_FALSE(IsMounted(A() + "/x"));
}

TEST_F(MountTest, SlavesReceive) {
  Tmpfs(A());
  mkdir((A() + "/x").c_str(), 0755);
  mkdir((A() + "/y").c_str(), 0755);
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  ASSERT_THAT(Bind(A(), B()), SyscallSucceeds());
  ASSERT_THAT(SetPropagation(B(), MS_SLAVE), SyscallSucceeds());
  EXPECT_EQ(Info(B()).master, Info(A()).shared);
  EXPECT_EQ(Info(B()).shared, 0);
  Tmpfs(A() + "/x");
  EXPECT_TRUE(IsMounted(B() + "/x"));
  EXPECT_EQ(Info(B() + "/x").master, Info(A() + "/x").shared);
  Tmpfs(B() + "/y");
  EXPECT_FALSE(IsMounted(A() + "/y"));
  ASSERT_THAT(SetPropagation(B(), MS_SHARED), SyscallSucceeds());
  EXPECT_NE(Info(B()).shared, 0);
  EXPECT_EQ(Info(B()).master, Info(A()).shared);
  ASSERT_THAT(SetPropagation(B(), MS_PRIVATE), SyscallSucceeds());
  EXPECT_EQ(Info(B()).master, 0);
}

TEST_F(MountTest, ALoneSharedMountMadeSlaveIsPrivate) {
  Tmpfs(A());
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  ASSERT_THAT(SetPropagation(A(), MS_SLAVE), SyscallSucceeds());
  EXPECT_EQ(Info(A()).master, 0);
  EXPECT_EQ(Info(A()).shared, 0);
}

TEST_F(MountTest, UnbindableMounts) {
  Tmpfs(A());
  mkdir((A() + "/x").c_str(), 0755);
  Tmpfs(A() + "/x");
  ASSERT_THAT(SetPropagation(A() + "/x", MS_UNBINDABLE), SyscallSucceeds());
  EXPECT_TRUE(Info(A() + "/x").unbindable);
  EXPECT_THAT(Bind(A() + "/x", B()), SyscallFailsWithErrno(EINVAL));
  ASSERT_THAT(Bind(A(), B(), MS_REC), SyscallSucceeds());
  EXPECT_FALSE(IsMounted(B() + "/x"));
}

TEST_F(MountTest, EventsReachOtherNamespaces) {
  Tmpfs(A());
  mkdir((A() + "/x").c_str(), 0755);
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  Peer peer([&] { return unshare(CLONE_NEWNS) == 0; });
  ASSERT_TRUE(peer.started());
  Tmpfs(A() + "/x");
  EXPECT_TRUE(peer.Ask([&] { return IsMounted(A() + "/x") && umount((A() + "/x").c_str()) == 0; }));
  EXPECT_FALSE(IsMounted(A() + "/x"));
  Tmpfs(B());
  EXPECT_TRUE(peer.Ask([&] { return !IsMounted(B()); })) << "not from private ones";
}

TEST_F(MountTest, SlaveNamespaceReceivesAndKeepsItsOwn) {
  ASSERT_THAT(mount("t", A().c_str(), "tmpfs", 0, nullptr), SyscallSucceeds());
  mkdir((A() + "/x").c_str(), 0755);
  mkdir((A() + "/y").c_str(), 0755);
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  Peer peer([&] { return unshare(CLONE_NEWNS) == 0 && SetPropagation("/", MS_SLAVE | MS_REC) == 0; });
  ASSERT_TRUE(peer.started());
  Tmpfs(A() + "/x");
  EXPECT_TRUE(peer.Ask([&] { return IsMounted(A() + "/x") && mount("t", (A() + "/y").c_str(), "tmpfs", 0, "") == 0; }));
  EXPECT_FALSE(IsMounted(A() + "/y"));
}

TEST_F(MountTest, PropagationErrors) {
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_SHARED, nullptr), SyscallFailsWithErrno(EINVAL)) << "no mount";
  Tmpfs(A());
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_SHARED | MS_SLAVE, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_SHARED | MS_RDONLY, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_SHARED | MS_REC | MS_SILENT, nullptr), SyscallSucceeds());
}

TEST_F(MountTest, MovesAndTheirErrors) {
  Tmpfs(A());
  mkdir((A() + "/x").c_str(), 0755);
  Tmpfs(A() + "/x");
  EXPECT_THAT(mount(A().c_str(), (A() + "/x").c_str(), nullptr, MS_MOVE, nullptr), SyscallFailsWithErrno(ELOOP));
  EXPECT_THAT(mount(C().c_str(), B().c_str(), nullptr, MS_MOVE, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount("/nowhere", B().c_str(), nullptr, MS_MOVE, nullptr), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(mount(nullptr, B().c_str(), nullptr, MS_MOVE, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount(A().c_str(), File().c_str(), nullptr, MS_MOVE, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount(A().c_str(), B().c_str(), nullptr, MS_MOVE, nullptr), SyscallSucceeds());
  EXPECT_TRUE(IsMounted(B() + "/x"));
  ASSERT_THAT(SetPropagation(B(), MS_SHARED), SyscallSucceeds());
  EXPECT_THAT(mount((B() + "/x").c_str(), A().c_str(), nullptr, MS_MOVE, nullptr), SyscallFailsWithErrno(EINVAL))
      << "its parent is shared";
  Tmpfs(C());
  ASSERT_THAT(SetPropagation(C(), MS_UNBINDABLE), SyscallSucceeds());
  EXPECT_THAT(mount(C().c_str(), B().c_str(), nullptr, MS_MOVE, nullptr), SyscallFailsWithErrno(EINVAL));
}

TEST_F(MountTest, BindErrors) {
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_BIND, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount("", A().c_str(), nullptr, MS_BIND, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount("/nowhere", A().c_str(), nullptr, MS_BIND, nullptr), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(Bind(A(), File()), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(Bind(File(), A()), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(mount(A().c_str(), "/nowhere", nullptr, MS_BIND, nullptr), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(mount("t", A().c_str(), "no-such", 0, nullptr), SyscallFailsWithErrno(ENODEV));
  EXPECT_THAT(mount("t", A().c_str(), nullptr, 0, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount("t", A().c_str(), "tmpfs", 0, kWildPointer), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(mount("t", A().c_str(), "tmpfs", 0, "nonsense=1"), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount("t", A().c_str(), "sysfs", 0, "nonsense=1"), SyscallFailsWithErrno(EINVAL));
}

TEST_F(MountTest, BusyMounts) {
  Tmpfs(A());
  mkdir((A() + "/d").c_str(), 0755);
  {
    const Fd directory(open((A() + "/d").c_str(), O_RDONLY | O_DIRECTORY));
    EXPECT_THAT(umount(A().c_str()), SyscallFailsWithErrno(EBUSY));
  }
  {
    const Fd file(open((A() + "/f").c_str(), O_CREAT | O_RDWR, 0600));
    ASSERT_TRUE(file.ok());
    EXPECT_THAT(umount(A().c_str()), SyscallFailsWithErrno(EBUSY));
    EXPECT_THAT(umount2(A().c_str(), MNT_FORCE), SyscallFailsWithErrno(EBUSY));
  }
  {
    const Fd path(open((A() + "/d").c_str(), O_PATH));
    EXPECT_THAT(umount(A().c_str()), SyscallFailsWithErrno(EBUSY));
  }
  ASSERT_THAT(chdir((A() + "/d").c_str()), SyscallSucceeds());
  EXPECT_THAT(umount(A().c_str()), SyscallFailsWithErrno(EBUSY));
  ASSERT_THAT(chdir("/"), SyscallSucceeds());
  Tmpfs(A() + "/d");
  EXPECT_THAT(umount(A().c_str()), SyscallFailsWithErrno(EBUSY));
  EXPECT_THAT(umount((A() + "/d").c_str()), SyscallSucceeds());
  EXPECT_THAT(umount(A().c_str()), SyscallSucceeds());
  EXPECT_THAT(umount(A().c_str()), SyscallFailsWithErrno(EINVAL));
}

TEST_F(MountTest, LazyUnmountKeepsWhatIsOpen) {
  Tmpfs(A());
  mkdir((A() + "/d").c_str(), 0755);
  Tmpfs(A() + "/d");
  const Fd directory(open(A().c_str(), O_RDONLY | O_DIRECTORY));
  const Fd file(openat(directory.get(), "f", O_CREAT | O_RDWR, 0600));
  ASSERT_THAT(umount2(A().c_str(), MNT_DETACH), SyscallSucceeds());
  EXPECT_FALSE(IsMounted(A()));
  EXPECT_FALSE(IsMounted(A() + "/d"));
  const Fd again(openat(directory.get(), "f", O_RDONLY));
  EXPECT_TRUE(again.ok());
  EXPECT_THAT(mkdirat(directory.get(), "more", 0755), SyscallSucceeds());
  struct stat status;
  EXPECT_THAT(fstatat(directory.get(), "d", &status, 0), SyscallSucceeds());
  EXPECT_THAT(write(file.get(), "x", 1), SyscallSucceeds());
  EXPECT_THAT(fchdir(directory.get()), SyscallSucceeds());
  char text[256];
  const long length = syscall(SYS_getcwd, text, sizeof text);
  ASSERT_GT(length, 0);
  EXPECT_EQ(std::string(text).find("(unreachable)"), 0u);
  EXPECT_THAT(chdir(".."), SyscallSucceeds()) << "the root of what was unmounted is its own parent";
  EXPECT_TRUE(Exists("more"));
}

TEST_F(MountTest, UnmountFlags) {
  Tmpfs(A());
  EXPECT_THAT(umount2(A().c_str(), MNT_EXPIRE | MNT_FORCE), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(umount2(A().c_str(), MNT_EXPIRE | MNT_DETACH), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(umount2(A().c_str(), 0x10), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(umount2(A().c_str(), MNT_EXPIRE), SyscallFailsWithErrno(EAGAIN));
  { const Fd used(open(A().c_str(), O_RDONLY | O_DIRECTORY)); }
  EXPECT_THAT(umount2(A().c_str(), MNT_EXPIRE), SyscallFailsWithErrno(EAGAIN)) << "used meanwhile";
  EXPECT_THAT(umount2(A().c_str(), MNT_EXPIRE), SyscallSucceeds());
  EXPECT_FALSE(IsMounted(A()));
  Tmpfs(A());
  ASSERT_THAT(symlink(A().c_str(), (Root() + "/link").c_str()), SyscallSucceeds());
  EXPECT_THAT(umount2((Root() + "/link").c_str(), kUmountNoFollow), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(umount2((Root() + "/link").c_str(), 0), SyscallSucceeds());
  EXPECT_THAT(umount2("/nowhere", 0), SyscallFailsWithErrno(ENOENT));
}

TEST_F(MountTest, MountFlagsHold) {
  ASSERT_THAT(mount("t", A().c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, nullptr),
              SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "rw,nosuid,nodev,noexec,noatime");
  struct statvfs status;
  ASSERT_THAT(statvfs(A().c_str(), &status), SyscallSucceeds());
  EXPECT_EQ(status.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME | ST_RDONLY),
            ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME);
  ASSERT_THAT(mknod((A() + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), SyscallSucceeds());
  EXPECT_THAT(open((A() + "/null").c_str(), O_RDONLY), SyscallFailsWithErrno(EACCES));
  const Fd program(open((A() + "/p").c_str(), O_CREAT | O_WRONLY, 0755));
  EXPECT_THAT(access((A() + "/p").c_str(), X_OK), SyscallFailsWithErrno(EACCES));
  // A plain remount keeps the rule of access times and sets the others anew.
  ASSERT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NODEV, nullptr), SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "rw,nodev,noatime");
  ASSERT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_STRICTATIME, nullptr), SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "rw");
  ASSERT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RELATIME, nullptr), SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "rw,relatime");
}

TEST_F(MountTest, NoSymlinksFollowed) {
  Tmpfs(A());
  ASSERT_THAT(symlink(B().c_str(), (A() + "/l").c_str()), SyscallSucceeds());
  ASSERT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT | MS_BIND | 256, nullptr), SyscallSucceeds());
  EXPECT_EQ(Info(A()).options, "rw,relatime,nosymfollow");
  EXPECT_THAT(open((A() + "/l").c_str(), O_RDONLY), SyscallFailsWithErrno(ELOOP));
  char target[64];
  EXPECT_THAT(readlink((A() + "/l").c_str(), target, sizeof target), SyscallSucceeds());
}

TEST_F(MountTest, ReadOnlyPerMountAndPerFileSystem) {
  Tmpfs(A());
  ASSERT_THAT(Bind(A(), B()), SyscallSucceeds());
  ASSERT_THAT(mount(nullptr, B().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr), SyscallSucceeds());
  EXPECT_THAT(mkdir((B() + "/x").c_str(), 0755), SyscallFailsWithErrno(EROFS));
  EXPECT_THAT(mkdir((A() + "/x").c_str(), 0755), SyscallSucceeds());
  EXPECT_EQ(Info(B()).super_options.substr(0, 2), "rw");
  // A file that was opened read-only through the read-only mount gives no way around it.
  const Fd made(open((A() + "/f").c_str(), O_CREAT | O_WRONLY, 0644));
  const Fd file(open((B() + "/f").c_str(), O_RDONLY));
  ASSERT_TRUE(file.ok());
  EXPECT_THAT(open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_WRONLY), SyscallFailsWithErrno(EROFS));
  EXPECT_THAT(fchmod(file.get(), 0600), SyscallFailsWithErrno(EROFS));
  const Fd writer(open((A() + "/f").c_str(), O_RDWR));
  EXPECT_THAT(fchmod(writer.get(), 0600), SyscallSucceeds());
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), SyscallFailsWithErrno(EBUSY))
      << "somebody writes";
  const_cast<Fd&>(writer).Close();
  const_cast<Fd&>(made).Close();
  ASSERT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), SyscallSucceeds());
  EXPECT_EQ(Info(B()).super_options.substr(0, 2), "ro");
  ASSERT_THAT(mount(nullptr, B().c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr), SyscallSucceeds());
  EXPECT_THAT(mkdir((B() + "/y").c_str(), 0755), SyscallFailsWithErrno(EROFS)) << "the file system is";
  ASSERT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT, nullptr), SyscallSucceeds());
  EXPECT_THAT(mkdir((B() + "/y").c_str(), 0755), SyscallSucceeds());
}

TEST_F(MountTest, RemountErrors) {
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT, nullptr), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr), SyscallFailsWithErrno(EINVAL));
  Tmpfs(A());
  EXPECT_THAT(mount(nullptr, A().c_str(), nullptr, MS_REMOUNT, "nonsense"), SyscallFailsWithErrno(EINVAL));
}

TEST_F(MountTest, TmpfsOptions) {
  ASSERT_THAT(mount("name", A().c_str(), "tmpfs", 0, "size=1m,nr_inodes=10,mode=0711,uid=7,gid=8"), SyscallSucceeds());
  EXPECT_EQ(ModeOf(A()), 0711u);
  EXPECT_EQ(StatOf(A()).st_uid, 7u);
  EXPECT_EQ(StatOf(A()).st_gid, 8u);
  struct statfs status;
  ASSERT_THAT(statfs(A().c_str(), &status), SyscallSucceeds());
  EXPECT_EQ(status.f_type, 0x01021994);
  EXPECT_EQ(static_cast<uint64_t>(status.f_blocks) * static_cast<uint64_t>(status.f_bsize), 1u << 20);
  EXPECT_EQ(status.f_files, 10u);
  EXPECT_EQ(status.f_ffree, 9u);
  EXPECT_EQ(Info(A()).source, "name");
  EXPECT_NE(("," + Info(A()).super_options + ",").find(",size=1024k,"), std::string::npos);
  EXPECT_NE(("," + Info(A()).super_options + ",").find(",nr_inodes=10,"), std::string::npos);
  // The root is the first; a file system without inodes takes no name.
  for (int i = 0; i < 9; ++i) ASSERT_THAT(mkdir((A() + "/" + std::to_string(i)).c_str(), 0755), SyscallSucceeds()) << i;
  EXPECT_THAT(mkdir((A() + "/full").c_str(), 0755), SyscallFailsWithErrno(ENOSPC));
  EXPECT_THAT(open((A() + "/full").c_str(), O_CREAT | O_WRONLY, 0644), SyscallFailsWithErrno(ENOSPC));
  ASSERT_THAT(rmdir((A() + "/0").c_str()), SyscallSucceeds());
  ASSERT_THAT(link(MakeFile(A() + "/f").c_str(), (A() + "/g").c_str()), SyscallFailsWithErrno(ENOSPC)) << "names count";
  ASSERT_THAT(rename((A() + "/1").c_str(), (A() + "/2").c_str()), SyscallSucceeds()) << "over an empty directory";
  EXPECT_THAT(link((A() + "/f").c_str(), (A() + "/g").c_str()), SyscallSucceeds());
  EXPECT_THAT(mkdir((A() + "/more").c_str(), 0755), SyscallFailsWithErrno(ENOSPC));
  ASSERT_THAT(unlink((A() + "/g").c_str()), SyscallSucceeds());
  EXPECT_THAT(symlink("x", (A() + "/more").c_str()), SyscallSucceeds());
}

TEST_F(MountTest, TmpfsSize) {
  ASSERT_THAT(mount("t", A().c_str(), "tmpfs", 0, "size=256k"), SyscallSucceeds());
  const auto free_bytes = [&] {
    struct statfs status {};
    statfs(A().c_str(), &status);
    return static_cast<uint64_t>(status.f_bfree) * static_cast<uint64_t>(status.f_bsize);
  };
  EXPECT_EQ(free_bytes(), 256u << 10);
  const std::string block(64 << 10, 'x');
  for (int i = 0; i < 4; ++i) {
    const Fd file(open((A() + "/" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY, 0644));
    ASSERT_EQ(write(file.get(), block.data(), block.size()), static_cast<ssize_t>(block.size())) << i;
    EXPECT_EQ(free_bytes(), static_cast<uint64_t>(3 - i) * block.size());
  }
  // A file more fails at its open or at its first write.
  const Fd file(open((A() + "/more").c_str(), O_CREAT | O_WRONLY, 0644));
  if (file.ok()) {
    EXPECT_THAT(write(file.get(), "x", 1), SyscallFailsWithErrno(ENOSPC));
  } else {
    EXPECT_EQ(errno, ENOSPC);
  }
  EXPECT_THAT(mount("t", A().c_str(), "tmpfs", MS_REMOUNT, "size=128k"), SyscallFailsWithErrno(EINVAL)) << "in use";
  ASSERT_THAT(unlink((A() + "/0").c_str()), SyscallSucceeds());
  EXPECT_EQ(free_bytes(), 64u << 10);
  ASSERT_THAT(truncate((A() + "/1").c_str(), 0), SyscallSucceeds());
  EXPECT_EQ(free_bytes(), 128u << 10);
  EXPECT_THAT(mount("t", A().c_str(), "tmpfs", MS_REMOUNT, "size=128k"), SyscallSucceeds());
}

TEST_F(MountTest, TmpfsRemount) {
  ASSERT_THAT(mount("t", A().c_str(), "tmpfs", 0, "size=1m,nr_inodes=100"), SyscallSucceeds());
  ASSERT_THAT(mount("t", A().c_str(), "tmpfs", MS_REMOUNT, "size=2m"), SyscallSucceeds());
  struct statfs status;
  ASSERT_THAT(statfs(A().c_str(), &status), SyscallSucceeds());
  EXPECT_EQ(static_cast<uint64_t>(status.f_blocks) * static_cast<uint64_t>(status.f_bsize), 2u << 20);
  EXPECT_EQ(status.f_files, 100u) << "what is not named stays";
  EXPECT_THAT(mount("t", A().c_str(), "tmpfs", MS_REMOUNT, "size=nonsense"), SyscallFailsWithErrno(EINVAL));
  for (int i = 0; i < 20; ++i) mkdir((A() + "/" + std::to_string(i)).c_str(), 0755);
  EXPECT_THAT(mount("t", A().c_str(), "tmpfs", MS_REMOUNT, "nr_inodes=5"), SyscallFailsWithErrno(EINVAL))
      << "more are in use";
  EXPECT_THAT(mount("t", A().c_str(), "tmpfs", MS_REMOUNT, "nr_inodes=50"), SyscallSucceeds());
}

TEST_F(MountTest, RemovedMountPointsOfOtherNamespaces) {
  const std::string place = Root() + "/gone";
  ASSERT_THAT(mkdir(place.c_str(), 0755), SyscallSucceeds());
  Peer peer([&] { return unshare(CLONE_NEWNS) == 0 && mount("t", place.c_str(), "tmpfs", 0, nullptr) == 0; });
  ASSERT_TRUE(peer.started());
  EXPECT_THAT(rmdir(place.c_str()), SyscallSucceeds());
  EXPECT_TRUE(peer.Ask([&] { return !IsMounted(place); }));
  Tmpfs(A());
  EXPECT_THAT(rmdir(A().c_str()), SyscallFailsWithErrno(EBUSY));
  EXPECT_THAT(rename(A().c_str(), (Root() + "/new").c_str()), SyscallFailsWithErrno(EBUSY));
}

TEST_F(MountTest, PivotRoot) {
  Tmpfs(A());
  mkdir((A() + "/old").c_str(), 0755);
  mkdir((A() + "/sub").c_str(), 0755);
  const auto pivot = [](const std::string& root, const std::string& old) {
    return syscall(SYS_pivot_root, root.c_str(), old.c_str());
  };
  if (Info(A()).parent == Info("/").id) {
    EXPECT_THAT(pivot(B(), B()), SyscallFailsWithErrno(EBUSY)) << "on the root mount";
    EXPECT_THAT(pivot(A(), B()), SyscallFailsWithErrno(EBUSY));
  }
  EXPECT_THAT(pivot(A() + "/sub", A() + "/sub"), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(pivot(A(), "/nowhere"), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(pivot(File(), A()), SyscallFailsWithErrno(ENOTDIR));
  Tmpfs(B());
  EXPECT_THAT(pivot(A(), B()), SyscallFailsWithErrno(EINVAL)) << "not below the new root";
  ASSERT_THAT(SetPropagation(A(), MS_SHARED), SyscallSucceeds());
  EXPECT_THAT(pivot(A(), A() + "/old"), SyscallFailsWithErrno(EINVAL)) << "shared";
  ASSERT_THAT(SetPropagation(A(), MS_PRIVATE), SyscallSucceeds());
  const std::string file = File();
  EXPECT_TRUE(InChild([&] {
    // The root is changed for all of the namespace, so in one of the child's own.
    if (unshare(CLONE_NEWNS) < 0 || chdir(A().c_str()) < 0) return false;
    if (pivot(".", "old") < 0) return false;
    if (!Exists("/sub") || !Exists("/old" + file)) return false;
    return umount2("/old", MNT_DETACH) == 0 && !Exists("/old" + file) && Exists("/sub");
  }));
  EXPECT_TRUE(InChild([&] {
    if (unshare(CLONE_NEWNS) < 0 || chdir(A().c_str()) < 0) return false;
    return pivot(".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && Exists("/sub") && !Exists("/proc/self");
  })) << "the way of pivot_root(2)'s notes";
}

TEST_F(MountTest, NamespacesHaveNumbersAndAreJoined) {
  const auto number = [](const std::string& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
  };
  ASSERT_THAT(mount("t", A().c_str(), "tmpfs", 0, nullptr), SyscallSucceeds());
  const ino_t own = number("/proc/self/ns/mnt");
  Peer peer([&] {
    return unshare(CLONE_NEWNS | CLONE_NEWUTS) == 0 && umount(A().c_str()) == 0 && sethostname("inner", 5) == 0;
  });
  ASSERT_TRUE(peer.started());
  const std::string of_peer = "/proc/" + std::to_string(peer.pid()) + "/ns/";
  EXPECT_NE(number(of_peer + "mnt"), own);
  EXPECT_NE(number(of_peer + "uts"), number("/proc/self/ns/uts"));
  EXPECT_EQ(number(of_peer + "net"), number("/proc/self/ns/net"));
  const Fd mounts(open((of_peer + "mnt").c_str(), O_RDONLY));
  const Fd names(open((of_peer + "uts").c_str(), O_RDONLY));
  ASSERT_TRUE(mounts.ok() && names.ok());
  EXPECT_THAT(setns(mounts.get(), CLONE_NEWUTS), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(setns(-1, 0), SyscallFailsWithErrno(EBADF));
  const Fd other(open("/", O_RDONLY));
  EXPECT_THAT(setns(other.get(), 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return setns(mounts.get(), 0); }), EPERM);
  EXPECT_TRUE(IsMounted(A()));
  EXPECT_TRUE(InChild([&] {
    if (setns(mounts.get(), CLONE_NEWNS) < 0 || setns(names.get(), 0) < 0) return false;
    char host[65];
    gethostname(host, sizeof host);
    return !IsMounted(A()) && std::string(host) == "inner" && number("/proc/self/ns/mnt") == number(of_peer + "mnt");
  }));
  EXPECT_TRUE(InChild([&] {
    const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, peer.pid(), 0)));
    return setns(pidfd.get(), CLONE_NEWNS) == 0 && !IsMounted(A());
  })) << "by the process";
}

TEST_F(MountTest, CloneMakesNamespaces) {
  Tmpfs(A());
  const std::string a = A();
  // The way of bubblewrap.
  const pid_t child = static_cast<pid_t>(syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0));
  if (child == 0) _exit(IsMounted(a) && umount(a.c_str()) == 0 && !IsMounted(a) ? 0 : 1);
  ASSERT_GT(child, 0);
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(IsMounted(A()));
  EXPECT_THAT(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_EQ(ErrnoAs(kUser,
                    [] {
                      const long made = syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
                      if (made == 0) _exit(0);
                      return made;
                    }),
            EPERM);
}

TEST_F(MountTest, UnmountingTheOwnRootMakesItReadOnly) {
  Tmpfs(A());
  EXPECT_TRUE(InChild([&] {
    if (chroot(A().c_str()) < 0 || chdir("/") < 0) return false;
    if (umount("/") != 0) return false;
    return mkdir("/x", 0755) == -1 && errno == EROFS;
  }));
}

TEST_F(MountTest, ProcMounts) {
  ASSERT_THAT(mount("so urce", A().c_str(), "tmpfs", MS_NODEV, "size=64k"), SyscallSucceeds());
  const std::string mounts = ReadFile("/proc/self/mounts");
  EXPECT_NE(mounts.find("so\\040urce " + A() + " tmpfs rw,nodev,relatime,size=64k"), std::string::npos) << mounts;
  ASSERT_THAT(Bind(A(), B()), SyscallSucceeds());
  mkdir((A() + "/in").c_str(), 0755);
  ASSERT_THAT(Bind(A() + "/in", C()), SyscallSucceeds());
  EXPECT_EQ(Info(C()).root, "/in");
  EXPECT_EQ(Info(C()).parent, Info(A()).parent);
}

}  // namespace
}  // namespace usl::conformance
