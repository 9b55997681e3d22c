// What /proc says of the caller, its sockets and its objects, in the form of proc(5).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

std::string Of(const char* file) {
  return ReadFile(std::string("/proc/self/") + file);
}

// The line of a table that has `part`, or nothing.
std::string LineWith(const std::string& text, const std::string& part) {
  const size_t at = text.find(part);
  if (at == std::string::npos) return "";
  const size_t start = text.rfind('\n', at) + 1;
  return text.substr(start, text.find('\n', at) - start);
}

std::string InodeOf(const Fd& fd) {
  struct stat status {};
  fstat(fd.get(), &status);
  return std::to_string(status.st_ino);
}

TEST(Proc, SyscallNamesTheCallThatTheReaderIsIn) {
  EXPECT_THAT(Of("syscall"), MatchesRegex("[0-9]+( 0x[0-9a-f]+){8}\n"));
}

TEST(Proc, SmallTextsHaveTheirForm) {
  EXPECT_THAT(Of("statm"), MatchesRegex("([0-9]+ ){6}[0-9]+\n"));
  EXPECT_THAT(Of("personality"), MatchesRegex("[0-9a-f]{8}\n"));
  EXPECT_THAT(Of("oom_score_adj"), MatchesRegex("-?[0-9]+\n"));
  EXPECT_THAT(Of("coredump_filter"), MatchesRegex("[0-9a-f]{8}\n"));
  EXPECT_THAT(Of("schedstat"), MatchesRegex("[0-9]+ [0-9]+ [0-9]+\n"));
  EXPECT_THAT(Of("io"), StartsWith("rchar: "));
  EXPECT_THAT(Of("uid_map"), MatchesRegex(" +0 +0 +4294967295\n"));
  EXPECT_THAT(Of("setgroups"), HasSubstr("allow"));
  EXPECT_THAT(Of("limits"), StartsWith("Limit                     Soft Limit           Hard Limit           Units"));
  EXPECT_THAT(Of("status"), AllOf(HasSubstr("\nUid:\t0\t0\t0\t0\n"), HasSubstr("\nVmRSS:"),
                                  HasSubstr("\nThreads:\t1\n"), HasSubstr("\nState:\tR (running)\n")));
}

TEST(Proc, NamesAndSlackAreSet) {
  const Fd comm(open("/proc/self/comm", O_RDWR));
  ASSERT_TRUE(comm.ok());
  EXPECT_THAT(write(comm.get(), "usl-comm", 8), SyscallSucceeds());
  char name[17] = "";
  prctl(PR_GET_NAME, name);
  EXPECT_STREQ(name, "usl-comm");
  const Fd adjustment(open("/proc/self/oom_score_adj", O_WRONLY));
  ASSERT_TRUE(adjustment.ok());
  EXPECT_THAT(write(adjustment.get(), "500\n", 4), SyscallSucceeds());
  EXPECT_EQ(Of("oom_score_adj"), "500\n");
}

TEST(Proc, PagemapHasAnEntryForEachPage) {
  const Fd map(open("/proc/self/pagemap", O_RDONLY));
  ASSERT_TRUE(map.ok());
  volatile char here = 1;
  uint64_t entry = 0;
  const off_t page = static_cast<off_t>(reinterpret_cast<uintptr_t>(&here) / 4096 * 8);
  ASSERT_EQ(pread(map.get(), &entry, sizeof entry, page), 8);
  EXPECT_TRUE(entry >> 63);  // present
}

TEST(Proc, TcpListsTheListenersOfTheCaller) {
  const Fd listener(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  ASSERT_THAT(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), SyscallSucceeds());
  ASSERT_THAT(listen(listener.get(), 1), SyscallSucceeds());
  socklen_t size = sizeof address;
  ASSERT_THAT(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), SyscallSucceeds());
  char local[16];
  snprintf(local, sizeof local, "0100007F:%04X", ntohs(address.sin_port));
  const std::string line = LineWith(Of("net/tcp"), std::string(local) + " 00000000:0000 0A");
  EXPECT_THAT(line, HasSubstr(" 00000000     0        0 " + InodeOf(listener) + " "));
}

TEST(Proc, UnixListsTheSocketsOfTheCaller) {
  const TempDirectory directory;
  const std::string path = directory / "socket";
  const Fd bound(socket(AF_UNIX, SOCK_STREAM, 0)), abstract(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  ASSERT_THAT(bind(bound.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), SyscallSucceeds());
  ASSERT_THAT(listen(bound.get(), 1), SyscallSucceeds());
  EXPECT_THAT(LineWith(Of("net/unix"), " " + InodeOf(bound) + " "),
              MatchesRegex("[0-9a-f]+: 00000002 00000000 00010000 0001 01 +[0-9]+ " + path));
  const std::string name = "usl-proc-test-" + std::to_string(getpid());
  address.sun_path[0] = '\0';
  memcpy(address.sun_path + 1, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_THAT(bind(abstract.get(), reinterpret_cast<sockaddr*>(&address), length), SyscallSucceeds());
  EXPECT_THAT(LineWith(Of("net/unix"), " " + InodeOf(abstract) + " "), HasSubstr(" @" + name));
}

TEST(Proc, SysvObjectsAreListed) {
  const int id = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0640);
  ASSERT_GE(id, 0);
  char head[64];
  snprintf(head, sizeof head, "         0 %10d   640                  5000 %5d ", id, getpid());
  EXPECT_THAT(LineWith(ReadFile("/proc/sysvipc/shm"), head), Not(""));
  EXPECT_THAT(shmctl(id, IPC_RMID, nullptr), SyscallSucceeds());
}

TEST(Proc, TheKernelLogIsThePrivilegedUsers) {
  EXPECT_EQ(ErrnoAs(kUser, [] { return open("/proc/kmsg", O_RDONLY); }), EACCES);
}

TEST(Proc, HostNameIsTheSameEverywhere) {
  char name[65] = "";
  ASSERT_THAT(gethostname(name, sizeof name), SyscallSucceeds());
  EXPECT_EQ(ReadFile("/proc/sys/kernel/hostname"), std::string(name) + "\n");
}

}  // namespace
}  // namespace usl::conformance
