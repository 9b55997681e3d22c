// Natively; services become the user 0, so these tests want root.
#include "init/services.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace usl::init {
namespace {

using protocol::Restart;
using ::testing::HasSubstr;

class ServicesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0) GTEST_SKIP() << "natively becoming a user needs root; inside it does not";
    char name[] = "/tmp/usl-services-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    services_.emplace(directory_ + "/log", directory_);
  }
  void TearDown() override {
    services_.reset();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  std::string Text(const std::string& name) {
    std::ifstream file(directory_ + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void WriteScript(const std::string& name) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << "#!/bin/sh\necho " << name << " $1 >>" << directory_ << "/events\n";
    chmod(path.c_str(), 0755);
  }
  std::string Note(const std::string& what) { return "echo " + what + " >>" + directory_ + "/events"; }

  // Waits for one child and tells it; then what became due. The clock is the test's.
  void ReapOne() {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, 0);
    ASSERT_GT(pid, 0);
    EXPECT_TRUE(services_->OnExit(pid, status, now_));
    services_->Advance(now_);
  }

  std::string directory_;
  std::optional<Services> services_;
  int64_t now_ = 1'000'000;
};

TEST_F(ServicesTest, RunsCommandThenScriptsThenServicesAndStopsInReverse) {
  WriteScript("one");
  WriteScript("two");
  services_->Begin({.command = Note("boot"),
                    .scripts = {"one", "two"},
                    .services = {{"a", Note("a") + "; trap '" + Note("a-end") + "; exit' TERM; sleep 60 & wait", "",
                                  Restart::kAlways},
                                 {"b", Note("b") + "; trap '" + Note("b-end") + "; exit' TERM; sleep 60 & wait", "",
                                  Restart::kAlways}},
                    .default_user = ""});
  services_->Advance(now_);
  EXPECT_TRUE(services_->busy());
  ReapOne();
  ReapOne();
  ReapOne();
  EXPECT_FALSE(services_->busy());
  while (Text("events").find("a\n") == std::string::npos || Text("events").find("b\n") == std::string::npos)
    usleep(1000);
  services_->BeginStop();
  services_->Advance(now_);
  for (int i = 0; i < 4; ++i) ReapOne();
  EXPECT_FALSE(services_->stopping());
  EXPECT_THAT(Text("events"), HasSubstr("boot\none start\ntwo start\n"));
  EXPECT_THAT(Text("events"), HasSubstr("b-end\na-end\ntwo stop\none stop\n"));
}

TEST_F(ServicesTest, RestartsWithBackOff) {
  services_->Begin({.services = {{"s", "echo up; exit 1", "", Restart::kOnFailure}}, .default_user = ""});
  services_->Advance(now_);
  for (const int64_t delay : {500, 1000, 2000}) {
    ReapOne();
    EXPECT_EQ(services_->WakeTime(), now_ + delay);
    EXPECT_TRUE(services_->busy());
    services_->Advance(now_ + delay - 1);
    EXPECT_EQ(services_->WakeTime(), now_ + delay) << "not before its time";
    now_ += delay;
    services_->Advance(now_);
  }
  int status = 0;
  const pid_t pid = waitpid(-1, &status, 0);
  now_ += 100'000;  // it ran long: the next restart is quick again
  EXPECT_TRUE(services_->OnExit(pid, status, now_));
  EXPECT_EQ(services_->WakeTime(), now_ + 500);
  EXPECT_EQ(Text("log/s.log"), "up\nup\nup\nup\n");
}

TEST_F(ServicesTest, DoesNotRestartWhatEndedWellOrNever) {
  services_->Begin({.services = {{"a", "exit 0", "", Restart::kOnFailure}, {"b", "exit 1", "", Restart::kNever}},
                    .default_user = ""});
  services_->Advance(now_);
  ReapOne();
  ReapOne();
  EXPECT_EQ(services_->WakeTime(), kNever);
  EXPECT_FALSE(services_->busy());
}

TEST_F(ServicesTest, DoesNotFollowALogThatIsALink) {
  std::filesystem::create_directory(directory_ + "/log");
  std::filesystem::create_symlink(directory_ + "/victim", directory_ + "/log/s.log");
  services_->Begin({.services = {{"s", "echo up", "", Restart::kNever}}, .default_user = ""});
  services_->Advance(now_);
  ReapOne();
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/victim"));
}

TEST_F(ServicesTest, OtherChildrenAreNotItsOwn) {
  EXPECT_FALSE(services_->OnExit(12345, 0, now_));
}

}  // namespace
}  // namespace usl::init
