// path_resolution(7) for every call that takes a path: the same mistakes give the same errors in all of them.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <functional>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr long kFchmodat2 = 452;

struct PathCall {
  const char* name;
  std::function<long(const char*)> call;
  bool follows = true;   // a symlink in the last component
  bool creates = false;  // the last component need not exist
};

// What a call may leave behind is closed or removed by it.
long Closed(long fd) {
  return fd < 0 ? -1 : close(static_cast<int>(fd));
}

const char* g_other = "";  // a path that the two-path calls use beside the tested one

const PathCall kCalls[] = {
    {"open", [](const char* path) { return Closed(syscall(SYS_open, path, O_RDONLY)); }},
    {"open_nofollow", [](const char* path) { return Closed(syscall(SYS_open, path, O_RDONLY | O_NOFOLLOW)); }},
    {"open_path", [](const char* path) { return Closed(syscall(SYS_open, path, O_PATH)); }},
    {"open_path_nofollow", [](const char* path) { return Closed(syscall(SYS_open, path, O_PATH | O_NOFOLLOW)); },
     false},
    {"open_create", [](const char* path) { return Closed(syscall(SYS_open, path, O_CREAT | O_WRONLY, 0600)); }, true,
     true},
    {"open_exclusive",
     [](const char* path) { return Closed(syscall(SYS_open, path, O_CREAT | O_EXCL | O_WRONLY, 0600)); }, false, true},
    {"open_directory", [](const char* path) { return Closed(syscall(SYS_open, path, O_DIRECTORY)); }},
    {"creat", [](const char* path) { return Closed(syscall(SYS_creat, path, 0600)); }, true, true},
    {"openat2",
     [](const char* path) {
       open_how how{};
       return Closed(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
     }},
    {"mkdir", [](const char* path) { return syscall(SYS_mkdir, path, 0700); }, false, true},
    {"mkdirat", [](const char* path) { return syscall(SYS_mkdirat, AT_FDCWD, path, 0700); }, false, true},
    {"mknod_fifo", [](const char* path) { return syscall(SYS_mknod, path, S_IFIFO | 0600, 0); }, false, true},
    {"mknodat_file", [](const char* path) { return syscall(SYS_mknodat, AT_FDCWD, path, S_IFREG | 0600, 0); }, false,
     true},
    {"symlink", [](const char* path) { return syscall(SYS_symlink, "target", path); }, false, true},
    {"symlinkat", [](const char* path) { return syscall(SYS_symlinkat, "target", AT_FDCWD, path); }, false, true},
    {"link_old", [](const char* path) { return syscall(SYS_link, path, "nowhere/x"); }, false},
    {"link_old_follow",
     [](const char* path) { return syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, "nowhere/x", AT_SYMLINK_FOLLOW); }},
    {"link_new", [](const char* path) { return syscall(SYS_link, g_other, path); }, false, true},
    {"unlink", [](const char* path) { return syscall(SYS_unlink, path); }, false},
    {"unlinkat", [](const char* path) { return syscall(SYS_unlinkat, AT_FDCWD, path, 0); }, false},
    {"rmdir", [](const char* path) { return syscall(SYS_rmdir, path); }, false},
    {"rename_old", [](const char* path) { return syscall(SYS_rename, path, "renamed"); }, false},
    {"rename_new", [](const char* path) { return syscall(SYS_rename, g_other, path); }, false, true},
    {"renameat2_exchange",
     [](const char* path) { return syscall(SYS_renameat2, AT_FDCWD, g_other, AT_FDCWD, path, 2); }, false},
    {"chmod", [](const char* path) { return syscall(SYS_chmod, path, 0777); }},
    {"fchmodat2", [](const char* path) { return syscall(kFchmodat2, AT_FDCWD, path, 0777, 0); }},
    {"chown", [](const char* path) { return syscall(SYS_chown, path, -1, -1); }},
    {"lchown", [](const char* path) { return syscall(SYS_lchown, path, -1, -1); }, false},
    {"fchownat", [](const char* path) { return syscall(SYS_fchownat, AT_FDCWD, path, -1, -1, 0); }},
    {"truncate", [](const char* path) { return syscall(SYS_truncate, path, 0); }},
    {"access", [](const char* path) { return syscall(SYS_access, path, F_OK); }},
    {"faccessat2", [](const char* path) { return syscall(SYS_faccessat2, AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW); },
     false},
    {"stat",
     [](const char* path) {
       struct stat status;
       return syscall(SYS_stat, path, &status);
     }},
    {"lstat",
     [](const char* path) {
       struct stat status;
       return syscall(SYS_lstat, path, &status);
     },
     false},
    {"newfstatat",
     [](const char* path) {
       struct stat status;
       return syscall(SYS_newfstatat, AT_FDCWD, path, &status, 0);
     }},
    {"statx",
     [](const char* path) {
       struct statx status;
       return syscall(SYS_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, &status);
     }},
    {"statfs",
     [](const char* path) {
       struct statfs status;
       return syscall(SYS_statfs, path, &status);
     }},
    {"readlink",
     [](const char* path) {
       char text[16];
       return syscall(SYS_readlink, path, text, sizeof text);
     },
     false},
    {"utimensat", [](const char* path) { return syscall(SYS_utimensat, AT_FDCWD, path, nullptr, 0); }},
    {"utime", [](const char* path) { return syscall(SYS_utime, path, nullptr); }},
    {"utimes", [](const char* path) { return syscall(SYS_utimes, path, nullptr); }},
    {"chdir", [](const char* path) { return syscall(SYS_chdir, path); }},
    {"chroot", [](const char* path) { return syscall(SYS_chroot, path); }},
    {"setxattr", [](const char* path) { return syscall(SYS_setxattr, path, "user.a", "1", 1, 0); }},
    {"lsetxattr", [](const char* path) { return syscall(SYS_lsetxattr, path, "user.a", "1", 1, 0); }, false},
    {"getxattr", [](const char* path) { return syscall(SYS_getxattr, path, "user.a", nullptr, 0); }},
    {"lgetxattr", [](const char* path) { return syscall(SYS_lgetxattr, path, "user.a", nullptr, 0); }, false},
    {"listxattr", [](const char* path) { return syscall(SYS_listxattr, path, nullptr, 0); }},
    {"llistxattr", [](const char* path) { return syscall(SYS_llistxattr, path, nullptr, 0); }, false},
    {"removexattr", [](const char* path) { return syscall(SYS_removexattr, path, "user.a"); }},
    {"lremovexattr", [](const char* path) { return syscall(SYS_lremovexattr, path, "user.a"); }, false},
    {"inotify_add_watch",
     [](const char* path) {
       const Fd watcher(inotify_init1(IN_CLOEXEC));
       return syscall(SYS_inotify_add_watch, watcher.get(), path, IN_MODIFY);
     }},
    {"execve",
     [](const char* path) {
       char* const arguments[] = {nullptr};
       return syscall(SYS_execve, path, arguments, arguments);
     }},
};

class PathCalls : public ::testing::TestWithParam<PathCall> {
 protected:
  PathCalls() {
    dir_.File("f", "x", 0666);
    dir_.File("other", "x", 0666);
    dir_.Directory("d", 0777);
    EXPECT_THAT(symlink("loop2", (dir_ / "loop1").c_str()), SyscallSucceeds());
    EXPECT_THAT(symlink("loop1", (dir_ / "loop2").c_str()), SyscallSucceeds());
    EXPECT_THAT(symlink("missing", (dir_ / "dangling").c_str()), SyscallSucceeds());
    EXPECT_THAT(symlink("f", (dir_ / "to_file").c_str()), SyscallSucceeds());
    other_ = dir_ / "other";
    g_other = other_.c_str();
  }
  // In a child, as some calls change the process. 0 for success.
  int Errno(const char* path) {
    int result = -1;
    int pipe_ends[2];
    EXPECT_THAT(pipe(pipe_ends), SyscallSucceeds());
    InChild([&] {
      if (chdir(dir_.path().c_str()) < 0) return false;
      const int error = GetParam().call(path) == -1 ? errno : 0;
      return write(pipe_ends[1], &error, sizeof error) == sizeof error;
    });
    close(pipe_ends[1]);
    EXPECT_THAT(read(pipe_ends[0], &result, sizeof result), SyscallSucceedsWithValue(sizeof result));
    close(pipe_ends[0]);
    return result;
  }
  int Errno(const std::string& path) { return Errno(path.c_str()); }

  const TempDirectory dir_;
  std::string other_;
};

TEST_P(PathCalls, AMissingDirectory) {
  EXPECT_EQ(Errno("missing/x"), ENOENT);
  EXPECT_EQ(Errno("dangling/x"), ENOENT);
  EXPECT_EQ(Errno("d/../missing/../f"), ENOENT);
}

TEST_P(PathCalls, AFileAsADirectory) {
  EXPECT_EQ(Errno("f/x"), ENOTDIR);
  EXPECT_EQ(Errno("to_file/x"), ENOTDIR);
  EXPECT_EQ(Errno("f/../d"), ENOTDIR);
}

TEST_P(PathCalls, NoPath) {
  EXPECT_EQ(Errno(""), ENOENT);
  EXPECT_EQ(Errno(kWildPointer), EFAULT);
  EXPECT_EQ(Errno(nullptr), EFAULT);
}

TEST_P(PathCalls, TooLong) {
  const std::string name(NAME_MAX + 1, 'n');
  EXPECT_EQ(Errno(name), ENAMETOOLONG);
  EXPECT_EQ(Errno(name + "/x"), ENAMETOOLONG);
  EXPECT_EQ(Errno("d/" + name), ENAMETOOLONG);
  std::string path;
  while (path.size() < PATH_MAX) path += "./";
  EXPECT_EQ(Errno(path + "f"), ENAMETOOLONG);
  // The longest name and the longest path are fine.
  const int longest_name = Errno(std::string(NAME_MAX, 'm'));
  EXPECT_EQ(longest_name, GetParam().creates ? 0 : ENOENT);
  std::string longest;
  while (longest.size() < PATH_MAX - 3) longest += "./";
  longest.resize(PATH_MAX - 3);
  longest += longest.back() == '/' ? "f" : "/f";
  longest.resize(PATH_MAX - 1, 'f');
  EXPECT_NE(Errno(longest), ENAMETOOLONG);
}

TEST_P(PathCalls, LoopsOfLinks) {
  EXPECT_EQ(Errno("loop1/x"), ELOOP);
  if (GetParam().follows) {
    EXPECT_EQ(Errno("loop1"), ELOOP);
  }
  if (GetParam().follows && !GetParam().creates && std::string_view(GetParam().name) != "open_nofollow") {
    EXPECT_EQ(Errno("dangling"), ENOENT);
  }
}

TEST_P(PathCalls, DirectoriesThatMayNotBeSearched) {
  dir_.Directory("closed", 0666);
  dir_.File("closed/f", "", 0666);
  ASSERT_THAT(symlink("closed/f", (dir_ / "into").c_str()), SyscallSucceeds());
  const auto as_user = [&](const char* path) {
    return ErrnoAs(kUser, [&] { return chdir(dir_.path().c_str()) < 0 ? 0 : GetParam().call(path); });
  };
  EXPECT_EQ(as_user("closed/f"), EACCES);
  EXPECT_EQ(as_user("closed/missing"), EACCES);
  EXPECT_EQ(as_user("closed/."), EACCES);
  EXPECT_EQ(as_user("closed/.."), EACCES);
  if (GetParam().follows && std::string_view(GetParam().name) != "open_nofollow") {
    EXPECT_EQ(as_user("into"), EACCES);
  }
}

TEST_P(PathCalls, ATrailingSlashMeansADirectory) {
  const std::string_view name = GetParam().name;
  const int error = Errno("f/");
  if (name == "open_create" || name == "creat" || name == "open_exclusive") {
    EXPECT_EQ(error, EISDIR);
  } else if (name == "mkdir" || name == "mkdirat" || name == "mknod_fifo" || name == "mknodat_file" ||
             name == "symlink" || name == "symlinkat" || name == "link_new") {
    EXPECT_EQ(error, EEXIST);
  } else {
    EXPECT_EQ(error, ENOTDIR);
  }
  EXPECT_EQ(Errno("f/."), ENOTDIR);
}

TEST_P(PathCalls, ARemovedWorkingDirectory) {
  dir_.Directory("gone");
  const bool same = InChild([&] {
    if (chdir((dir_ / "gone").c_str()) < 0 || rmdir((dir_ / "gone").c_str()) < 0) return false;
    errno = 0;
    return GetParam().call("x") == -1 && errno == ENOENT;
  });
  EXPECT_TRUE(same);
}

INSTANTIATE_TEST_SUITE_P(Every, PathCalls, ::testing::ValuesIn(kCalls),
                         [](const auto& each) { return std::string(each.param.name); });

struct DirectoryCall {
  const char* name;
  std::function<long(int, const char*)> call;
};

const DirectoryCall kDirectoryCalls[] = {
    {"openat", [](int fd, const char* path) { return Closed(openat(fd, path, O_RDONLY)); }},
    {"mkdirat", [](int fd, const char* path) { return static_cast<long>(mkdirat(fd, path, 0700)); }},
    {"mknodat", [](int fd, const char* path) { return static_cast<long>(mknodat(fd, path, S_IFIFO | 0600, 0)); }},
    {"symlinkat", [](int fd, const char* path) { return static_cast<long>(symlinkat("t", fd, path)); }},
    {"linkat_old",
     [](int fd, const char* path) { return static_cast<long>(linkat(fd, path, AT_FDCWD, "nowhere/x", 0)); }},
    {"linkat_new", [](int fd, const char* path) { return static_cast<long>(linkat(AT_FDCWD, g_other, fd, path, 0)); }},
    {"unlinkat", [](int fd, const char* path) { return static_cast<long>(unlinkat(fd, path, 0)); }},
    {"rmdirat", [](int fd, const char* path) { return static_cast<long>(unlinkat(fd, path, AT_REMOVEDIR)); }},
    {"renameat_old",
     [](int fd, const char* path) { return static_cast<long>(renameat(fd, path, AT_FDCWD, "nowhere/x")); }},
    {"renameat_new", [](int fd, const char* path) { return static_cast<long>(renameat(AT_FDCWD, g_other, fd, path)); }},
    {"fchmodat", [](int fd, const char* path) { return syscall(SYS_fchmodat, fd, path, 0777); }},
    {"fchownat", [](int fd, const char* path) { return static_cast<long>(fchownat(fd, path, -1, -1, 0)); }},
    {"fstatat",
     [](int fd, const char* path) {
       struct stat status;
       return static_cast<long>(fstatat(fd, path, &status, 0));
     }},
    {"statx",
     [](int fd, const char* path) {
       struct statx status;
       return static_cast<long>(statx(fd, path, 0, STATX_BASIC_STATS, &status));
     }},
    {"faccessat", [](int fd, const char* path) { return static_cast<long>(faccessat(fd, path, F_OK, 0)); }},
    {"readlinkat",
     [](int fd, const char* path) {
       char text[16];
       return static_cast<long>(readlinkat(fd, path, text, sizeof text));
     }},
    {"utimensat", [](int fd, const char* path) { return static_cast<long>(utimensat(fd, path, nullptr, 0)); }},
    {"execveat",
     [](int fd, const char* path) {
       char* const arguments[] = {nullptr};
       return syscall(SYS_execveat, fd, path, arguments, arguments, 0);
     }},
};

class DirectoryCalls : public ::testing::TestWithParam<DirectoryCall> {
 protected:
  DirectoryCalls() : other_(dir_.File("other")) {
    g_other = other_.c_str();
    dir_.Directory("d");
    dir_.File("f");
  }
  int Errno(int fd, const char* path) { return GetParam().call(fd, path) == -1 ? errno : 0; }
  const TempDirectory dir_;
  std::string other_;
};

TEST_P(DirectoryCalls, WrongDescriptors) {
  const Fd file(open((dir_ / "f").c_str(), O_RDONLY));
  const Fd path_only(open((dir_ / "f").c_str(), O_PATH));
  int pipe_ends[2];
  ASSERT_THAT(pipe(pipe_ends), SyscallSucceeds());
  EXPECT_EQ(Errno(-1, "x/y"), EBADF);
  EXPECT_EQ(Errno(900, "x/y"), EBADF);
  EXPECT_EQ(Errno(file.get(), "x/y"), ENOTDIR);
  EXPECT_EQ(Errno(path_only.get(), "x/y"), ENOTDIR);
  EXPECT_EQ(Errno(pipe_ends[0], "x/y"), ENOTDIR);
  EXPECT_EQ(Errno(file.get(), ""), ENOENT);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

TEST_P(DirectoryCalls, AnAbsolutePathIgnoresTheDescriptor) {
  EXPECT_EQ(Errno(-1, (dir_ / "missing/x").c_str()), ENOENT);
  EXPECT_EQ(Errno(900, (dir_ / "f/x").c_str()), ENOTDIR);
}

TEST_P(DirectoryCalls, PathOnlyDirectoriesWillDo) {
  const Fd directory(open((dir_ / "d").c_str(), O_PATH | O_DIRECTORY));
  EXPECT_EQ(Errno(directory.get(), "missing/x"), ENOENT);
  EXPECT_EQ(Errno(directory.get(), "../f/x"), ENOTDIR);
  EXPECT_EQ(Errno(directory.get(), ""), ENOENT);
}

TEST_P(DirectoryCalls, ARemovedDirectory) {
  const Fd directory(open((dir_ / "d").c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_THAT(rmdir((dir_ / "d").c_str()), SyscallSucceeds());
  EXPECT_EQ(Errno(directory.get(), "x"), ENOENT);
}

INSTANTIATE_TEST_SUITE_P(Every, DirectoryCalls, ::testing::ValuesIn(kDirectoryCalls),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Names, AnyByteButSlashAndNul) {
  const TempDirectory dir;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/') continue;
    for (const std::string& name :
         {std::string(1, static_cast<char>(byte)), "x" + std::string(1, static_cast<char>(byte))}) {
      if (name == ".") continue;
      const std::string path = dir / name;
      ASSERT_THAT(Fd(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600)).get(), SyscallSucceeds()) << byte;
      EXPECT_TRUE(Exists(path));
    }
  }
  // Names are bytes: neither case nor composition of characters makes two of them one.
  dir.File("\xc3\xa9");
  dir.File("e\xcc\x81");
  EXPECT_TRUE(Exists(dir / "a"));
  EXPECT_TRUE(Exists(dir / "A"));
  EXPECT_THAT(unlink((dir / "A").c_str()), SyscallSucceeds());
  EXPECT_TRUE(Exists(dir / "a"));
}

TEST(Names, DotsAreNamesWhenThereAreMore) {
  const TempDirectory dir;
  for (const char* name : {"...", "..a", ".a", "a.", "....", "-", " ", "\n", "*"}) dir.File(name);
  EXPECT_THAT(mkdir((dir / ".").c_str(), 0700), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(mkdir((dir / "..").c_str(), 0700), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(rmdir((dir / ".").c_str()), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(rmdir((dir / "..").c_str()), SyscallFailsWithErrno(ENOTEMPTY));
  EXPECT_THAT(rmdir("/"), SyscallFailsWithErrno(EBUSY));
  EXPECT_THAT(unlink("/"), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(unlink((dir / ".").c_str()), SyscallFailsWithErrno(EISDIR));
}

TEST(Names, DeepTreesAreReachedInSteps) {
  const TempDirectory dir;
  const bool reached = InChild([&] {
    if (chdir(dir.path().c_str()) < 0) return false;
    const std::string name(200, 'd');
    constexpr int kDepth = 60;  // 12,000 bytes of path
    for (int i = 0; i < kDepth; ++i) {
      if (mkdir(name.c_str(), 0700) < 0 || chdir(name.c_str()) < 0) return false;
    }
    if (!Fd(open("f", O_CREAT | O_WRONLY, 0600)).ok() || access("../../", F_OK) < 0) return false;
    char text[PATH_MAX];
    if (syscall(SYS_getcwd, text, sizeof text) != -1 || errno != ENAMETOOLONG) return false;
    if (unlink("f") < 0) return false;
    for (int i = 0; i < kDepth; ++i) {
      if (chdir("..") < 0 || rmdir(name.c_str()) < 0) return false;
    }
    return true;
  });
  EXPECT_TRUE(reached);
}

}  // namespace
}  // namespace usl::conformance
