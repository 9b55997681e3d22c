#include "manager/host_shares.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "manager/path_map.h"
#include "manager/run_options.h"
#include "manager/wine_drives.h"

namespace usl::manager {
namespace {

class SharesTest : public ::testing::Test {
 protected:
  SharesTest() {
    char name[] = "/var/tmp/usl-shares-XXXXXX";
    root_ = ::mkdtemp(name);
    for (const char* directory :
         {"/share/sub/deep", "/other", "/wine/dosdevices", "/wine/drive_c/Program Files", "/Share"}) {
      std::filesystem::create_directories(root_ + directory);
    }
    std::ofstream(root_ + "/share/file") << "file";
    std::ofstream(root_ + "/other/secret") << "secret";
    std::filesystem::create_directory_symlink("../other", root_ + "/share/link");
    std::filesystem::create_symlink("../other/secret", root_ + "/share/filelink");
    std::filesystem::create_directory_symlink("../drive_c", root_ + "/wine/dosdevices/c:");
    std::filesystem::create_directory_symlink(root_ + "/share", root_ + "/wine/dosdevices/d:");
    std::filesystem::create_directory_symlink("/", root_ + "/wine/dosdevices/z:");
    std::filesystem::create_symlink("/dev/sda", root_ + "/wine/dosdevices/e::");
    std::filesystem::create_symlink("/nowhere", root_ + "/wine/dosdevices/f:");
  }
  ~SharesTest() override { std::filesystem::remove_all(root_); }
  // The errno, or 0.
  int Ask(const HostShares& shares, const std::string& source) {
    auto found = shares.Open(source);
    return found ? 0 : found.error().code();
  }
  WineDrives Drives() { return WineDrives(root_ + "/wine"); }
  std::string root_;
};

TEST_F(SharesTest, AllowsWhatLiesBelowAShareAndNothingElse) {
  HostShares shares(Drives());
  ASSERT_TRUE(shares.Allow(root_ + "/share", false));
  for (const char* good : {"/share", "/share/", "//share///sub", "/share/./sub/deep", "/share/file"}) {
    EXPECT_EQ(Ask(shares, root_ + good), 0) << good;
  }
  for (const char* bad : {"", "/", "/other", "/other/secret", "/nothing", "/shar", "/share2", "/sharex/sub", "/Share",
                          "/share/..", "/share/../other", "/share/sub/../../other", "/share/sub/.."}) {
    EXPECT_EQ(Ask(shares, root_ + bad), EPERM) << bad << ": the same whether it exists or not";
  }
  for (const char* bad :
       {"", "share", "./share", "/", "/proc/self/root", "/proc/self/fd/3", "C:", "Z:", "Z:\\etc", "//server/share"}) {
    EXPECT_EQ(Ask(shares, bad), EPERM) << bad;
  }
  EXPECT_EQ(Ask(shares, root_ + "/share/missing"), ENOENT);
  EXPECT_EQ(Ask(shares, root_ + "/share/file/x"), ENOTDIR);
  EXPECT_EQ(Ask(shares, root_ + "/share/link"), ELOOP);
  EXPECT_EQ(Ask(shares, root_ + "/share/link/secret"), ELOOP);
  EXPECT_EQ(Ask(shares, root_ + "/share/filelink"), ELOOP);
  EXPECT_EQ(Ask(shares, root_ + "/share/" + std::string(300, 'x')), ENAMETOOLONG);
  EXPECT_EQ(Ask(shares, root_ + "/share/" + std::string("sub\0/x", 6)), ENOENT) << "up to the NUL at most";
}

TEST_F(SharesTest, TheNearestShareDecidesAboutWriting) {
  HostShares shares(Drives());
  ASSERT_TRUE(shares.Allow(root_, true));
  ASSERT_TRUE(shares.Allow(root_ + "/share/sub", false));
  ASSERT_TRUE(shares.Allow(root_ + "/other/secret", true));
  EXPECT_TRUE(shares.Open(root_ + "/share")->read_only);
  EXPECT_FALSE(shares.Open(root_ + "/share/sub/deep")->read_only);
  EXPECT_EQ(shares.Open(root_ + "/other/secret")->source.single_file, "secret");
  EXPECT_EQ(Ask(shares, root_ + "/other/secret/x"), ENOTDIR);
}

TEST_F(SharesTest, DrivesNameHostPathsAndAllowNothing) {
  HostShares shares(Drives());
  ASSERT_TRUE(shares.Allow(root_ + "/wine/drive_c", false));
  EXPECT_EQ(Ask(shares, "C:"), 0);
  EXPECT_EQ(Ask(shares, "c:\\"), 0);
  EXPECT_EQ(Ask(shares, "C:\\program files"), 0);
  EXPECT_EQ(Ask(shares, "C:/Program Files/"), 0);
  EXPECT_EQ(Ask(shares, "C:\\..\\.."), 0) << "the drive's root is its own parent";
  EXPECT_EQ(Ask(shares, "C:x"), EPERM);
  EXPECT_EQ(Ask(shares, "D:\\sub"), EPERM) << "a drive that is not shared";
  EXPECT_EQ(Ask(shares, "Z:\\"), EPERM);
  EXPECT_EQ(Ask(shares, "Z:" + root_ + "/other"), EPERM);
  EXPECT_EQ(Ask(shares, "Z:" + root_ + "/wine/drive_c"), 0);
  EXPECT_EQ(Ask(shares, "Q:"), EPERM);
}

// A component that is swapped for a symlink while it is walked.
TEST_F(SharesTest, RacesLeadNowhere) {
  HostShares shares(Drives());
  ASSERT_TRUE(shares.Allow(root_ + "/share", false));
  std::ofstream(root_ + "/share/sub/secret") << "inside";
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    const std::string a = root_ + "/share/sub", b = root_ + "/share/link";
    while (!stop) ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
  });
  struct stat outside;
  ASSERT_EQ(::stat((root_ + "/other").c_str(), &outside), 0);
  int opened = 0;
  for (int i = 0; i < 20000; ++i) {
    auto found = shares.Open(root_ + (i % 2 ? "/share/sub" : "/share/sub/secret"));
    if (!found) continue;
    ++opened;
    struct stat status;
    ASSERT_EQ(::fstat(found->source.directory.get(), &status), 0);
    ASSERT_NE(status.st_ino, outside.st_ino);
  }
  stop = true;
  swapper.join();
  EXPECT_GT(opened, 0);
}

TEST_F(SharesTest, WineDrivesTranslateBothWays) {
  const WineDrives drives = Drives();
  EXPECT_EQ(drives.list().size(), 3u);
  EXPECT_EQ(*drives.ToHost("C:\\Program Files\\x.exe"), root_ + "/wine/drive_c/Program Files/x.exe");
  EXPECT_EQ(*drives.ToHost("c:/PROGRAM FILES"), root_ + "/wine/drive_c/Program Files");
  EXPECT_EQ(*drives.ToHost("Z:\\etc"), "/etc");
  EXPECT_EQ(drives.ToHost("Q:\\").error().code(), ENODEV);
  EXPECT_EQ(drives.ToHost("C:x").error().code(), EINVAL);
  EXPECT_EQ(*drives.FromHost(root_ + "/wine/drive_c/a b"), "C:\\a b");
  EXPECT_EQ(*drives.FromHost(root_ + "/share"), "D:\\");
  EXPECT_EQ(*drives.FromHost("/etc/passwd", '/'), "Z:/etc/passwd");
  EXPECT_TRUE(WineDrives(root_ + "/none").list().empty());
}

TEST_F(SharesTest, VolumesAreParsed) {
  Volume volume;
  std::string why;
  ASSERT_TRUE(ParseVolume(root_ + "/share:/s:ro,noatime,uid=5,metadata,case=off", &volume, &why)) << why;
  EXPECT_EQ(volume.guest_path, "/s");
  EXPECT_TRUE(volume.options.read_only && volume.options.metadata);
  EXPECT_EQ(volume.options.uid, 5u);
  EXPECT_EQ(volume.mount_flags, unsigned{MS_NOATIME});
  EXPECT_EQ(volume.alias, "");
  volume = {};
  ASSERT_TRUE(ParseVolume(root_ + "/share/link:/s", &volume, &why));
  EXPECT_EQ(volume.host_path, root_ + "/other");
  EXPECT_EQ(volume.alias, root_ + "/share/link");
  for (const std::string& bad : std::vector<std::string>{root_ + "/share", root_ + "/share:", root_ + "/share:rel",
                                                         ":/x", root_ + "/share:/s:uid=x", root_ + "/share:/s:suid",
                                                         root_ + "/none:/s", std::string("Q:\\:/s")}) {
    EXPECT_FALSE(ParseVolume(bad, &volume, &why)) << bad;
  }
  ::setenv("WINEPREFIX", (root_ + "/wine").c_str(), 1);
  for (const char* text : {"C::/c:ro", "C:\\:/c:ro", "c:/:/c:ro", "C:\\program files\\..:/c:ro"}) {
    volume = {};
    ASSERT_TRUE(ParseVolume(text, &volume, &why)) << text << ": " << why;
    EXPECT_TRUE(volume.options.read_only);
    EXPECT_EQ(volume.guest_path, "/c");
    EXPECT_EQ(volume.host_path, root_ + "/wine/drive_c") << text;
  }
  ::unsetenv("WINEPREFIX");
}

TEST(PathMap, MapsVolumesBothWays) {
  RunOptions options;
  options.rootfs = "/trees/debian";
  options.volumes = {{.host_path = "/home/u/src", .alias = {}, .guest_path = "/src", .options = {}},
                     {.host_path = "/data", .alias = {}, .guest_path = "/src/data", .options = {}}};
  const PathMap map = PathMap::Of(options, "/");
  EXPECT_EQ(*map.ToHost("/src/a"), "/home/u/src/a");
  EXPECT_EQ(*map.ToHost("/src/data/b"), "/data/b");
  EXPECT_EQ(*map.ToHost("/etc/passwd"), "/trees/debian/etc/passwd");
  EXPECT_FALSE(map.ToHost("/tmp/x"));
  EXPECT_EQ(*map.ToGuest("/home/u/src"), "/src");
  EXPECT_EQ(*map.ToGuest("/data/x y"), "/src/data/x y");
  EXPECT_EQ(*map.ToGuest("/trees/debian"), "/");
  EXPECT_EQ(*map.ToGuest("/trees/debian/usr"), "/usr");
  EXPECT_FALSE(map.ToGuest("/home/u/src2"));
  EXPECT_FALSE(map.ToGuest("/home/u/src/data")) << "another volume lies upon it";
  EXPECT_FALSE(map.ToGuest("/trees/debian/proc/x"));
}

TEST(PathMap, ReadsTheMountsOfAGuest) {
  const char* text =
      "20 1 0:20 / / rw - volfs volfs rw\n"
      "30 20 0:30 / /mnt/c rw - drvfs C:\\134 rw,uid=0\n"
      "31 20 0:31 / /s\\040x rw - drvfs /home/u/share rw\n"
      "32 20 0:31 /sub /sub rw - drvfs /home/u/share rw\n"
      "33 20 0:33 / /s\\040x/tmp rw - tmpfs tmpfs rw\n";
  EXPECT_TRUE(PathMap::IsGuest(text));
  EXPECT_FALSE(PathMap::IsGuest("20 1 0:20 / / rw - ext4 /dev/sda rw\n"));
  const PathMap map = PathMap::OfMounts(text);
  EXPECT_EQ(*map.ToGuest("C:\\Users\\x"), "/mnt/c/Users/x");
  EXPECT_EQ(*map.ToGuest("c:/"), "/mnt/c");
  EXPECT_FALSE(map.ToGuest("D:\\"));
  EXPECT_EQ(*map.ToHost("/mnt/c/a/b"), "C:/a/b");
  EXPECT_EQ(*map.ToHost("/s x/f"), "/home/u/share/f");
  EXPECT_EQ(*map.ToHost("/sub/f"), "/home/u/share/sub/f");
  EXPECT_FALSE(map.ToHost("/s x/tmp/f"));
  EXPECT_FALSE(map.ToHost("/etc/passwd"));
}

TEST(PathMap, NormalPathsByTheirText) {
  EXPECT_EQ(NormalPath("/a//b/./c/.."), "/a/b");
  EXPECT_EQ(NormalPath("/../.."), "/");
  EXPECT_EQ(NormalPath("a/../.."), "..");
  EXPECT_EQ(NormalPath(""), ".");
  EXPECT_EQ(NormalPath("a/.."), ".");
}

}  // namespace
}  // namespace usl::manager
