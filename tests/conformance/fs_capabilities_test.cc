// What each capability of capabilities(7) that concerns files allows, and what it does not; set-id bits and sticky
// directories; the fs.protected_* settings.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr uint64_t Bit(int capability) {
  return uint64_t{1} << capability;
}

// A file and a directory of somebody else that nobody may use.
class Capabilities : public ::testing::Test {
 protected:
  Capabilities() {
    file_ = dir_.File("f", "content", 0);
    directory_ = dir_.Directory("d", 0);
    inner_ = dir_.File("d/inner", "x", 0666);
    for (const std::string& path : {file_, directory_, inner_}) {
      EXPECT_THAT(chown(path.c_str(), kOtherUser, kOtherGroup), SyscallSucceeds());
    }
  }
  int With(int capability, const std::function<long()>& call) {
    return ErrnoWith(Bit(capability), kUser, kGroup, {}, call);
  }
  int Open(int capability, const std::string& path, int flags) {
    return With(capability, [&] { return open(path.c_str(), flags); });
  }
  const TempDirectory dir_;
  std::string file_, directory_, inner_;
};

TEST_F(Capabilities, NoneMeansNothing) {
  EXPECT_EQ(Open(CAP_SETFCAP, file_, O_RDONLY), EACCES);
  EXPECT_EQ(Open(CAP_SETFCAP, inner_, O_RDONLY), EACCES);
  EXPECT_EQ(ErrnoWith(0, 0, 0, {}, [&] { return open(file_.c_str(), O_RDONLY); }), EACCES);
}

TEST_F(Capabilities, DacOverride) {
  EXPECT_EQ(Open(CAP_DAC_OVERRIDE, file_, O_RDONLY), 0);
  EXPECT_EQ(Open(CAP_DAC_OVERRIDE, file_, O_RDWR), 0);
  EXPECT_EQ(Open(CAP_DAC_OVERRIDE, directory_, O_RDONLY), 0);
  EXPECT_EQ(Open(CAP_DAC_OVERRIDE, inner_, O_RDWR), 0);
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return mkdir((directory_ + "/new").c_str(), 0700); }), 0);
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return unlink(inner_.c_str()); }), 0);
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return truncate(file_.c_str(), 0); }), 0);
  EXPECT_EQ(
      With(CAP_DAC_OVERRIDE, [&] { return syscall(SYS_faccessat2, AT_FDCWD, file_.c_str(), R_OK | W_OK, AT_EACCESS); }),
      0);
  // Nobody executes what nobody may execute; owning is another matter.
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return syscall(SYS_faccessat2, AT_FDCWD, file_.c_str(), X_OK, AT_EACCESS); }),
            EACCES);
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return chmod(file_.c_str(), 0777); }), EPERM);
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return chown(file_.c_str(), kUser, -1); }), EPERM);
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return utimensat(AT_FDCWD, file_.c_str(), nullptr, 0); }), 0);
  ASSERT_THAT(chmod(file_.c_str(), 0001), SyscallSucceeds());
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return syscall(SYS_faccessat2, AT_FDCWD, file_.c_str(), X_OK, AT_EACCESS); }),
            0);
}

TEST_F(Capabilities, DacReadSearch) {
  EXPECT_EQ(Open(CAP_DAC_READ_SEARCH, file_, O_RDONLY), 0);
  EXPECT_EQ(Open(CAP_DAC_READ_SEARCH, file_, O_WRONLY), EACCES);
  EXPECT_EQ(Open(CAP_DAC_READ_SEARCH, file_, O_RDWR), EACCES);
  EXPECT_EQ(Open(CAP_DAC_READ_SEARCH, directory_, O_RDONLY), 0);
  EXPECT_EQ(Open(CAP_DAC_READ_SEARCH, inner_, O_RDWR), 0);  // whose mode is 0666
  EXPECT_EQ(With(CAP_DAC_READ_SEARCH, [&] { return mkdir((directory_ + "/new").c_str(), 0700); }), EACCES);
  EXPECT_EQ(
      With(CAP_DAC_READ_SEARCH, [&] { return syscall(SYS_faccessat2, AT_FDCWD, file_.c_str(), X_OK, AT_EACCESS); }),
      EACCES);
  EXPECT_EQ(With(CAP_DAC_READ_SEARCH,
                 [&] { return syscall(SYS_faccessat2, AT_FDCWD, directory_.c_str(), R_OK | X_OK, AT_EACCESS); }),
            0);
  EXPECT_EQ(With(CAP_DAC_READ_SEARCH,
                 [&] { return syscall(SYS_faccessat2, AT_FDCWD, directory_.c_str(), W_OK, AT_EACCESS); }),
            EACCES);
}

TEST_F(Capabilities, FileOwner) {
  EXPECT_EQ(With(CAP_FOWNER, [&] { return chmod(file_.c_str(), 0640); }), 0);
  EXPECT_EQ(ModeOf(file_), 0640u);
  EXPECT_EQ(Open(CAP_FOWNER, file_, O_RDONLY), EACCES);
  const timespec times[2] = {{1, 0}, {2, 0}};
  EXPECT_EQ(With(CAP_FOWNER, [&] { return utimensat(AT_FDCWD, file_.c_str(), times, 0); }), 0);
  ASSERT_THAT(chmod(file_.c_str(), 0644), SyscallSucceeds());
  EXPECT_EQ(Open(CAP_FOWNER, file_, O_RDONLY | O_NOATIME), 0);
  EXPECT_EQ(Open(CAP_SETFCAP, file_, O_RDONLY | O_NOATIME), EPERM);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return chown(file_.c_str(), kUser, -1); }), EPERM);
  // Not in the file's group: the setgid bit is dropped silently.
  EXPECT_EQ(With(CAP_FOWNER, [&] { return chmod(file_.c_str(), 06755); }), 0);
  EXPECT_EQ(ModeOf(file_), 04755u);
  const unsigned char list[] = {2, 0, 0,   0,   1,   0,   6,    0, 255, 255, 255, 255, 4,   0,
                                4, 0, 255, 255, 255, 255, 0x20, 0, 0,   0,   255, 255, 255, 255};
  EXPECT_EQ(With(CAP_FOWNER, [&] { return setxattr(file_.c_str(), "system.posix_acl_access", list, sizeof list, 0); }),
            0);
  EXPECT_EQ(ModeOf(file_), 04640u);
}

TEST_F(Capabilities, FileOwnerInStickyDirectories) {
  ASSERT_THAT(chmod(directory_.c_str(), 01777), SyscallSucceeds());
  const std::string other = dir_.File("d/other", "", 0666);
  ASSERT_THAT(chown(other.c_str(), kOtherUser, kOtherGroup), SyscallSucceeds());
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return unlink(inner_.c_str()); }), EPERM);
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return rename(inner_.c_str(), (inner_ + "2").c_str()); }), EPERM);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return rename(inner_.c_str(), (inner_ + "2").c_str()); }), 0);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return unlink((inner_ + "2").c_str()); }), 0);
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return unlink(other.c_str()); }), 0);
}

TEST_F(Capabilities, ChangeOwner) {
  EXPECT_EQ(With(CAP_CHOWN, [&] { return chown(file_.c_str(), kUser, kGroup); }), 0);
  EXPECT_EQ(StatOf(file_).st_uid, kUser);
  EXPECT_EQ(StatOf(file_).st_gid, kGroup);
  EXPECT_EQ(With(CAP_CHOWN, [&] { return chown(file_.c_str(), 0, 0); }), 0);
  EXPECT_EQ(With(CAP_CHOWN, [&] { return chmod(file_.c_str(), 0777); }), EPERM);
}

TEST_F(Capabilities, ChangeOwnerTakesSetIdBits) {
  ASSERT_THAT(chmod(file_.c_str(), 06755), SyscallSucceeds());
  // The bits go, for which one must be the owner or CAP_FOWNER: Linux refuses otherwise.
  EXPECT_EQ(With(CAP_CHOWN, [&] { return chown(file_.c_str(), kUser, kGroup); }), EPERM);
  EXPECT_EQ(ErrnoWith(Bit(CAP_CHOWN) | Bit(CAP_FOWNER), kUser, kGroup, {},
                      [&] { return chown(file_.c_str(), kUser, kGroup); }),
            0);
  EXPECT_EQ(ModeOf(file_), 0755u);
  // Root's chown takes them too.
  ASSERT_THAT(chmod(file_.c_str(), 06755), SyscallSucceeds());
  ASSERT_THAT(chown(file_.c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_EQ(ModeOf(file_), 0755u);
  // Setgid without group execution is no set-id bit: root keeps it.
  ASSERT_THAT(chmod(file_.c_str(), 02745), SyscallSucceeds());
  ASSERT_THAT(chown(file_.c_str(), kUser, kOtherGroup), SyscallSucceeds());
  EXPECT_EQ(ModeOf(file_), 02745u);
  // A directory keeps its own.
  ASSERT_THAT(chmod(directory_.c_str(), 06755), SyscallSucceeds());
  ASSERT_THAT(chown(directory_.c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_EQ(ModeOf(directory_), 06755u);
  // And chown(-1, -1) of a set-id file takes its bits as well.
  ASSERT_THAT(chmod(file_.c_str(), 04755), SyscallSucceeds());
  ASSERT_THAT(chown(file_.c_str(), -1, -1), SyscallSucceeds());
  EXPECT_EQ(ModeOf(file_), 0755u);
}

TEST_F(Capabilities, FileSetId) {
  ASSERT_THAT(chown(file_.c_str(), kUser, kOtherGroup), SyscallSucceeds());
  EXPECT_EQ(With(CAP_SETFCAP, [&] { return chmod(file_.c_str(), 02755); }), 0);
  EXPECT_EQ(ModeOf(file_), 0755u);
  EXPECT_EQ(With(CAP_FSETID, [&] { return chmod(file_.c_str(), 02755); }), 0);
  EXPECT_EQ(ModeOf(file_), 02755u);
}

long WriteTo(const std::string& path) {
  const Fd fd(open(path.c_str(), O_WRONLY));
  return fd.ok() ? write(fd.get(), "x", 1) : -1;
}

TEST_F(Capabilities, WritingTakesSetIdBits) {
  for (mode_t mode : {04777, 02777, 06777, 02767, 04666}) {
    ASSERT_THAT(chmod(file_.c_str(), mode), SyscallSucceeds());
    EXPECT_EQ(With(CAP_FSETID, [&] { return WriteTo(file_); }), 0);
    EXPECT_EQ(ModeOf(file_), mode);
    EXPECT_EQ(ErrnoAs(kUser, [&] { return WriteTo(file_); }), 0);
    EXPECT_EQ(ModeOf(file_), mode & 0777) << std::oct << mode;
  }
  ASSERT_THAT(chmod(file_.c_str(), 06777), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return truncate(file_.c_str(), 3); }), 0);
  EXPECT_EQ(ModeOf(file_), 0777u);
  ASSERT_THAT(chmod(file_.c_str(), 06777), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(file_.c_str(), O_RDONLY | O_TRUNC); }), 0);
  EXPECT_EQ(ModeOf(file_), 0777u);
  ASSERT_THAT(chmod(file_.c_str(), 06777), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(file_.c_str(), O_RDONLY); }), 0);
  EXPECT_EQ(ModeOf(file_), 06777u);
}

TEST_F(Capabilities, WritingTakesFileCapabilities) {
  const unsigned char value[20] = {1, 0, 0, 2, 0, 4};
  ASSERT_THAT(chmod(file_.c_str(), 0777), SyscallSucceeds());
  const auto set = [&] { return setxattr(file_.c_str(), "security.capability", value, sizeof value, 0); };
  const auto has = [&] { return getxattr(file_.c_str(), "security.capability", nullptr, 0) == 20; };
  EXPECT_EQ(With(CAP_SETFCAP, set), 0);
  EXPECT_TRUE(has());
  EXPECT_EQ(With(CAP_FSETID, [&] { return WriteTo(file_); }), 0);
  EXPECT_FALSE(has());
  ASSERT_THAT(set(), SyscallSucceeds());
  ASSERT_THAT(truncate(file_.c_str(), 1), SyscallSucceeds());
  EXPECT_FALSE(has());
  ASSERT_THAT(set(), SyscallSucceeds());
  ASSERT_THAT(chown(file_.c_str(), 0, 0), SyscallSucceeds());
  EXPECT_FALSE(has());
  ASSERT_THAT(set(), SyscallSucceeds());
  ASSERT_THAT(chmod(file_.c_str(), 0711), SyscallSucceeds());
  EXPECT_TRUE(has());
  EXPECT_EQ(With(CAP_FOWNER, set), EPERM);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return removexattr(file_.c_str(), "security.capability"); }), EPERM);
  EXPECT_EQ(With(CAP_SETFCAP, [&] { return removexattr(file_.c_str(), "security.capability"); }), 0);
  EXPECT_THAT(setxattr(file_.c_str(), "security.capability", value, 12, 0), SyscallFailsWithErrno(EINVAL));
}

TEST_F(Capabilities, MakeNode) {
  ASSERT_THAT(chmod(directory_.c_str(), 0777), SyscallSucceeds());
  const std::string node = directory_ + "/node";
  EXPECT_EQ(With(CAP_FOWNER, [&] { return mknod(node.c_str(), S_IFCHR | 0600, makedev(1, 3)); }), EPERM);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return mknod(node.c_str(), S_IFBLK | 0600, makedev(7, 3)); }), EPERM);
  EXPECT_EQ(With(CAP_MKNOD, [&] { return mknod(node.c_str(), S_IFCHR | 0600, makedev(1, 3)); }), 0);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return mknod((node + "1").c_str(), S_IFIFO | 0600, makedev(1, 3)); }), 0);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return mknod((node + "2").c_str(), S_IFSOCK | 0600, 0); }), 0);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return mknod((node + "3").c_str(), S_IFREG | 0600, 0); }), 0);
  EXPECT_EQ(StatOf(node).st_uid, kUser);
  EXPECT_EQ(StatOf(node + "1").st_rdev, 0u);
}

TEST_F(Capabilities, SystemAdministrator) {
  EXPECT_EQ(With(CAP_FOWNER, [&] { return setxattr(file_.c_str(), "trusted.a", "1", 1, 0); }), EPERM);
  EXPECT_EQ(With(CAP_SYS_ADMIN, [&] { return setxattr(file_.c_str(), "trusted.a", "1", 1, 0); }), 0);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return getxattr(file_.c_str(), "trusted.a", nullptr, 0); }), ENODATA);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return removexattr(file_.c_str(), "trusted.a"); }), EPERM);
  EXPECT_EQ(With(CAP_SYS_ADMIN, [&] { return removexattr(file_.c_str(), "trusted.a"); }), 0);
  EXPECT_EQ(With(CAP_SYS_ADMIN, [&] { return setxattr(file_.c_str(), "security.a", "1", 1, 0); }), 0);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return setxattr(file_.c_str(), "security.a", "1", 1, 0); }), EPERM);
  // user.* asks for the file's permission bits; in sticky directories for ownership.
  EXPECT_EQ(With(CAP_FOWNER, [&] { return setxattr(file_.c_str(), "user.a", "1", 1, 0); }), EACCES);
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return setxattr(file_.c_str(), "user.a", "1", 1, 0); }), 0);
  ASSERT_THAT(chmod(directory_.c_str(), 01777), SyscallSucceeds());
  EXPECT_EQ(With(CAP_DAC_OVERRIDE, [&] { return setxattr(directory_.c_str(), "user.a", "1", 1, 0); }), EPERM);
  EXPECT_EQ(With(CAP_FOWNER, [&] { return setxattr(directory_.c_str(), "user.a", "1", 1, 0); }), 0);
}

TEST(SetgidDirectories, GiveTheirGroup) {
  const TempDirectory dir;
  const std::string directory = dir.Directory("d");
  ASSERT_THAT(chown(directory.c_str(), kUser, kOtherGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(directory.c_str(), 02777), SyscallSucceeds());
  const ScopedUmask mask(0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((directory + "/f").c_str(), O_CREAT | O_WRONLY, 02755); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mkdir((directory + "/d").c_str(), 0755); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return symlink("t", (directory + "/l").c_str()); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mknod((directory + "/p").c_str(), S_IFIFO | 02644, 0); }), 0);
  for (const char* name : {"/f", "/d", "/l", "/p"}) EXPECT_EQ(StatOf(directory + name).st_gid, kOtherGroup) << name;
  // An executable cannot be made setgid to a group that one is not in; without group execution it means nothing.
  EXPECT_EQ(ModeOf(directory + "/f"), 0755u);
  EXPECT_EQ(ModeOf(directory + "/p"), 02644u);
  EXPECT_EQ(ModeOf(directory + "/d"), 02755u);
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {kOtherGroup},
                    [&] { return open((directory + "/g").c_str(), O_CREAT | O_WRONLY, 02755); }),
            0);
  EXPECT_EQ(ModeOf(directory + "/g"), 02755u);
}

TEST(Sticky, WhoMayRemoveAndRename) {
  const TempDirectory dir;
  const std::string directory = dir.Directory("d");
  ASSERT_THAT(chown(directory.c_str(), kOtherUser, kGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(directory.c_str(), 01777), SyscallSucceeds());
  for (const char* name : {"mine", "roots"}) dir.File("d/" + std::string(name), "", 0666);
  dir.Directory("d/sub", 0777);
  ASSERT_THAT(chown((directory + "/mine").c_str(), kUser, kGroup), SyscallSucceeds());
  const auto path = [&](const char* name) { return directory + "/" + name; };
  EXPECT_EQ(ErrnoAs(kUser, [&] { return unlink(path("roots").c_str()); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return rmdir(path("sub").c_str()); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return rename(path("roots").c_str(), path("x").c_str()); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return rename(path("mine").c_str(), path("roots").c_str()); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser,
                    [&] {
                      return syscall(SYS_renameat2, AT_FDCWD, path("mine").c_str(), AT_FDCWD, path("roots").c_str(),
                                     RENAME_EXCHANGE);
                    }),
            EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return rename(path("mine").c_str(), path("mine2").c_str()); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return unlink(path("mine2").c_str()); }), 0);
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return unlink(path("roots").c_str()); }), 0);
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return rmdir(path("sub").c_str()); }), 0);
}

// A sticky directory for all, a file of each kind of somebody else in it.
class Protected : public ::testing::Test {
 protected:
  Protected() : directory_(dir_.Directory("d", 01777)) {
    dir_.File("d/target", "x", 0666);
    dir_.File("d/theirs", "x", 0666);
    EXPECT_THAT(mkfifo(Path("fifo").c_str(), 0666), SyscallSucceeds());
    EXPECT_THAT(chmod(Path("fifo").c_str(), 0666), SyscallSucceeds());
    EXPECT_THAT(symlink("target", Path("link").c_str()), SyscallSucceeds());
    for (const char* name : {"theirs", "fifo", "link"}) {
      EXPECT_THAT(lchown(Path(name).c_str(), kOtherUser, kOtherGroup), SyscallSucceeds());
    }
  }
  std::string Path(const char* name) const { return directory_ + "/" + name; }
  const TempDirectory dir_;
  std::string directory_;
};

TEST_F(Protected, Symlinks) {
  const int expected = FileSystemSetting("protected_symlinks") ? EACCES : 0;
  const auto opens = [&] { return open(Path("link").c_str(), O_RDONLY); };
  EXPECT_EQ(ErrnoAs(kUser, opens), expected);
  EXPECT_EQ(Fd(opens()).ok() ? 0 : errno, expected);  // root too
  EXPECT_EQ(ErrnoAs(kOtherUser, opens), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(Path("link").c_str(), O_PATH | O_NOFOLLOW); }), 0);
  // In the middle of a path it is followed.
  ASSERT_THAT(symlink("..", Path("up").c_str()), SyscallSucceeds());
  ASSERT_THAT(lchown(Path("up").c_str(), kOtherUser, kOtherGroup), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return access((directory_ + "/up/d/target").c_str(), R_OK); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return chdir(Path("up").c_str()); }), expected);
}

TEST_F(Protected, HardLinks) {
  const int expected = FileSystemSetting("protected_hardlinks") ? EPERM : 0;
  const std::string readable = dir_.File("d/readable", "x", 0644), set_id = dir_.File("d/set_id", "", 0666);
  ASSERT_THAT(chmod(set_id.c_str(), 04777), SyscallSucceeds());
  const auto links = [&](const std::string& from) {
    return ErrnoAs(kUser, [&] { return link(from.c_str(), (from + "2").c_str()); });
  };
  EXPECT_EQ(links(readable), expected);
  EXPECT_EQ(links(set_id), expected);
  EXPECT_EQ(links(Path("fifo")), expected);
  EXPECT_EQ(links(Path("link")), expected);
  EXPECT_EQ(links(Path("theirs")), 0);  // readable and writable
  EXPECT_EQ(ErrnoWith(Bit(CAP_FOWNER), kUser, kGroup, {}, [&] { return link(set_id.c_str(), Path("x").c_str()); }), 0);
}

TEST_F(Protected, FilesAndFifosOfOthers) {
  const int files = FileSystemSetting("protected_regular") ? EACCES : 0;
  const int fifos = FileSystemSetting("protected_fifos") ? EACCES : 0;
  const auto creates = [&](const char* name, int flags) {
    return ErrnoAs(kUser, [&] { return open(Path(name).c_str(), O_CREAT | O_RDWR | O_NONBLOCK | flags, 0666); });
  };
  EXPECT_EQ(creates("theirs", 0), files);
  EXPECT_EQ(creates("fifo", 0), fifos);
  EXPECT_EQ(creates("theirs", O_EXCL), EEXIST);
  EXPECT_EQ(creates("target", 0), 0) << "of the directory's owner";
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(Path("theirs").c_str(), O_RDWR); }), 0) << "without O_CREAT";
}

}  // namespace
}  // namespace usl::conformance
