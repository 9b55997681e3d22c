// Several processes at the same files: what must be atomic is, and what is read while it changes stays in order.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <map>
#include <set>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

// Runs `body` in each of `count` children; true when all of them returned true.
bool InChildren(int count, const std::function<bool(int)>& body) {
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(body(i) ? 0 : 1);
    children.push_back(child);
  }
  bool fine = true;
  for (const pid_t child : children) {
    int status = -1;
    fine = waitpid(child, &status, 0) == child && status == 0 && fine;
  }
  return fine;
}

TEST(Race, OnlyOneCreates) {
  const TempDirectory dir;
  for (int round = 0; round < 20; ++round) {
    const std::string path = dir / std::to_string(round);
    int ends[2];
    ASSERT_THAT(pipe(ends), SyscallSucceeds());
    EXPECT_TRUE(InChildren(4, [&](int i) {
      const bool won =
          i % 2 ? mkdir(path.c_str(), 0700) == 0 : Fd(open(path.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600)).ok();
      if (!won) return errno == EEXIST;
      return write(ends[1], "w", 1) == 1;
    }));
    close(ends[1]);
    char winners[8];
    EXPECT_THAT(read(ends[0], winners, sizeof winners), SyscallSucceedsWithValue(1));
    close(ends[0]);
  }
}

TEST(Race, OnlyOneUnlinks) {
  const TempDirectory dir;
  for (int round = 0; round < 20; ++round) {
    const std::string path = dir.File(std::to_string(round));
    int ends[2];
    ASSERT_THAT(pipe(ends), SyscallSucceeds());
    EXPECT_TRUE(
        InChildren(3, [&](int) { return unlink(path.c_str()) == 0 ? write(ends[1], "w", 1) == 1 : errno == ENOENT; }));
    close(ends[1]);
    char winners[8];
    EXPECT_THAT(read(ends[0], winners, sizeof winners), SyscallSucceedsWithValue(1));
    close(ends[0]);
  }
}

TEST(Race, ARenamedFileIsAlwaysThere) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "old");
  EXPECT_TRUE(InChildren(3, [&](int i) {
    if (i == 0) {
      for (int n = 0; n < 80; ++n) {
        const std::string fresh = dir / ("new" + std::to_string(n));
        const Fd fd(open(fresh.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644));
        if (write(fd.get(), "new", 3) != 3 || rename(fresh.c_str(), path.c_str()) < 0) return false;
      }
      return true;
    }
    for (int n = 0; n < 100; ++n) {
      const std::string content = ReadFile(path);
      if (content != "old" && content != "new") return false;
    }
    return true;
  }));
}

TEST(Race, ExchangeLosesNothing) {
  const TempDirectory dir;
  dir.File("a", "A");
  dir.Directory("b");
  EXPECT_TRUE(InChildren(3, [&](int) {
    for (int n = 0; n < 101; ++n) {
      if (syscall(SYS_renameat2, AT_FDCWD, (dir / "a").c_str(), AT_FDCWD, (dir / "b").c_str(), RENAME_EXCHANGE) < 0) {
        return false;
      }
    }
    return true;
  }));
  // 303 exchanges: an odd number.
  EXPECT_TRUE(S_ISDIR(StatOf(dir / "a").st_mode));
  EXPECT_EQ(ReadFile(dir / "b"), "A");
}

TEST(Race, DirectoriesMovedIntoEachOther) {
  const TempDirectory dir;
  for (const char* name : {"a", "b"}) dir.Directory(name);
  EXPECT_TRUE(InChildren(2, [&](int i) {
    const std::string own = dir / (i ? "a" : "b"), other = dir / (i ? "b" : "a");
    for (int n = 0; n < 100; ++n) {
      const int moved = rename(own.c_str(), (other + "/in").c_str());
      if (moved < 0 && errno != ENOENT && errno != EINVAL) return false;
      if (moved == 0 && rename((other + "/in").c_str(), own.c_str()) < 0) return false;
    }
    return true;
  }));
  EXPECT_TRUE(Exists(dir / "a"));
  EXPECT_TRUE(Exists(dir / "b"));
}

TEST(Race, AppendingKeepsRecordsWhole) {
  const TempDirectory dir;
  const std::string path = dir.File("log");
  EXPECT_TRUE(InChildren(4, [&](int i) {
    const Fd fd(open(path.c_str(), O_WRONLY | O_APPEND));
    const std::string record(99, static_cast<char>('a' + i));
    for (int n = 0; n < 100; ++n) {
      if (write(fd.get(), (record + "\n").data(), 100) != 100) return false;
    }
    return true;
  }));
  const std::string log = ReadFile(path);
  ASSERT_EQ(log.size(), 40000u);
  for (size_t at = 0; at < log.size(); at += 100) {
    ASSERT_EQ(log.substr(at, 100), std::string(99, log[at]) + "\n");
  }
}

TEST(Race, LinkCountsAddUp) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  EXPECT_TRUE(InChildren(4, [&](int i) {
    for (int n = 0; n < 50; ++n) {
      const std::string name = dir / (std::to_string(i) + "-" + std::to_string(n));
      if (link(path.c_str(), name.c_str()) < 0 || (n % 2 && unlink(name.c_str()) < 0)) return false;
    }
    return true;
  }));
  EXPECT_EQ(StatOf(path).st_nlink, 101u);
}

TEST(Removed, FilesLiveOnInTheirDescriptors) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "content", 0640);
  const Fd fd(open(path.c_str(), O_RDWR));
  ASSERT_THAT(unlink(path.c_str()), SyscallSucceeds());
  // Another file may take the name, and the inode number.
  dir.File("f", "other");
  struct stat status;
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_THAT(fchmod(fd.get(), 04711), SyscallSucceeds());
  EXPECT_THAT(fchown(fd.get(), kUser, kGroup), SyscallSucceeds());
  EXPECT_THAT(fchmod(fd.get(), 04711), SyscallSucceeds());
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_mode & 07777, 04711u);
  EXPECT_EQ(status.st_uid, kUser);
  EXPECT_EQ(StatOf(path).st_uid, 0u);
  EXPECT_EQ(ModeOf(path), 0644u);
  char text[8] = {};
  EXPECT_THAT(pread(fd.get(), text, 7, 0), SyscallSucceedsWithValue(7));
  EXPECT_STREQ(text, "content");
  const std::string magic = "/proc/self/fd/" + std::to_string(fd.get());
  EXPECT_EQ(ReadFile(magic), "content");
  char link_text[PATH_MAX] = {};
  ASSERT_THAT(readlink(magic.c_str(), link_text, sizeof link_text - 1), SyscallSucceeds());
  EXPECT_EQ(std::string(link_text), path + " (deleted)");
  EXPECT_THAT(truncate(magic.c_str(), 2), SyscallSucceeds());
  EXPECT_THAT(linkat(fd.get(), "", AT_FDCWD, (dir / "back").c_str(), AT_EMPTY_PATH), SyscallFailsWithErrno(ENOENT));
}

TEST(Removed, DirectoriesAreEmptyAndTakeNothing) {
  const TempDirectory dir;
  const std::string path = dir.Directory("d");
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_THAT(rmdir(path.c_str()), SyscallSucceeds());
  dir.Directory("d");
  dir.File("d/new");
  struct stat status;
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_THAT(openat(fd.get(), "new", O_RDONLY), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(openat(fd.get(), "x", O_CREAT | O_RDWR, 0600), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(mkdirat(fd.get(), "x", 0700), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(Fd(openat(fd.get(), ".", O_RDONLY)).get(), SyscallSucceeds());
  EXPECT_THAT(fchmod(fd.get(), 0711), SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 0755u);
}

struct Listed {
  std::string name;
  off_t next;
};

// One getdents64 call of about `size` bytes; empty at the end.
std::vector<Listed> Read(int fd, size_t size = 2000) {
  std::vector<char> buffer(size);
  const long length = syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
  EXPECT_THAT(length, SyscallSucceeds());
  std::vector<Listed> entries;
  for (long at = 0; at < length;) {
    const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
    entries.push_back({entry->d_name, entry->d_off});
    at += entry->d_reclen;
  }
  return entries;
}

class LargeDirectory : public ::testing::Test {
 protected:
  static constexpr int kFiles = 700;
  LargeDirectory() {
    for (int i = 0; i < kFiles; ++i) {
      const std::string path = dir_ / Name(i);
      // Some of them are of other kinds, which VolFs-like systems may keep in other ways.
      const int made = i % 50 == 0   ? mkfifo(path.c_str(), 0600)
                       : i % 50 == 1 ? symlink("t", path.c_str())
                                     : Fd(open(path.c_str(), O_CREAT | O_WRONLY, 0600)).get();
      if (made < 0) ADD_FAILURE() << path;
    }
    fd_ = Fd(open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY));
  }
  static std::string Name(int i) { return "some-name-" + std::to_string(i); }
  const TempDirectory dir_;
  Fd fd_;
};

TEST_F(LargeDirectory, EveryPositionCanBeComeBackTo) {
  std::vector<Listed> all;
  for (std::vector<Listed> some; !(some = Read(fd_.get())).empty();) all.insert(all.end(), some.begin(), some.end());
  ASSERT_EQ(all.size(), kFiles + 2u);
  for (size_t i = 0; i < all.size(); i += 97) {
    ASSERT_THAT(lseek(fd_.get(), all[i].next, SEEK_SET), SyscallSucceedsWithValue(all[i].next));
    const auto next = Read(fd_.get());
    if (i + 1 == all.size()) {
      EXPECT_TRUE(next.empty());
    } else {
      ASSERT_FALSE(next.empty());
      EXPECT_EQ(next.front().name, all[i + 1].name);
    }
  }
}

TEST_F(LargeDirectory, WhatStaysIsListedOnceWhileOthersComeAndGo) {
  std::map<std::string, int> seen;
  int step = 0;
  for (std::vector<Listed> some; !(some = Read(fd_.get(), 1000)).empty(); ++step) {
    for (const Listed& entry : some) ++seen[entry.name];
    // Odd ones go, new ones come, and some are renamed.
    for (int i = 0; i < 20; ++i) {
      const int number = (step * 20 + i) * 2 + 1;
      if (number < kFiles) unlink((dir_ / Name(number)).c_str());
      const std::string fresh = dir_ / ("fresh-" + std::to_string(step) + "-" + std::to_string(i));
      ASSERT_THAT(Fd(open(fresh.c_str(), O_CREAT | O_WRONLY, 0600)).get(), SyscallSucceeds());
    }
    ASSERT_LT(step, 2000) << "the listing does not end";
  }
  for (int i = 0; i < kFiles; i += 2) EXPECT_EQ(seen[Name(i)], 1) << Name(i);
  for (const auto& [name, count] : seen) EXPECT_EQ(count, 1) << name;
}

TEST_F(LargeDirectory, RemovingWhatWasListedRemovesAll) {
  // As rm -r does it: read some, remove them, go on.
  for (std::vector<Listed> some; !(some = Read(fd_.get(), 3000)).empty();) {
    for (const Listed& entry : some) {
      if (entry.name != "." && entry.name != "..") {
        EXPECT_THAT(unlinkat(fd_.get(), entry.name.c_str(), 0), SyscallSucceeds());
      }
    }
  }
  EXPECT_THAT(lseek(fd_.get(), 0, SEEK_SET), SyscallSucceedsWithValue(0));
  EXPECT_EQ(Read(fd_.get()).size(), 2u);
}

TEST_F(LargeDirectory, IsReadByManyAtOnce) {
  EXPECT_TRUE(InChildren(4, [&](int i) {
    if (i == 0) {
      for (int n = 0; n < 100; ++n) {
        const std::string path = dir_ / ("passing-" + std::to_string(n));
        if (mkdir(path.c_str(), 0700) < 0 || rmdir(path.c_str()) < 0) return false;
      }
      return true;
    }
    for (int n = 0; n < 3; ++n) {
      const Fd fd(open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY));
      int count = 0;
      for (std::vector<Listed> some; !(some = Read(fd.get(), 4000)).empty();) {
        for (const Listed& entry : some) count += entry.name.starts_with("some-name-");
      }
      if (count != kFiles) return false;
    }
    return true;
  }));
}

}  // namespace
}  // namespace usl::conformance
