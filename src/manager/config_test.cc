#include "manager/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "manager/config_schema.h"
#include "manager/hosts_file.h"

namespace usl::manager {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ConfigFile Stored(const std::map<std::string, std::string>& options) {
  Distribution distribution{.name = "d"};
  distribution.options = options;
  return ReadStoredOptions(distribution);
}

ConfigFile Host(std::string_view text) {
  return ParseTomlConfig(text, "config.toml", ConfigOrigin::kHostFile);
}

std::vector<ConfigFile> Guest(const std::string& wsl_conf, const std::string& usl_conf) {
  return ReadGuestConfig([&](const std::string& path) -> Result<std::string> {
    const std::string& text = path == kWslConfPath ? wsl_conf : usl_conf;
    if (text.empty()) return Fail(ENOENT);
    return text;
  });
}

Config Merge(std::vector<ConfigFile> guest, std::vector<ConfigFile> host) {
  std::ranges::move(host, std::back_inserter(guest));
  return Config::Merge(std::move(guest));
}

TEST(Config, BuiltInValuesAreInNormalForm) {
  for (const ConfigKey& key : ConfigKeys()) {
    std::string allowed;
    const auto value = NormalConfigValue(key, key.builtin, &allowed);
    // A duration's normal form is milliseconds, which read as seconds.
    if (key.type == ConfigType::kDuration) continue;
    ASSERT_TRUE(value) << key.name;
    EXPECT_EQ(*value, key.builtin) << key.name;
  }
  const Config config;
  EXPECT_EQ(config.umask(), 022u);
  EXPECT_EQ(config.idle_milliseconds(), 15000);
  EXPECT_EQ(config.interop(), InteropPolicy::kOff);
  std::vector<std::string> warnings;
  EXPECT_THAT(config.AutomountVolumes(&warnings), IsEmpty());
}

TEST(Config, Precedence) {
  const std::string wsl = "[user]\ndefault=w\n[network]\nhostname=w\n[filesystem]\numask=0001\n";
  const std::string usl = "[user]\ndefault='u'\n[network]\nhostname='u'\n";
  const Config config =
      Merge(Guest(wsl, usl), {Host("[user]\ndefault='h'\n[filesystem]\numask='0002'\n[instance]\nidle_timeout='1m'\n"),
                              Stored({{"user.default", "s"}})});
  EXPECT_EQ(config.Text("user.default"), "s");
  EXPECT_EQ(config.Of("user.default").where, "usl set");
  EXPECT_EQ(config.Text("network.hostname"), "u");
  EXPECT_EQ(config.Of("network.hostname").where, "/etc/usl.conf:4");
  EXPECT_EQ(config.umask(), 01u);
  EXPECT_EQ(config.Of("filesystem.umask").where, "/etc/wsl.conf:6");
  EXPECT_EQ(config.idle_milliseconds(), 60000);
  EXPECT_EQ(config.Of("instance.idle_timeout").origin, ConfigOrigin::kHostFile);
  EXPECT_THAT(config.warnings(), IsEmpty());
}

// The guest is hostile: none of its files opens what the host did not.
TEST(Config, GuestsOpenNothing) {
  const std::string usl =
      "[interop]\npolicy='all'\nallow=['sh']\nsshAgent=true\n[automount]\ndirectories=['/']\n[network]\nproxy=true\n"
      "[instance]\npids=0\nmemory='1T'\n";
  const Config config = Merge(Guest("", usl), {Host("[instance]\npids=100\nmemory='1G'\n")});
  EXPECT_EQ(config.interop(), InteropPolicy::kOff);
  EXPECT_THAT(config.List("interop.allow"), IsEmpty());
  EXPECT_FALSE(config.Flag("interop.sshAgent"));
  EXPECT_FALSE(config.Flag("network.proxy"));
  EXPECT_EQ(config.Text("automount.directories"), "");
  EXPECT_EQ(config.Text("instance.pids"), "100");
  EXPECT_EQ(config.Text("instance.memory"), "1073741824");
  EXPECT_THAT(config.warnings(), SizeIs(7));
  EXPECT_THAT(config.warnings(), ::testing::Each(HasSubstr("/etc/usl.conf:")));
}

TEST(Config, GuestsMayGiveUpWhatTheHostAllows) {
  const std::vector<ConfigFile> host{Host("[interop]\npolicy='list'\nallow=['ls']\n"),
                                     Stored({{"interop.policy", "all"}})};
  EXPECT_EQ(Merge({}, host).interop(), InteropPolicy::kAll);
  EXPECT_EQ(Merge(Guest("", "[interop]\npolicy='list'\n"), host).interop(), InteropPolicy::kList);
  EXPECT_EQ(Merge(Guest("[interop]\nenabled=false\n", ""), host).interop(), InteropPolicy::kOff);
  const Config limited = Merge(Guest("", "[instance]\npids=50\n"), {Host("[instance]\npids=100\n")});
  EXPECT_EQ(limited.Text("instance.pids"), "50");
  EXPECT_THAT(limited.warnings(), IsEmpty());
}

TEST(Config, AutomountPlacesAreTheGuestsAndReadOnlyIsTheHosts) {
  std::vector<std::string> warnings;
  const Config config = Merge(Guest("[automount]\nroot=/:x\noptions=metadata\n", ""),
                              {Host("[automount]\ndirectories=['/usr', '/etc:ro', '/no/such/directory']\n")});
  const auto volumes = config.AutomountVolumes(&warnings);
  ASSERT_THAT(volumes, SizeIs(2));
  EXPECT_EQ(volumes[0].host_path, "/usr");
  EXPECT_EQ(volumes[0].guest_path, "/:x/host/usr");
  EXPECT_TRUE(volumes[0].options.metadata);
  EXPECT_FALSE(volumes[0].options.read_only);
  EXPECT_TRUE(volumes[1].options.read_only);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("/no/such/directory")));

  const Config read_only = Merge(Guest("[automount]\noptions=\"rw,metadata\"\n", ""),
                                 {Host("[automount]\noptions='ro'\ndirectories=['/usr']\n")});
  ASSERT_THAT(read_only.AutomountVolumes(&warnings), SizeIs(1));
  EXPECT_TRUE(read_only.AutomountVolumes(&warnings)[0].options.read_only);

  const Config off = Merge(Guest("[automount]\nenabled=false\n", ""), {Host("[automount]\ndirectories=['/usr']\n")});
  EXPECT_THAT(off.AutomountVolumes(&warnings), IsEmpty());
}

TEST(Config, BootCommandMountsWhatFstabHas) {
  const Config config = Merge(Guest("[boot]\ncommand=service x start\n", ""), {});
  EXPECT_EQ(config.BootCommand("# UNCONFIGURED\n\n"), "service x start");
  EXPECT_EQ(config.BootCommand("# a\n  tmpfs /x tmpfs\n"), "mount -a\nservice x start");
  EXPECT_EQ(Config().BootCommand("a b c"), "mount -a");
  EXPECT_EQ(Merge(Guest("[automount]\nmountFsTab=0\n", ""), {}).BootCommand("a b c"), "");
}

TEST(Config, UnreadableFilesAreTold) {
  const auto files = ReadGuestConfig(
      [](const std::string& path) -> Result<std::string> { return Fail(path == kWslConfPath ? EFBIG : ELOOP); });
  EXPECT_THAT(Config::Merge(files).warnings(),
              ElementsAre(HasSubstr("/etc/wsl.conf: larger than"), HasSubstr("/etc/usl.conf: cannot be read")));
}

TEST(Config, StoredOptionsOfAnotherVersionAreTold) {
  const auto file = Stored({{"new.key", "1"}, {"filesystem.umask", "x"}, {"user.default", "ann"}});
  EXPECT_THAT(file.settings, SizeIs(1));
  EXPECT_THAT(file.warnings, ElementsAre(HasSubstr("filesystem.umask cannot be"), HasSubstr("unknown key new.key")));
}

TEST(HostsFile, GetsTheNameOnce) {
  const std::string plain = "127.0.0.1\tlocalhost\n";
  const std::string named = HostsWithName(plain, "box", true);
  EXPECT_EQ(named, "127.0.0.1\tlocalhost\n127.0.1.1\tbox\t# usl\n");
  EXPECT_EQ(HostsWithName(named, "box", true), named);
  EXPECT_EQ(HostsWithName(named, "other", true), "127.0.0.1\tlocalhost\n127.0.1.1\tother\t# usl\n");
  EXPECT_EQ(HostsWithName("10.0.0.1 a box b\n", "box", true), "10.0.0.1 a box b\n");
  EXPECT_EQ(HostsWithName("10.0.0.1 boxer # box", "box", false), "10.0.0.1 boxer # box\n127.0.1.1\tbox\n");
}

}  // namespace
}  // namespace usl::manager
