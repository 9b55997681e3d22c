// Sizes at which file systems and calls end: many links, many names, long paths. Labelled `full`.
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <set>
#include <string>
#include <vector>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

std::string Number(int i) {
  return std::to_string(i);
}

// Linux's file systems allow 65,000 (ext4), 2^31 (xfs) or any number of links; EMLINK beyond.
TEST(FullLimits, LinksOfAFile) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "x");
  constexpr int kWanted = 65600;
  int made = 1;
  for (; made < kWanted; ++made) {
    if (link(path.c_str(), (dir / ("l" + Number(made))).c_str()) < 0) break;
  }
  struct stat status;
  ASSERT_THAT(stat(path.c_str(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_nlink, static_cast<nlink_t>(made));
  if (made < kWanted) {
    EXPECT_GE(made, 1000);
    EXPECT_THAT(link(path.c_str(), (dir / "more").c_str()), SyscallFailsWithErrno(EMLINK));
    ASSERT_THAT(unlink((dir / "l1").c_str()), SyscallSucceeds());
    EXPECT_THAT(link(path.c_str(), (dir / "more").c_str()), SyscallSucceeds());
    ASSERT_THAT(unlink((dir / "more").c_str()), SyscallSucceeds());
  }
  for (int i = 1; i < made; ++i) unlink((dir / ("l" + Number(i))).c_str());
  ASSERT_THAT(stat(path.c_str(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_nlink, 1u);
}

TEST(FullLimits, ADirectoryOfManyNames) {
  constexpr int kNames = 100'000;
  const TempDirectory dir;
  for (int i = 0; i < kNames; ++i) {
    ASSERT_THAT(mknod((dir / ("name-" + Number(i))).c_str(), S_IFREG | 0644, 0), SyscallSucceeds());
  }
  std::set<std::string> names;
  DIR* listing = opendir(dir.path().c_str());
  ASSERT_NE(listing, nullptr);
  long half = 0;
  std::string at_half;
  while (const dirent* entry = readdir(listing)) {
    if (entry->d_name[0] == '.') continue;
    EXPECT_TRUE(names.insert(entry->d_name).second) << entry->d_name << " twice";
    if (names.size() == kNames / 2) half = telldir(listing);
    if (names.size() == kNames / 2 + 1) at_half = entry->d_name;
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kNames));
  seekdir(listing, half);
  const dirent* entry = readdir(listing);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->d_name, at_half);
  closedir(listing);
  EXPECT_THAT(rmdir(dir.path().c_str()), SyscallFailsWithErrno(ENOTEMPTY));
  // Emptied while it is read.
  listing = opendir(dir.path().c_str());
  size_t removed = 0;
  while ((entry = readdir(listing))) {
    if (entry->d_name[0] == '.') continue;
    ASSERT_THAT(unlinkat(dirfd(listing), entry->d_name, 0), SyscallSucceeds());
    ++removed;
  }
  closedir(listing);
  EXPECT_EQ(removed, static_cast<size_t>(kNames));
}

TEST(FullLimits, ADirectoryOfAMillionNames) {
  constexpr int kNames = 1'000'000;
  const TempDirectory dir;
  const Fd directory(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_THAT(directory.get(), SyscallSucceeds());
  for (int i = 0; i < kNames; ++i) {
    ASSERT_EQ(mknodat(directory.get(), Number(i).c_str(), S_IFREG | 0644, 0), 0) << i << ": " << strerror(errno);
  }
  EXPECT_THAT(mknodat(directory.get(), "500000", S_IFREG | 0644, 0), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(unlinkat(directory.get(), "1000000", 0), SyscallFailsWithErrno(ENOENT));
  std::vector<bool> seen(kNames);
  DIR* listing = opendir(dir.path().c_str());
  ASSERT_NE(listing, nullptr);
  int count = 0;
  while (const dirent* entry = readdir(listing)) {
    if (entry->d_name[0] == '.') continue;
    const int number = atoi(entry->d_name);
    ASSERT_TRUE(number >= 0 && number < kNames) << entry->d_name;
    EXPECT_FALSE(seen[static_cast<size_t>(number)]) << number << " twice";
    seen[static_cast<size_t>(number)] = true;
    ++count;
  }
  closedir(listing);
  EXPECT_EQ(count, kNames);
  for (int i = 0; i < kNames; ++i) ASSERT_EQ(unlinkat(directory.get(), Number(i).c_str(), 0), 0) << i;
  EXPECT_EQ(rmdir(dir.path().c_str()), 0) << "nothing is left";
  ASSERT_THAT(mkdir(dir.path().c_str(), 0755), SyscallSucceeds());
}

TEST(FullLimits, ADirectoryDeeperThanAPathMayBe) {
  const TempDirectory dir;
  const std::string part(200, 'd');
  ASSERT_TRUE(InChild([&] {
    if (chdir(dir.path().c_str()) < 0) return false;
    for (int i = 0; i < 40; ++i) {
      if (mkdir(part.c_str(), 0755) < 0 || chdir(part.c_str()) < 0) return false;
    }
    const Fd file(open("file", O_CREAT | O_WRONLY, 0644));
    char buffer[PATH_MAX];
    if (file.get() < 0 || syscall(SYS_getcwd, buffer, sizeof buffer) >= 0 || errno != ENAMETOOLONG) return false;
    // The C library finds it by walking up; what counts is that the way back works.
    if (unlink("file") < 0) return false;
    for (int i = 0; i < 40; ++i) {
      if (chdir("..") < 0 || rmdir(part.c_str()) < 0) return false;
    }
    return true;
  }));
}

}  // namespace
}  // namespace usl::conformance
