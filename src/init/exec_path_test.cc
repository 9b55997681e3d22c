#include "init/exec_path.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace usl::init {
namespace {

using ::testing::HasSubstr;

class ExecPathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/usl-exec-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& name, const std::string& content, mode_t mode) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << content;
    chmod(path.c_str(), mode);
    return path;
  }

  // The exit status of a child that runs the command.
  static int Run(const std::vector<std::string>& argv, const std::vector<std::string>& env = {"PATH=/usr/bin:/bin"}) {
    const pid_t pid = fork();
    if (pid == 0) _exit(ExecuteCommand(argv, env, false).exit_status);
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string directory_;
};

TEST_F(ExecPathTest, RunsByPathAndByName) {
  EXPECT_EQ(Run({"/bin/sh", "-c", "exit 3"}), 3);
  EXPECT_EQ(Run({"sh", "-c", "exit 4"}), 4);
  EXPECT_EQ(Run({"sh", "-c", "exit 5"}, {}), 5) << "the default PATH";
}

TEST_F(ExecPathTest, TakesTheFirstThatCanBeExecuted) {
  std::filesystem::create_directory(directory_ + "/a");
  Write("a/tool", "#!/bin/sh\nexit 1\n", 0644);
  Write("tool", "#!/bin/sh\nexit 2\n", 0755);
  EXPECT_EQ(Run({"tool"}, {"PATH=/nonexistent:" + directory_ + "/a:" + directory_}), 2);
}

TEST_F(ExecPathTest, GivesScriptsWithoutAMagicToTheShell) {
  Write("plain", "exit 6\n", 0755);
  EXPECT_EQ(Run({"plain"}, {"PATH=" + directory_}), 6);
}

TEST_F(ExecPathTest, SaysWhatIsNotFound) {
  const auto failure = ExecuteCommand({"no-such-tool"}, {"PATH=/bin"}, false);
  EXPECT_EQ(failure.exit_status, 127);
  EXPECT_THAT(failure.message, HasSubstr("no such command in PATH (/bin)"));
  EXPECT_THAT(ExecuteCommand({"/no/such"}, {}, false).message, HasSubstr("there is no such file"));
  EXPECT_EQ(ExecuteCommand({""}, {}, false).exit_status, 127);
}

TEST_F(ExecPathTest, SaysWhatCannotBeExecuted) {
  const auto denied = ExecuteCommand({Write("data", "x", 0644)}, {}, false);
  EXPECT_EQ(denied.exit_status, 126);
  EXPECT_EQ(ExecuteCommand({directory_}, {}, false).exit_status, 126);
  const auto orphan = ExecuteCommand({Write("script", "#!/no/such/interpreter\n", 0755)}, {}, false);
  EXPECT_EQ(orphan.exit_status, 127);
  EXPECT_THAT(orphan.message, HasSubstr("interpreter is missing"));
}

TEST_F(ExecPathTest, NamesTheMachineOfAForeignProgram) {
  std::string header(64, '\0');
  header.replace(0, 7,
                 "\x7f"
                 "ELF\x02\x01\x01");
  header[16] = 2;
  header[18] = static_cast<char>(183);  // EM_AARCH64
  const auto failure = ExecuteCommand({Write("foreign", header, 0755)}, {}, false);
  EXPECT_EQ(failure.exit_status, 126);
  EXPECT_THAT(failure.message, HasSubstr("a program for arm64"));
}

}  // namespace
}  // namespace usl::init
