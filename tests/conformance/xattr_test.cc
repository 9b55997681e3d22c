// Extended attributes (xattr(7)).
#include <linux/xattr.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

std::set<std::string> Names(const std::string& path) {
  std::vector<char> buffer(65536);
  const ssize_t length = llistxattr(path.c_str(), buffer.data(), buffer.size());
  EXPECT_THAT(length, SyscallSucceeds());
  std::set<std::string> names;
  std::istringstream text(std::string(buffer.data(), length < 0 ? 0 : static_cast<size_t>(length)));
  for (std::string name; std::getline(text, name, '\0');) {
    if (!name.starts_with("security.selinux")) names.insert(name);
  }
  return names;
}

TEST(Xattr, AreSetReadListedAndRemoved) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  char buffer[16];
  EXPECT_THAT(getxattr(path.c_str(), "user.a", buffer, sizeof buffer), SyscallFailsWithErrno(ENODATA));
  EXPECT_THAT(setxattr(path.c_str(), "user.a", "value", 5, 0), SyscallSucceeds());
  EXPECT_THAT(setxattr(path.c_str(), "user.empty", "", 0, 0), SyscallSucceeds());
  EXPECT_THAT(getxattr(path.c_str(), "user.a", buffer, sizeof buffer), SyscallSucceedsWithValue(5));
  EXPECT_EQ(std::string(buffer, 5), "value");
  EXPECT_THAT(getxattr(path.c_str(), "user.a", nullptr, 0), SyscallSucceedsWithValue(5));
  EXPECT_THAT(getxattr(path.c_str(), "user.a", buffer, 4), SyscallFailsWithErrno(ERANGE));
  EXPECT_THAT(getxattr(path.c_str(), "user.empty", buffer, sizeof buffer), SyscallSucceedsWithValue(0));
  EXPECT_EQ(Names(path), (std::set<std::string>{"user.a", "user.empty"}));
  EXPECT_THAT(listxattr(path.c_str(), buffer, 3), SyscallFailsWithErrno(ERANGE));
  EXPECT_THAT(removexattr(path.c_str(), "user.a"), SyscallSucceeds());
  EXPECT_THAT(removexattr(path.c_str(), "user.a"), SyscallFailsWithErrno(ENODATA));
  EXPECT_EQ(Names(path), (std::set<std::string>{"user.empty"}));
}

TEST(Xattr, CreateAndReplace) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  EXPECT_THAT(setxattr(path.c_str(), "user.a", "1", 1, XATTR_REPLACE), SyscallFailsWithErrno(ENODATA));
  EXPECT_THAT(setxattr(path.c_str(), "user.a", "1", 1, XATTR_CREATE), SyscallSucceeds());
  EXPECT_THAT(setxattr(path.c_str(), "user.a", "2", 1, XATTR_CREATE), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(setxattr(path.c_str(), "user.a", "2", 1, XATTR_REPLACE), SyscallSucceeds());
  EXPECT_THAT(setxattr(path.c_str(), "user.a", "2", 1, 4), SyscallFailsWithErrno(EINVAL));
}

TEST(Xattr, BadNamesAndSizes) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  EXPECT_THAT(setxattr(path.c_str(), "", "1", 1, 0), SyscallFailsWithErrno(ERANGE));
  EXPECT_THAT(setxattr(path.c_str(), ("user." + std::string(251, 'n')).c_str(), "1", 1, 0),
              SyscallFailsWithErrno(ERANGE));
  EXPECT_THAT(setxattr(path.c_str(), "nonsense.a", "1", 1, 0), SyscallFailsWithErrno(EOPNOTSUPP));
  EXPECT_THAT(setxattr(path.c_str(), "plain", "1", 1, 0), SyscallFailsWithErrno(EOPNOTSUPP));
  EXPECT_THAT(syscall(SYS_setxattr, path.c_str(), "user.a", kWildPointer, 65537, 0), SyscallFailsWithErrno(E2BIG));
  EXPECT_THAT(syscall(SYS_setxattr, path.c_str(), "user.a", kWildPointer, 5, 0), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(syscall(SYS_setxattr, path.c_str(), kWildPointer, "x", 1, 0), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(setxattr((dir / "missing").c_str(), "user.a", "1", 1, 0), SyscallFailsWithErrno(ENOENT));
}

TEST(Xattr, UserAttributesAreForFilesAndDirectories) {
  const TempDirectory dir;
  ASSERT_THAT(symlink("nowhere", (dir / "l").c_str()), SyscallSucceeds());
  ASSERT_THAT(mkfifo((dir / "p").c_str(), 0600), SyscallSucceeds());
  dir.Directory("d");
  EXPECT_THAT(lsetxattr((dir / "l").c_str(), "user.a", "1", 1, 0), SyscallFailsWithErrno(EPERM));
  EXPECT_THAT(setxattr((dir / "p").c_str(), "user.a", "1", 1, 0), SyscallFailsWithErrno(EPERM));
  EXPECT_THAT(setxattr((dir / "d").c_str(), "user.a", "1", 1, 0), SyscallSucceeds());
  char buffer[8];
  EXPECT_THAT(lgetxattr((dir / "l").c_str(), "user.a", buffer, sizeof buffer), SyscallFailsWithErrno(ENODATA));
  EXPECT_EQ(Names(dir / "l"), std::set<std::string>{});
  EXPECT_EQ(Names(dir / "p"), std::set<std::string>{});
}

TEST(Xattr, UserAttributesFollowFilePermissions) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0644);
  ASSERT_THAT(setxattr(path.c_str(), "user.a", "1", 1, 0), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return getxattr(path.c_str(), "user.a", nullptr, 0); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return setxattr(path.c_str(), "user.a", "2", 1, 0); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return removexattr(path.c_str(), "user.a"); }), EACCES);
  ASSERT_THAT(chmod(path.c_str(), 0600), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return getxattr(path.c_str(), "user.a", nullptr, 0); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return listxattr(path.c_str(), nullptr, 0); }), 0);
}

TEST(Xattr, TrustedAttributesAreForAdministrators) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0666);
  EXPECT_THAT(setxattr(path.c_str(), "trusted.a", "1", 1, 0), SyscallSucceeds());
  EXPECT_EQ(Names(path), (std::set<std::string>{"trusted.a"}));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return getxattr(path.c_str(), "trusted.a", nullptr, 0); }), ENODATA);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return setxattr(path.c_str(), "trusted.a", "2", 1, 0); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return listxattr(path.c_str(), nullptr, 0) == 0 ? 0 : -1; }), 0);
}

TEST(Xattr, FileCapabilitiesAreKept) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0755);
  // Revision 2, cap_net_bind_service=ep.
  const unsigned char value[20] = {1, 0, 0, 2, 0, 4};
  ASSERT_THAT(setxattr(path.c_str(), "security.capability", value, sizeof value, 0), SyscallSucceeds());
  unsigned char read_back[20] = {};
  EXPECT_THAT(getxattr(path.c_str(), "security.capability", read_back, sizeof read_back), SyscallSucceedsWithValue(20));
  EXPECT_TRUE(std::equal(value, value + 20, read_back));
  EXPECT_THAT(setxattr(path.c_str(), "security.capability", "junk", 4, 0), SyscallFailsWithErrno(EINVAL));
  // A new owner takes them away.
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_THAT(getxattr(path.c_str(), "security.capability", nullptr, 0), SyscallFailsWithErrno(ENODATA));
}

TEST(Xattr, AChangeOfOwnerTakesCapabilitiesOfAnyFile) {
  const TempDirectory dir;
  const std::string path = dir / "p";
  ASSERT_THAT(mkfifo(path.c_str(), 0644), SyscallSucceeds());
  unsigned char value[20] = {0, 0, 0, 2};
  ASSERT_THAT(setxattr(path.c_str(), "security.capability", value, sizeof value, 0), SyscallSucceeds());
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_THAT(getxattr(path.c_str(), "security.capability", nullptr, 0), SyscallFailsWithErrno(ENODATA));
}

TEST(Xattr, ByDescriptor) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  const Fd fd(open(path.c_str(), O_RDONLY));
  EXPECT_THAT(fsetxattr(fd.get(), "user.a", "12", 2, 0), SyscallSucceeds());
  EXPECT_THAT(fgetxattr(fd.get(), "user.a", nullptr, 0), SyscallSucceedsWithValue(2));
  EXPECT_THAT(flistxattr(fd.get(), nullptr, 0), SyscallSucceedsWithValue(7));
  EXPECT_THAT(fremovexattr(fd.get(), "user.a"), SyscallSucceeds());
  const Fd path_fd(open(path.c_str(), O_PATH));
  EXPECT_THAT(fgetxattr(path_fd.get(), "user.a", nullptr, 0), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fgetxattr(-1, "user.a", nullptr, 0), SyscallFailsWithErrno(EBADF));
  int pipes[2];
  ASSERT_THAT(pipe(pipes), SyscallSucceeds());
  EXPECT_THAT(fsetxattr(pipes[0], "trusted.a", "1", 1, 0), SyscallFailsWithErrno(EOPNOTSUPP));
  close(pipes[0]);
  close(pipes[1]);
}

TEST(Xattr, NothingOfTheImplementationShows) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(path.c_str(), 04711), SyscallSucceeds());
  EXPECT_EQ(Names(path), std::set<std::string>{});
}

TEST(Xattr, PosixAclsGrantAndMask) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "x", 0600);
  // Version 2; user::rw-, user:kUser:r--, group::---, mask::r--, other::---.
  struct Entry {
    uint16_t tag, permissions;
    uint32_t id;
  };
  struct {
    uint32_t version = 2;
    Entry entries[5] = {{1, 6, ~0u}, {2, 4, kUser}, {4, 0, ~0u}, {16, 4, ~0u}, {32, 0, ~0u}};
  } acl;
  ASSERT_THAT(setxattr(path.c_str(), "system.posix_acl_access", &acl, sizeof acl, 0), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(path.c_str(), O_RDONLY); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(path.c_str(), O_RDWR); }), EACCES);
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return open(path.c_str(), O_RDONLY); }), EACCES);
  EXPECT_EQ(ModeOf(path), 0640u);
  ASSERT_THAT(chmod(path.c_str(), 0600), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(path.c_str(), O_RDONLY); }), EACCES);
}

}  // namespace
}  // namespace usl::conformance
