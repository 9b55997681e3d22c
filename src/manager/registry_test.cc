#include "manager/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "manager/registry_json.h"

namespace usl::manager {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kLayer(64, 'a');

class RegistryTest : public testing::Test {
 protected:
  RegistryTest() {
    char path[] = "/tmp/usl-registry-test-XXXXXX";
    if (mkdtemp(path)) directory_ = path;
  }
  ~RegistryTest() override { std::filesystem::remove_all(directory_); }

  std::string Text() const {
    std::ifstream file(directory_ + "/registry.json");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void Write(const std::string& text) const { std::ofstream(directory_ + "/registry.json") << text; }

  std::string directory_;
  std::string why_;
};

Distribution Full() {
  Distribution full;
  full.name = "Debian";
  full.id = MakeUuid();
  full.layers = {kLayer, std::string(64, 'b')};
  full.upper = "/srv/täst";
  full.default_user = "me";
  full.source = "debian:bookworm";
  full.config = {{"/init"}, {"a", "b c"}, {"PATH=/bin"}, "1000:1000", "/srv", "SIGINT"};
  full.options = {{"memory", "1G"}};
  full.snapshots = {{"before", {kLayer}, 5}};
  full.created = 1700000000;
  return full;
}

TEST_F(RegistryTest, NothingYetIsAnEmptyRegistryAndReadingMakesNothing) {
  const Registry registry(directory_ + "/a/b");
  const auto data = registry.Read(&why_);
  ASSERT_TRUE(data) << why_;
  EXPECT_TRUE(data->distributions.empty());
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/a"));
}

TEST_F(RegistryTest, WhatWasWrittenIsRead) {
  const Registry registry(directory_ + "/a/b");
  const Distribution full = Full();
  ASSERT_TRUE(registry.Change(
      [&](RegistryData& data) {
        data.default_distribution = "Debian";
        data.distributions = {full};
        data.images = {{"docker://x/y:z", "sha256:" + kLayer, {kLayer}, full.config, 7}};
        return std::string();
      },
      &why_))
      << why_;
  const auto data = registry.Read(&why_);
  ASSERT_TRUE(data) << why_;
  EXPECT_EQ(data->default_distribution, "Debian");
  const Distribution* read = data->Find("dEBIAN");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, full.id);
  EXPECT_EQ(read->layers, full.layers);
  EXPECT_EQ(read->upper, full.upper);
  EXPECT_EQ(registry.UpperPath(*read), full.upper);
  EXPECT_EQ(read->default_user, "me");
  EXPECT_EQ(read->source, full.source);
  EXPECT_EQ(read->options, full.options);
  EXPECT_EQ(read->created, full.created);
  EXPECT_THAT(read->config.command, ElementsAre("a", "b c"));
  EXPECT_EQ(read->config.stop_signal, "SIGINT");
  ASSERT_EQ(read->snapshots.size(), 1u);
  EXPECT_EQ(read->snapshots[0].name, "before");
  EXPECT_THAT(read->snapshots[0].layers, ElementsAre(kLayer));
  ASSERT_EQ(data->images.size(), 1u);
  EXPECT_EQ(data->images[0].config.working_directory, "/srv");
  struct stat status;
  ASSERT_EQ(stat((directory_ + "/a/b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(RegistryTest, ARefusedChangeLeavesTheFileAsItIs) {
  const Registry registry(directory_);
  const auto nothing = [](RegistryData&) { return std::string(); };
  ASSERT_TRUE(registry.Change(nothing, &why_));
  const std::string before = Text();
  const auto refused = registry.Change(
      [](RegistryData& data) {
        data.default_distribution = "x";
        return std::string("no");
      },
      &why_);
  EXPECT_FALSE(refused);
  EXPECT_EQ(why_, "no");
  EXPECT_EQ(Text(), before);
}

TEST_F(RegistryTest, GarbageIsRefusedWithTheFilesNameAndWhatToDo) {
  const Registry registry(directory_);
  const std::string id = MakeUuid();
  const std::vector<std::string> bad = {
      "",
      "garbage",
      "[]",
      "{}",
      R"({"version": "1"})",
      R"({"version": 1, "future": true})",
      R"({"version": 1, "distributions": {}})",
      R"({"version": 1, "distributions": [1]})",
      R"({"version": 1, "distributions": [{"name": "a"}]})",
      R"({"version": 1, "distributions": [{"name": "../a", "id": ")" + id + R"("}]})",
      R"({"version": 1, "distributions": [{"name": "a", "id": "../../etc"}]})",
      R"({"version": 1, "distributions": [{"name": "a", "id": ")" + id + R"(", "layers": ["../x"]}]})",
      R"({"version": 1, "distributions": [{"name": "a", "id": ")" + id + R"(", "upper": "x"}]})",
      R"({"version": 1, "distributions": [{"name": "a", "id": ")" + id + R"("}, {"name": "A", "id": ")" + MakeUuid() +
          R"("}]})",
      std::string(200000, '['),
  };
  for (const std::string& text : bad) {
    Write(text);
    why_.clear();
    EXPECT_FALSE(registry.Read(&why_)) << text.substr(0, 100);
    EXPECT_THAT(why_, HasSubstr(directory_ + "/registry.json"));
    EXPECT_THAT(why_, HasSubstr("put the file right"));
    // Nor is it overwritten.
    EXPECT_FALSE(registry.Change([](RegistryData&) { return std::string(); }, &why_));
    EXPECT_EQ(Text(), text);
  }
}

TEST_F(RegistryTest, ANewerVersionIsToldApart) {
  Write(R"({"version": 2, "distributions": "all different"})");
  const auto data = Registry(directory_).Read(&why_);
  ASSERT_FALSE(data);
  EXPECT_EQ(data.error().code(), EPROTONOSUPPORT);
  EXPECT_THAT(why_, HasSubstr("version 2"));
  EXPECT_THAT(why_, HasSubstr("newer usl"));
}

TEST_F(RegistryTest, TextThatJsonCannotHoldIsRefused) {
  const auto changed = Registry(directory_)
                           .Change(
                               [](RegistryData& data) {
                                 data.distributions = {Full()};
                                 data.distributions[0].upper = "/srv/\xff";
                                 return std::string();
                               },
                               &why_);
  EXPECT_FALSE(changed);
  EXPECT_THAT(why_, HasSubstr("UTF-8"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/registry.json"));
}

TEST_F(RegistryTest, AFullDiskLeavesTheOldFile) {
  const Registry registry(directory_);
  ASSERT_TRUE(registry.Change([](RegistryData&) { return std::string(); }, &why_));
  const std::string before = Text();
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10, 10};
    setrlimit(RLIMIT_FSIZE, &limit);
    std::string why;
    const auto changed = registry.Change(
        [](RegistryData& data) {
          data.distributions = {Full()};
          return std::string();
        },
        &why);
    _exit(!changed && changed.error().code() == EFBIG && why.find("registry.json.new") != why.npos ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Text(), before);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/registry.json.new"));
}

// Each adds its own name many times; none is lost.
TEST_F(RegistryTest, ChangesOfManyProcessesAreAllKept) {
  const Registry registry(directory_);
  constexpr int kProcesses = 4, kChanges = 10;
  for (int process = 0; process < kProcesses; ++process) {
    if (fork() != 0) continue;
    std::string why;
    for (int i = 0; i < kChanges; ++i) {
      const auto changed = registry.Change(
          [&](RegistryData& data) {
            Distribution one;
            one.name = "d" + std::to_string(process) + "-" + std::to_string(i);
            one.id = MakeUuid();
            data.distributions.push_back(one);
            return std::string();
          },
          &why);
      if (!changed) _exit(1);
    }
    _exit(0);
  }
  for (int process = 0; process < kProcesses; ++process) {
    int status = -1;
    wait(&status);
    EXPECT_EQ(status, 0);
  }
  const auto data = registry.Read(&why_);
  ASSERT_TRUE(data) << why_;
  EXPECT_EQ(data->distributions.size(), size_t{kProcesses * kChanges});
}

TEST(RegistryNames, IdsAreChecked) {
  EXPECT_TRUE(IsUuid(MakeUuid()));
  EXPECT_NE(MakeUuid(), MakeUuid());
  EXPECT_FALSE(IsUuid(std::string(36, '-')));
  EXPECT_FALSE(IsUuid(""));
  EXPECT_TRUE(IsLayerId(kLayer));
  EXPECT_FALSE(IsLayerId(std::string(64, 'A')));
  EXPECT_FALSE(IsLayerId("../" + std::string(61, 'a')));
}

}  // namespace
}  // namespace usl::manager
