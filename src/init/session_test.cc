// Sessions natively, and the whole init over its control socket. Never send kShutdown here: outside the sandbox it
// would signal every process of the user.
#include "init/session.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "init/image.h"
#include "protocol/control_socket.h"

namespace usl::init {
namespace {

using protocol::LaunchRequest;
using protocol::MessageType;
using ::testing::HasSubstr;

LaunchRequest Command(const std::string& script) {
  LaunchRequest request{.uid = getuid(), .gid = getgid()};
  request.argv = {"sh", "-c", script};
  request.env = {"PATH=/usr/bin:/bin"};
  return request;
}

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t size;
  while ((size = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(size));
  return text;
}

// An init process of the real executable, with the test as its supervisor.
class InitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0) GTEST_SKIP() << "natively setgroups needs root; inside it does not";
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    control_ = UniqueFd(pair[0]);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(pair[1], protocol::kInitControlFd);
      const int null = open("/dev/null", O_RDWR);
      dup2(null, 1);
      execl(USL_INIT_FILE, "init", nullptr);
      _exit(99);
    }
    close(pair[1]);
    ASSERT_EQ(pipe2(output_, O_CLOEXEC), 0);
  }
  void TearDown() override {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  void Launch(uint32_t session, const LaunchRequest& request) {
    const auto payload = *protocol::EncodeLaunch(request);
    const UniqueFd memory(memfd_create("launch", MFD_CLOEXEC));
    ASSERT_EQ(pwrite(memory.get(), payload.data(), payload.size(), 0), static_cast<ssize_t>(payload.size()));
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    const int fds[] = {null.get(), output_[1], output_[1], memory.get()};
    ASSERT_TRUE(protocol::SendControl(control_.get(), {MessageType::kLaunch, session, 0, payload.size()}, fds));
  }
  // The wait status that is reported for a session.
  int AwaitExit(uint32_t session) {
    const auto received = protocol::ReceiveControl(control_.get());
    if (!received) return -1;
    EXPECT_EQ(received->message.type, MessageType::kExited);
    EXPECT_EQ(received->message.session, session);
    return received->message.value;
  }
  std::string Output() {
    close(output_[1]);
    return ReadAll(output_[0]);
  }

  UniqueFd control_;
  pid_t pid_ = -1;
  int output_[2] = {-1, -1};
};

TEST(InitImage, IsAStaticElf) {
  const auto image = InitImage();
  ASSERT_GT(image.size(), 1000u);
  EXPECT_EQ(static_cast<char>(image[1]), 'E');
}

TEST_F(InitTest, ReportsExitStatusAndSignal) {
  Launch(1, Command("exit 42"));
  EXPECT_EQ(WEXITSTATUS(AwaitExit(1)), 42);
  Launch(2, Command("kill -SEGV $$"));
  EXPECT_EQ(WTERMSIG(AwaitExit(2)), SIGSEGV);
}

TEST_F(InitTest, RunsAsTheUserInItsDirectoryWithItsEnvironment) {
  auto request = Command("id -u; id -g; id -G; pwd; echo $GREETING; umask");
  request.uid = 1234;
  request.gid = 567;
  request.groups = {567, 4, 27};
  request.cwd = "/usr";
  request.umask = 027;
  request.env.push_back("GREETING=hello");
  Launch(1, request);
  EXPECT_EQ(AwaitExit(1), 0);
  EXPECT_EQ(Output(), "1234\n567\n567 4 27\n/usr\nhello\n0027\n");
}

TEST_F(InitTest, SaysWhatIsWrongWithTheDirectoryAndTheCommand) {
  auto request = Command("true");
  request.cwd = "/no/such/directory";
  Launch(1, request);
  EXPECT_EQ(WEXITSTATUS(AwaitExit(1)), 125);
  request = Command("true");
  request.argv = {"no-such-tool"};
  Launch(2, request);
  EXPECT_EQ(WEXITSTATUS(AwaitExit(2)), 127);
  const std::string output = Output();
  EXPECT_THAT(output, HasSubstr("cannot enter the working directory \"/no/such/directory\""));
  EXPECT_THAT(output, HasSubstr("no such command"));
}

TEST_F(InitTest, FindsTheUserAndTheShell) {
  LaunchRequest request{.flags = protocol::kLaunchFindUser | protocol::kLaunchUserShell};
  request.user = "daemon";
  request.cwd = "";
  request.argv = {"id", "-un;", "echo", "$HOME", "$USER;", "pwd"};
  request.env = {"SHELL=/bin/sh", "X=1"};
  Launch(1, request);
  // daemon's shell is nologin, which runs nothing: the account's shell it is all the same.
  EXPECT_NE(WEXITSTATUS(AwaitExit(1)), 0);
  request.user = "0";
  Launch(2, request);
  EXPECT_EQ(AwaitExit(2), 0);
  EXPECT_THAT(Output(), HasSubstr("root\n/root root\n/root\n"));
}

TEST_F(InitTest, SaysWhichUserIsMissing) {
  LaunchRequest request{.flags = protocol::kLaunchFindUser, .user = "nobody-of-that-name", .cwd = "", .argv = {"true"}};
  Launch(1, request);
  EXPECT_EQ(WEXITSTATUS(AwaitExit(1)), 125);
  EXPECT_THAT(Output(), HasSubstr("no user \"nobody-of-that-name\""));
}

TEST_F(InitTest, AWishForADirectoryFallsBackToTheHome) {
  LaunchRequest request{.flags = protocol::kLaunchFindUser | protocol::kLaunchHostDirectory,
                        .user = "0",
                        .cwd = "/no/such/directory",
                        .argv = {"pwd"}};
  Launch(1, request);
  EXPECT_EQ(AwaitExit(1), 0);
  EXPECT_EQ(Output(), "/root\n");
}

TEST_F(InitTest, SignalsTheGroupOfASession) {
  Launch(1, Command("echo up; sleep 60; :"));
  char line[3];
  ASSERT_EQ(read(output_[0], line, 3), 3);
  ASSERT_TRUE(protocol::SendControl(control_.get(), {MessageType::kSignal, 1, SIGTERM, 0}));
  EXPECT_EQ(WTERMSIG(AwaitExit(1)), SIGTERM);
}

TEST_F(InitTest, RunsSessionsSideBySideAndReapsOrphans) {
  Launch(1, Command("(sleep 0.1; exit 9) & sleep 60"));
  Launch(2, Command("exit 7"));
  EXPECT_EQ(WEXITSTATUS(AwaitExit(2)), 7);
  ASSERT_TRUE(protocol::SendControl(control_.get(), {MessageType::kSignal, 1, SIGKILL, 0}));
  EXPECT_EQ(WTERMSIG(AwaitExit(1)), SIGKILL);
}

}  // namespace
}  // namespace usl::init
