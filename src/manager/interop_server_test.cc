#include "manager/interop_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace usl::manager {
namespace {

using ::testing::Contains;
using ::testing::Not;
using ::testing::StartsWith;

InteropOptions Options(InteropPolicy policy, std::vector<std::string> allow = {}) {
  RunOptions run{.rootfs = "/tree"};
  run.volumes.push_back({.host_path = "/usr", .guest_path = "/mnt/host/usr"});
  return {.policy = policy, .allow = std::move(allow), .paths = PathMap::OfShared(run, "/")};
}

int ErrorOf(const Result<std::string>& result) {
  return result ? 0 : result.error().code();
}

TEST(InteropPrograms, TheListIsOfNamesAndPathsAsTheyAreWritten) {
  const auto options = Options(InteropPolicy::kList, {"sh", "/usr/bin/env"});
  EXPECT_EQ(FindInteropProgram("sh", "/nowhere:/bin", options).value_or(""), "/bin/sh");
  EXPECT_EQ(FindInteropProgram("/usr/bin/env", "/bin", options).value_or(""), "/usr/bin/env");
  for (const char* program : {"ls", "/bin/sh", "./sh", "../bin/sh", "env", "/usr/bin/../bin/env", "", "SH"}) {
    EXPECT_EQ(ErrorOf(FindInteropProgram(program, "/bin:/usr/bin", options)), EACCES) << program;
  }
}

// A guest's directory may be the current one.
TEST(InteropPrograms, RelativePartsOfPathAreNotSearched) {
  const auto options = Options(InteropPolicy::kAll);
  ASSERT_EQ(chdir("/bin"), 0);
  EXPECT_EQ(ErrorOf(FindInteropProgram("sh", ".:bin:", options)), ENOENT);
  EXPECT_EQ(ErrorOf(FindInteropProgram("sh", ":", options)), ENOENT);
  EXPECT_EQ(FindInteropProgram("sh", ".:/bin", options).value_or(""), "/bin/sh");
  EXPECT_EQ(FindInteropProgram("./x", "/bin", options).value_or(""), "./x");
}

TEST(InteropPrograms, OffIsOff) {
  EXPECT_EQ(ErrorOf(FindInteropProgram("sh", "/bin", Options(InteropPolicy::kOff, {"sh"}))), EACCES);
}

const std::vector<std::string> kHost{"PATH=/host/bin", "TERM=dumb", "HOME=/home/ann"};
const std::vector<std::string> kGuest{"PATH=/guest", "TERM=xterm-256color", "LD_PRELOAD=/tmp/x.so",
                                      "A=1",         "B=/mnt/host/usr/bin", "USLENV=A:B/p:LD_PRELOAD"};

TEST(InteropEnvironment, UnderTheListNothingOfTheGuestsButTheTerminal) {
  const auto environment = InteropEnvironment(kHost, kGuest, Options(InteropPolicy::kList, {"sh"}));
  EXPECT_THAT(environment, ::testing::UnorderedElementsAre("PATH=/host/bin", "HOME=/home/ann", "TERM=xterm-256color"));
}

TEST(InteropEnvironment, UnderAllWhatUslenvNames) {
  const auto environment = InteropEnvironment(kHost, kGuest, Options(InteropPolicy::kAll));
  EXPECT_THAT(environment, Contains("A=1"));
  EXPECT_THAT(environment, Contains("B=/usr/bin"));
  EXPECT_THAT(environment, Contains("PATH=/host/bin"));
  EXPECT_THAT(environment, Not(Contains("PATH=/guest")));
}

TEST(InteropEnvironment, AnOddTerminalIsNotPassedOn) {
  for (const char* term : {"TERM=", "TERM=../../x", "TERM=a\nb", "TERM=a b"}) {
    EXPECT_THAT(InteropEnvironment(kHost, {term}, Options(InteropPolicy::kAll)), Contains("TERM=dumb")) << term;
  }
}

}  // namespace
}  // namespace usl::manager
