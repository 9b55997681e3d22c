// What is in files: holes, fallocate(2), copy_file_range(2), FICLONE, mappings, and how all of it goes along with
// truncation. Calls that a file system may lack are checked to be lacking in the way that Linux tells it.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <csignal>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr off_t kMega = 1 << 20;

TEST(Sparse, HolesReadAsZerosAndTakeNoSpace) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  const Fd fd(open(path.c_str(), O_RDWR));
  ASSERT_THAT(pwrite(fd.get(), "end", 3, 4 * kMega), SyscallSucceedsWithValue(3));
  ASSERT_THAT(fsync(fd.get()), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_size, 4 * kMega + 3);
  EXPECT_LT(StatOf(path).st_blocks * 512, kMega);
  char byte = 'x';
  EXPECT_THAT(pread(fd.get(), &byte, 1, kMega), SyscallSucceedsWithValue(1));
  EXPECT_EQ(byte, 0);
  EXPECT_EQ(lseek(fd.get(), 0, SEEK_DATA), 4 * kMega);
  EXPECT_EQ(lseek(fd.get(), 0, SEEK_HOLE), 0);
  EXPECT_EQ(lseek(fd.get(), 4 * kMega, SEEK_HOLE), 4 * kMega + 3) << "behind the end there is a hole";
  EXPECT_THAT(lseek(fd.get(), 5 * kMega, SEEK_DATA), SyscallFailsWithErrno(ENXIO));
  EXPECT_THAT(lseek(fd.get(), -1, SEEK_SET), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(lseek(fd.get(), 0, 77), SyscallFailsWithErrno(EINVAL));
  ASSERT_THAT(ftruncate(fd.get(), 10), SyscallSucceeds());
  ASSERT_THAT(ftruncate(fd.get(), 8 * kMega), SyscallSucceeds());
  EXPECT_THAT(lseek(fd.get(), kMega, SEEK_DATA), SyscallFailsWithErrno(ENXIO));
}

// Modes beyond the plain one are the file system's choice: then EOPNOTSUPP and nothing changes.
bool Allocates(int fd, int mode, off_t offset, off_t length) {
  if (fallocate(fd, mode, offset, length) == 0) return true;
  EXPECT_EQ(errno, EOPNOTSUPP) << "mode " << mode;
  return false;
}

TEST(Allocate, PlainAndKeepingTheSize) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "abc");
  const Fd fd(open(path.c_str(), O_RDWR));
  ASSERT_TRUE(Allocates(fd.get(), 0, 0, kMega));
  EXPECT_EQ(StatOf(path).st_size, kMega);
  EXPECT_GE(StatOf(path).st_blocks * 512, kMega);
  if (Allocates(fd.get(), FALLOC_FL_KEEP_SIZE, kMega, kMega)) {
    EXPECT_EQ(StatOf(path).st_size, kMega);
    EXPECT_GE(StatOf(path).st_blocks * 512, 2 * kMega);
  }
  EXPECT_EQ(ReadFile(path).substr(0, 4), std::string("abc\0", 4));
}

TEST(Allocate, PunchAndZero) {
  const TempDirectory dir;
  const std::string path = dir.File("f", std::string(3 * kMega, 'x'));
  const Fd fd(open(path.c_str(), O_RDWR));
  ASSERT_THAT(fsync(fd.get()), SyscallSucceeds());
  const auto byte_at = [&](off_t offset) {
    char byte = '?';
    return pread(fd.get(), &byte, 1, offset) == 1 ? byte : '?';
  };
  if (Allocates(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kMega, kMega)) {
    EXPECT_EQ(byte_at(kMega - 1), 'x');
    EXPECT_EQ(byte_at(kMega), 0);
    EXPECT_EQ(byte_at(2 * kMega - 1), 0);
    EXPECT_EQ(byte_at(2 * kMega), 'x');
    EXPECT_EQ(lseek(fd.get(), 0, SEEK_HOLE), kMega);
    EXPECT_EQ(lseek(fd.get(), kMega, SEEK_DATA), 2 * kMega);
    EXPECT_EQ(StatOf(path).st_size, 3 * kMega);
  }
  if (Allocates(fd.get(), FALLOC_FL_ZERO_RANGE, 2 * kMega + 5, 10)) {
    EXPECT_EQ(byte_at(2 * kMega + 4), 'x');
    EXPECT_EQ(byte_at(2 * kMega + 5), 0);
    EXPECT_EQ(byte_at(2 * kMega + 15), 'x');
  }
  EXPECT_THAT(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE, 0, 10), SyscallFailsWithErrno(EOPNOTSUPP))
      << "must keep the size";
}

TEST(Allocate, CollapseAndInsert) {
  const TempDirectory dir;
  std::string content = std::string(kMega, 'a') + std::string(kMega, 'b') + std::string(kMega, 'c');
  const std::string path = dir.File("f", content);
  const Fd fd(open(path.c_str(), O_RDWR));
  if (!Allocates(fd.get(), FALLOC_FL_COLLAPSE_RANGE, kMega, kMega)) GTEST_SKIP() << "the file system has it not";
  content.erase(kMega, kMega);
  EXPECT_TRUE(ReadFile(path) == content);
  ASSERT_TRUE(Allocates(fd.get(), FALLOC_FL_INSERT_RANGE, kMega, kMega));
  content.insert(kMega, std::string(kMega, '\0'));
  EXPECT_TRUE(ReadFile(path) == content);
}

TEST(Allocate, BadArguments) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "abc");
  const Fd writer(open(path.c_str(), O_RDWR)), reader(open(path.c_str(), O_RDONLY));
  const Fd directory(open(dir.path().c_str(), O_RDONLY));
  EXPECT_THAT(fallocate(writer.get(), 0, -1, 10), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(fallocate(writer.get(), 0, 0, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(fallocate(writer.get(), 0, 0, -1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(fallocate(writer.get(), 0, INT64_MAX, 10), SyscallFailsWithErrno(EFBIG));
  EXPECT_THAT(fallocate(writer.get(), 0x4000, 0, 10), SyscallFailsWithErrno(EOPNOTSUPP));
  EXPECT_THAT(fallocate(reader.get(), 0, 0, 10), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fallocate(directory.get(), 0, 0, 10), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fallocate(-1, 0, 0, 10), SyscallFailsWithErrno(EBADF));
  int ends[2];
  ASSERT_THAT(pipe(ends), SyscallSucceeds());
  EXPECT_THAT(fallocate(ends[1], 0, 0, 10), SyscallFailsWithErrno(ESPIPE));
  close(ends[0]);
  close(ends[1]);
}

TEST(CopyRange, BetweenFilesAndWithin) {
  const TempDirectory dir;
  const std::string from_path = dir.File("from", "0123456789"), to_path = dir.File("to", "----------");
  const Fd from(open(from_path.c_str(), O_RDWR)), to(open(to_path.c_str(), O_RDWR));
  off_t in = 2, out = 5;
  ASSERT_THAT(copy_file_range(from.get(), &in, to.get(), &out, 3, 0), SyscallSucceedsWithValue(3));
  EXPECT_EQ(in, 5);
  EXPECT_EQ(out, 8);
  EXPECT_EQ(ReadFile(to_path), "-----234--");
  EXPECT_EQ(lseek(from.get(), 0, SEEK_CUR), 0);
  ASSERT_THAT(copy_file_range(from.get(), nullptr, to.get(), nullptr, 100, 0), SyscallSucceedsWithValue(10));
  EXPECT_EQ(lseek(from.get(), 0, SEEK_CUR), 10);
  EXPECT_EQ(ReadFile(to_path), "0123456789");
  in = 10;
  EXPECT_THAT(copy_file_range(from.get(), &in, to.get(), nullptr, 1, 0), SyscallSucceedsWithValue(0)) << "at the end";
  in = 0, out = 5;
  ASSERT_THAT(copy_file_range(from.get(), &in, from.get(), &out, 5, 0), SyscallSucceedsWithValue(5));
  EXPECT_EQ(ReadFile(from_path), "0123401234");
  in = 0, out = 3;
  EXPECT_THAT(copy_file_range(from.get(), &in, from.get(), &out, 5, 0), SyscallFailsWithErrno(EINVAL))
      << "they overlap";
  EXPECT_THAT(copy_file_range(from.get(), &in, to.get(), &out, 5, 1), SyscallFailsWithErrno(EINVAL));
  const Fd reader(open(to_path.c_str(), O_RDONLY)), append(open(to_path.c_str(), O_WRONLY | O_APPEND));
  EXPECT_THAT(copy_file_range(from.get(), &in, reader.get(), &out, 5, 0), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(copy_file_range(from.get(), &in, append.get(), nullptr, 5, 0), SyscallFailsWithErrno(EBADF));
  const Fd directory(open(dir.path().c_str(), O_RDONLY));
  EXPECT_THAT(copy_file_range(directory.get(), &in, to.get(), &out, 5, 0), SyscallFailsWithErrno(EISDIR));
}

TEST(Clone, WholeFilesWhereTheFileSystemCan) {
  const TempDirectory dir;
  const std::string from_path = dir.File("from", std::string(8192, 'x')), to_path = dir.File("to");
  const Fd from(open(from_path.c_str(), O_RDONLY)), to(open(to_path.c_str(), O_RDWR));
  if (ioctl(to.get(), FICLONE, from.get()) < 0) {
    EXPECT_TRUE(errno == EOPNOTSUPP || errno == EXDEV) << errno;
    EXPECT_EQ(StatOf(to_path).st_size, 0);
  } else {
    EXPECT_EQ(ReadFile(to_path), ReadFile(from_path));
  }
  const Fd reader(open(to_path.c_str(), O_RDONLY));
  EXPECT_THAT(ioctl(reader.get(), FICLONE, from.get()), ::testing::AnyOf(-1));
  EXPECT_THAT(ioctl(to.get(), FICLONE, -1), SyscallFailsWithErrno(EBADF));
}

TEST(Mapping, SharedOnesAreTheFile) {
  const TempDirectory dir;
  const std::string path = dir.File("f", std::string(4096, 'a'));
  const Fd fd(open(path.c_str(), O_RDWR));
  char* memory = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  memory[5] = 'B';
  EXPECT_EQ(ReadFile(path)[5], 'B');
  ASSERT_THAT(pwrite(fd.get(), "C", 1, 6), SyscallSucceedsWithValue(1));
  EXPECT_EQ(memory[6], 'C');
  ASSERT_THAT(ftruncate(fd.get(), 8192), SyscallSucceeds());
  EXPECT_EQ(memory[5000], 0);
  ASSERT_THAT(unlink(path.c_str()), SyscallSucceeds());
  memory[7] = 'D';
  char byte;
  EXPECT_THAT(pread(fd.get(), &byte, 1, 7), SyscallSucceedsWithValue(1));
  EXPECT_EQ(byte, 'D');
  munmap(memory, 8192);
  const Fd reader(open(dir.File("g", "x").c_str(), O_RDONLY));
  EXPECT_EQ(mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, reader.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EACCES);
}

TEST(Data, LimitsAndVectors) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  EXPECT_TRUE(InChild([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    const Fd fd(open(path.c_str(), O_RDWR));
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0) return false;
    if (write(fd.get(), std::string(200, 'x').data(), 200) != 100) return false;
    if (write(fd.get(), "x", 1) != -1 || errno != EFBIG) return false;
    return ftruncate(fd.get(), 101) == -1 && errno == EFBIG && truncate(path.c_str(), 101) == -1 && errno == EFBIG &&
           ftruncate(fd.get(), 99) == 0;
  }));
  const Fd fd(open(path.c_str(), O_RDWR | O_TRUNC));
  char one[] = "one", two[] = "two";
  const iovec vectors[] = {{one, 3}, {two, 3}};
  EXPECT_THAT(pwritev(fd.get(), vectors, 2, 10), SyscallSucceedsWithValue(6));
  EXPECT_EQ(StatOf(path).st_size, 16);
  EXPECT_THAT(pwritev2(fd.get(), vectors, 1, 0, RWF_APPEND), SyscallSucceedsWithValue(3));
  EXPECT_EQ(ReadFile(path).substr(10), "onetwoone");
  off_t offset = 13;
  const Fd out(open((dir / "out").c_str(), O_CREAT | O_WRONLY, 0600));
  EXPECT_THAT(sendfile(out.get(), fd.get(), &offset, 3), SyscallSucceedsWithValue(3));
  EXPECT_EQ(ReadFile(dir / "out"), "two");
  EXPECT_THAT(write(Fd(open(path.c_str(), O_RDONLY)).get(), "x", 1), SyscallFailsWithErrno(EBADF));
  char byte;
  EXPECT_THAT(read(Fd(open(path.c_str(), O_WRONLY)).get(), &byte, 1), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(read(Fd(open(dir.path().c_str(), O_RDONLY)).get(), &byte, 1), SyscallFailsWithErrno(EISDIR));
}

TEST(Data, SyncingDirectoriesAndFiles) {
  const TempDirectory dir;
  const Fd file(open(dir.File("f", "x").c_str(), O_RDONLY)), directory(open(dir.path().c_str(), O_RDONLY));
  EXPECT_THAT(fsync(file.get()), SyscallSucceeds());
  EXPECT_THAT(fdatasync(file.get()), SyscallSucceeds());
  EXPECT_THAT(fsync(directory.get()), SyscallSucceeds());
  EXPECT_THAT(fdatasync(directory.get()), SyscallSucceeds());
  EXPECT_THAT(syncfs(directory.get()), SyscallSucceeds());
  EXPECT_THAT(fsync(-1), SyscallFailsWithErrno(EBADF));
}

}  // namespace
}  // namespace usl::conformance
