#include "manager/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "manager/config_schema.h"

namespace usl::manager {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string ValueOf(const ConfigFile& file, std::string_view key) {
  for (const ConfigSetting& setting : file.settings) {
    if (setting.key == key) return setting.value;
  }
  return "(none)";
}

ConfigFile Wsl(std::string_view text) {
  return ParseWslConf(text, "/etc/wsl.conf");
}

ConfigFile Toml(std::string_view text) {
  return ParseTomlConfig(text, "/etc/usl.conf", ConfigOrigin::kUslConf);
}

TEST(WslConf, SectionsKeysAndCommentsInAnyCase) {
  const auto file = Wsl("# first\n[User]  # who\nDEFAULT = ann # the user\n\n[network]\r\nhostName=box\r\n");
  EXPECT_THAT(file.warnings, IsEmpty());
  EXPECT_EQ(ValueOf(file, "user.default"), "ann");
  EXPECT_EQ(ValueOf(file, "network.hostname"), "box");
  EXPECT_EQ(file.settings.front().where, "/etc/wsl.conf:3");
}

TEST(WslConf, QuotesEscapesAndContinuedLines) {
  const auto file =
      Wsl("[boot]\n"
          "command = \"echo \\\"a # b\\\"\" \\\n   and\\tmore  \n"
          "[user]\ndefault = \"ann\"\n");
  EXPECT_THAT(file.warnings, IsEmpty());
  EXPECT_EQ(ValueOf(file, "boot.command"), "echo \"a # b\"    and\tmore");
  EXPECT_EQ(ValueOf(file, "user.default"), "ann");
}

TEST(WslConf, TheFirstOfTwoCounts) {
  const auto file = Wsl("[user]\ndefault=ann\ndefault=bob\n");
  EXPECT_EQ(ValueOf(file, "user.default"), "ann");
  EXPECT_THAT(file.warnings, ElementsAre("/etc/wsl.conf:3: user.default is given a second time (/etc/wsl.conf:2 "
                                         "counts)"));
}

TEST(WslConf, WrongLinesAreToldAndTheOthersCount) {
  const auto file =
      Wsl("=x\n[user\n[user] x\nnonsense\n[user]\ndefault = \"ann\n[network]\ngenerateHosts = maybe\nhostname = "
          "b\\x\n[nosuch]\nkey=1\n[network]\nhostname=box\n");
  EXPECT_EQ(ValueOf(file, "network.hostname"), "box");
  EXPECT_EQ(ValueOf(file, "user.default"), "(none)");
  EXPECT_THAT(
      file.warnings,
      ElementsAre("/etc/wsl.conf:1: a key starts with a letter", "/etc/wsl.conf:2: \"]\" is missing",
                  "/etc/wsl.conf:3: there is something behind \"]\"",
                  "/etc/wsl.conf:4: \"=\" is missing behind nonsense", "/etc/wsl.conf:6: the closing '\"' is missing",
                  "/etc/wsl.conf:8: network.generateHosts cannot be \"maybe\": true or false",
                  "/etc/wsl.conf:9: \"\\x\" is no escape", "/etc/wsl.conf:11: unknown key nosuch.key"));
}

TEST(WslConf, WhatHasNoMeaningHereIsAccepted) {
  const auto file = Wsl("[boot]\nsystemd=true\n[gpu]\nenabled=false\n[interop]\nappendWindowsPath=false\n");
  EXPECT_THAT(file.warnings, IsEmpty());
  EXPECT_EQ(ValueOf(file, "boot.systemd"), "true");
  EXPECT_EQ(ValueOf(file, "interop.appendHostPath"), "false");
}

TEST(WslConf, GarbageGivesWarningsAndNothingElse) {
  std::mt19937 random(7);
  const std::string letters("[]=\"\\#\r\n ab.\0\xff", 16);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t i = random() % 200; i > 0; --i) text += letters[random() % letters.size()];
    const auto file = Wsl(text);
    EXPECT_THAT(file.settings, IsEmpty());
    EXPECT_LE(file.warnings.size(), 21u);
    for (const std::string& warning : file.warnings) EXPECT_EQ(warning.find_first_of("\n\r"), warning.npos);
  }
  EXPECT_THAT(Wsl(std::string(200000, '\\')).warnings, SizeIs(1));
  EXPECT_THAT(Wsl(std::string(1000, '\n') + "[user]\ndefault=a").settings, SizeIs(1));
}

TEST(UslConf, TypesBecomeTheSameTexts) {
  const auto file = Toml(
      "[user]\ndefault = 'ann'\n[network]\ngenerateHosts = false\n[instance]\nidle_timeout = 30\npids = 500\n"
      "memory = '2G'\n[services]\nenabled = ['ssh', 'cron']\n[filesystem]\numask = '027'\n");
  EXPECT_THAT(file.warnings, IsEmpty());
  EXPECT_EQ(ValueOf(file, "user.default"), "ann");
  EXPECT_EQ(ValueOf(file, "network.generateHosts"), "false");
  EXPECT_EQ(ValueOf(file, "instance.idle_timeout"), "30000");
  EXPECT_EQ(ValueOf(file, "instance.pids"), "500");
  EXPECT_EQ(ValueOf(file, "instance.memory"), "2147483648");
  EXPECT_EQ(ValueOf(file, "services.enabled"), "ssh,cron");
  EXPECT_EQ(ValueOf(file, "filesystem.umask"), "0027");
  EXPECT_EQ(file.settings.front().where.substr(0, 14), "/etc/usl.conf:");
}

TEST(UslConf, ServicesAreChecked) {
  const auto file = Toml(
      "[[service]]\nname = 'web'\ncommand = 'httpd -f'\nuser = 'www'\nrestart = 'always'\n"
      "[[service]]\nname = '../x'\ncommand = 'y'\n"
      "[[service]]\nname = 'empty'\n"
      "[[service]]\nname = 'web'\ncommand = 'z'\n"
      "[[service]]\nname = 'odd'\ncommand = 'z'\nrestart = 'sometimes'\nport = 3\n");
  ASSERT_THAT(file.services, SizeIs(2));
  EXPECT_EQ(file.services[0].command, "httpd -f");
  EXPECT_EQ(file.services[0].user, "www");
  EXPECT_EQ(file.services[0].restart, ServiceRestart::kAlways);
  EXPECT_EQ(file.services[1].restart, ServiceRestart::kNever);
  EXPECT_THAT(file.warnings, SizeIs(5));
}

TEST(UslConf, WrongKindsAndUnknownKeysAreToldWithTheirLines) {
  const auto file = Toml("top = 1\n[user]\ndefault = 1.5\n[filesystem]\numask = 22\n[x]\ny = {}\n");
  EXPECT_THAT(file.settings, IsEmpty());
  EXPECT_THAT(file.warnings, SizeIs(4));
  EXPECT_THAT(file.warnings, ::testing::Contains("/etc/usl.conf:1: top stands in no section"));
  EXPECT_THAT(file.warnings,
              ::testing::Contains(HasSubstr("/etc/usl.conf:5: filesystem.umask has a value of a wrong")));
  EXPECT_THAT(file.warnings, ::testing::Contains("/etc/usl.conf:7: unknown key x.y"));
}

TEST(UslConf, NoTomlIsOneWarning) {
  for (const std::string& text : {std::string("[user\n"), std::string("\xff\xfe"), std::string("a = 'b\n"),
                                  "a = " + std::string(50000, '['), "[" + std::string(50000, 'a')}) {
    const auto file = Toml(text);
    EXPECT_THAT(file.settings, IsEmpty());
    ASSERT_THAT(file.warnings, SizeIs(1));
    EXPECT_THAT(file.warnings[0], HasSubstr("this is no TOML"));
  }
}

TEST(ConfigValues, AreNormalisedOrRefused) {
  const auto normal = [](std::string_view key, std::string_view text) {
    std::string allowed;
    const auto value = NormalConfigValue(*FindConfigKey(key), text, &allowed);
    return value ? *value : "refused: " + std::string(allowed.empty() ? "no reason" : "");
  };
  EXPECT_EQ(normal("instance.idle_timeout", "0"), "0");
  EXPECT_EQ(normal("instance.idle_timeout", "2m"), "120000");
  EXPECT_EQ(normal("instance.idle_timeout", "250ms"), "250");
  EXPECT_EQ(normal("instance.idle_timeout", "Never"), "never");
  EXPECT_EQ(normal("instance.idle_timeout", "-1"), "refused: ");
  EXPECT_EQ(normal("instance.idle_timeout", "99999999999999999999"), "refused: ");
  EXPECT_EQ(normal("instance.idle_timeout", "3000000"), "refused: ");
  EXPECT_EQ(normal("instance.memory", "1.5G"), "refused: ");
  EXPECT_EQ(normal("instance.memory", "4 GB"), "4294967296");
  EXPECT_EQ(normal("filesystem.umask", "22"), "0022");
  EXPECT_EQ(normal("filesystem.umask", "0888"), "refused: ");
  EXPECT_EQ(normal("filesystem.umask", "1777"), "refused: ");
  EXPECT_EQ(normal("network.hostname", "a b"), "refused: ");
  EXPECT_EQ(normal("user.default", "-root"), "refused: ");
  EXPECT_EQ(normal("user.default", "a\nb"), "refused: ");
  EXPECT_EQ(normal("automount.root", "/mnt/../x/"), "/x");
  EXPECT_EQ(normal("automount.root", "mnt"), "refused: ");
  EXPECT_EQ(normal("automount.directories", "/a/, /b:ro"), "/a,/b:ro");
  EXPECT_EQ(normal("automount.directories", "a"), "refused: ");
  EXPECT_EQ(normal("automount.options", "metadata,umask=22"), "metadata,umask=22");
  EXPECT_EQ(normal("automount.options", "suid,evil"), "refused: ");
  EXPECT_EQ(normal("interop.policy", "ALL"), "all");
  EXPECT_EQ(normal("interop.policy", "yes"), "refused: ");
  EXPECT_EQ(normal("services.enabled", "ssh, ../x"), "refused: ");
}

}  // namespace
}  // namespace usl::manager
