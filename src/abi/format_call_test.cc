#include "abi/format_call.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "abi/constants.h"

namespace usl::abi {
namespace {

// The test's own memory is the guest's. It is read as a guest's is, by pages: to the end of what is mapped, or `end`.
class OwnMemory : public MemoryReader {
 public:
  Result<void> Read(uint64_t address, void* to, size_t size) const override {
    static const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (size > end || address > end - size || address > INT64_MAX) return Fail(EFAULT);
    if (pread(memory, to, size, static_cast<off_t>(address)) != static_cast<ssize_t>(size)) return Fail(EFAULT);
    return {};
  }
  uint64_t end = UINT64_MAX;
};

uint64_t Address(const void* pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}

std::string Call(long nr, std::initializer_list<uint64_t> values, std::optional<int64_t> result = std::nullopt) {
  uint64_t arguments[6] = {};
  std::copy(values.begin(), values.end(), arguments);
  return FormatCall(*FindSyscall(nr), arguments, OwnMemory(), result);
}

constexpr uint64_t kAtCwd = static_cast<uint32_t>(AT_FDCWD);  // as a 32-bit register move leaves it

TEST(FormatCall, OpensShowFlagsAndAModeOnlyWhereItCounts) {
  const char* path = "/etc/passwd";
  EXPECT_EQ(Call(SYS_openat, {kAtCwd, Address(path), O_RDONLY | O_CLOEXEC, 0777}),
            "openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC)");
  EXPECT_EQ(Call(SYS_openat, {5, Address(path), O_WRONLY | O_CREAT | O_TRUNC, 0644}),
            "openat(5, \"/etc/passwd\", O_WRONLY|O_CREAT|O_TRUNC, 0644)");
  EXPECT_EQ(Call(SYS_open, {Address(path), O_TMPFILE | O_RDWR, 0600}), "open(\"/etc/passwd\", O_RDWR|O_TMPFILE, 0600)");
}

TEST(FormatCall, UnreadablePointersAreShownAsNumbers) {
  EXPECT_EQ(Call(SYS_openat, {kAtCwd, 0x10, O_RDONLY, 0}), "openat(AT_FDCWD, 0x10, O_RDONLY)");
  EXPECT_EQ(Call(SYS_openat, {kAtCwd, 0, O_RDONLY, 0}), "openat(AT_FDCWD, NULL, O_RDONLY)");
}

TEST(FormatCall, BuffersAreCutAndEscaped) {
  const char text[] = "a\tb\n\"\\\0017 rest of a longer buffer";
  EXPECT_EQ(Call(SYS_write, {1, Address(text), 8}), "write(1, \"a\\tb\\n\\\"\\\\\\0017\", 8)");
  const std::string longer(40, 'x');
  EXPECT_EQ(Call(SYS_write, {1, Address(longer.data()), 40}), "write(1, \"" + std::string(32, 'x') + "\"..., 40)");
}

TEST(FormatCall, OutputsAreShownOnSuccessOnly) {
  const char data[] = "hello world";
  EXPECT_EQ(Call(SYS_read, {3, Address(data), 100}, 5), "read(3, \"hello\", 100)");
  EXPECT_TRUE(Call(SYS_read, {3, Address(data), 100}, -EIO).starts_with("read(3, 0x"));
  EXPECT_TRUE(Call(SYS_read, {3, Address(data), 100}).starts_with("read(3, 0x"));
  struct stat stat {};
  stat.st_mode = S_IFREG | 0755;
  stat.st_size = 12;
  EXPECT_EQ(Call(SYS_fstat, {3, Address(&stat)}, 0),
            "fstat(3, {st_mode=S_IFREG|0755, st_uid=0, st_gid=0, st_size=12, ...})");
  const int pair[2] = {3, 4};
  EXPECT_EQ(Call(SYS_pipe2, {Address(pair), O_CLOEXEC}, 0), "pipe2([3, 4], O_CLOEXEC)");
}

// The result says how much was read, but never more than the buffer holds: the guest chooses neither.
TEST(FormatCall, ResultNeverReadsBeyondTheBuffer) {
  char data[4] = {'a', 'b', 'c', 'd'};
  uint64_t arguments[6] = {3, Address(data), 4};
  OwnMemory memory;
  memory.end = Address(data) + 4;
  EXPECT_EQ(FormatCall(*FindSyscall(SYS_read), arguments, memory, 30), "read(3, \"abcd\", 4)");
}

TEST(FormatCall, MemoryCalls) {
  EXPECT_EQ(Call(SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0}),
            "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)");
  EXPECT_EQ(Call(SYS_madvise, {0x7000, 1, MADV_DONTFORK}), "madvise(0x7000, 1, MADV_DONTFORK)");
  EXPECT_EQ(Call(SYS_mprotect, {0x7000, 1, PROT_NONE}), "mprotect(0x7000, 1, PROT_NONE)");
}

TEST(FormatCall, CloneAndSignals) {
  EXPECT_EQ(Call(SYS_clone, {CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0}),
            "clone(CLONE_VM|CLONE_VFORK|SIGCHLD, NULL, NULL, NULL, 0)");
  EXPECT_EQ(Call(SYS_clone, {SIGCHLD, 0, 0, 0, 0}), "clone(SIGCHLD, NULL, NULL, NULL, 0)");
  EXPECT_EQ(Call(SYS_kill, {static_cast<uint64_t>(-1), SIGTERM}), "kill(-1, SIGTERM)");
  EXPECT_EQ(Call(SYS_tgkill, {7, 8, 33}), "tgkill(7, 8, SIGRT_1)");
  const uint64_t set = (1 << (SIGINT - 1)) | (1 << (SIGCHLD - 1));
  EXPECT_EQ(Call(SYS_rt_sigprocmask, {SIG_BLOCK, Address(&set), 0, 8}),
            "rt_sigprocmask(SIG_BLOCK, [INT CHLD], NULL, 8)");
}

TEST(FormatCall, IntArgumentsAreCutTo32Bits) {
  EXPECT_EQ(Call(SYS_ioctl, {1ull << 32, (1ull << 32) | 0x5413, 0}), "ioctl(0, TIOCGWINSZ, NULL)");
  EXPECT_EQ(Call(SYS_fcntl, {3, (1ull << 32) | F_SETFD, FD_CLOEXEC}), "fcntl(3, F_SETFD, FD_CLOEXEC)");
  EXPECT_EQ(Call(SYS_fcntl, {3, F_GETFL, 99}), "fcntl(3, F_GETFL)");
}

TEST(FormatCall, Sockets) {
  EXPECT_EQ(Call(SYS_socket, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0}), "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)");
  sockaddr_un un{.sun_family = AF_UNIX, .sun_path = "/run/x"};
  EXPECT_EQ(Call(SYS_connect, {3, Address(&un), sizeof un}),
            "connect(3, {sa_family=AF_UNIX, sun_path=\"/run/x\"}, 110)");
  sockaddr_in in{.sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  EXPECT_EQ(Call(SYS_bind, {3, Address(&in), sizeof in}),
            "bind(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=127.0.0.1}, 16)");
  EXPECT_EQ(Call(SYS_setsockopt, {3, SOL_SOCKET, SO_REUSEADDR, 0, 4}),
            "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, NULL, 4)");
  // A huge length is cut, an absurd family still prints.
  un.sun_family = 1234;
  EXPECT_EQ(Call(SYS_connect, {3, Address(&un), 2}), "connect(3, {sa_family=0x4d2, ...}, 2)");
}

TEST(FormatCall, VectorsAndArguments) {
  char one[] = "ab", two[] = "cd";
  const iovec vectors[] = {{one, 2}, {two, 2}};
  EXPECT_EQ(Call(SYS_writev, {1, Address(vectors), 2}),
            "writev(1, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"cd\", iov_len=2}], 2)");
  EXPECT_EQ(Call(SYS_readv, {1, Address(vectors), 2}, 3),
            "readv(1, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"c\", iov_len=2}], 2)");
  const char* argv[] = {"ls", "-l", nullptr};
  const char* envp[] = {"A=1", nullptr};
  EXPECT_TRUE(Call(SYS_execve, {Address("/bin/ls"), Address(argv), Address(envp)})
                  .starts_with("execve(\"/bin/ls\", [\"ls\", \"-l\"], 0x"));
  EXPECT_TRUE(Call(SYS_execve, {Address("/bin/ls"), Address(argv), Address(envp)}).ends_with(" /* 1 vars */)"));
}

TEST(FormatCall, EveryRowFormatsHostileValues) {
  for (const SyscallRow& row : AllSyscalls()) {
    for (uint64_t value : {uint64_t{0}, uint64_t{1}, UINT64_MAX, uint64_t{1} << 63, uint64_t{0xfff}}) {
      uint64_t arguments[6] = {value, value, value, value, value, value};
      OwnMemory nothing;
      nothing.end = 0;
      std::string text = FormatCall(row, arguments, nothing, 0);
      EXPECT_TRUE(text.starts_with(std::string(row.name) + "(") && text.ends_with(")")) << text;
    }
  }
}

TEST(FormatResult, NamesErrnos) {
  EXPECT_EQ(FormatResult(*FindSyscall(SYS_openat), 3), "3");
  EXPECT_EQ(FormatResult(*FindSyscall(SYS_openat), -ENOENT), "-1 ENOENT (No such file or directory)");
  EXPECT_EQ(FormatResult(*FindSyscall(SYS_read), -512), "-1 ERESTARTSYS (To be restarted)");
  EXPECT_EQ(FormatResult(*FindSyscall(SYS_mmap), 0x7f0000000000), "0x7f0000000000");
  EXPECT_STREQ(ErrnoName(EAGAIN), "EAGAIN");
  EXPECT_STREQ(ErrnoName(0), "E???");
  EXPECT_STREQ(ErrnoName(9999), "E???");
}

TEST(ReadString, StopsAtTheEndOfMemory) {
  auto* pages = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  std::strcpy(pages + 4096 - 4, "abc");
  OwnMemory memory;
  memory.end = Address(pages) + 4096;
  EXPECT_EQ(memory.ReadString(Address(pages) + 4096 - 4, 4096).value(), "abc");
  pages[4095] = 'x';
  EXPECT_EQ(memory.ReadString(Address(pages) + 4096 - 4, 4096).error().code(), EFAULT);
  EXPECT_EQ(memory.ReadString(Address(pages) + 4096 - 4, 4).value(), "abcx");
  munmap(pages, 8192);
}

}  // namespace
}  // namespace usl::abi
