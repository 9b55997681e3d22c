#include "fs/host_view.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "fs/host_accounts.h"
#include "fs/host_view_rules.h"
#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

using ::testing::UnorderedElementsAre;

// A made-up host root; everything in it belongs to whoever runs the test.
class HostViewTest : public ScratchTest {
 protected:
  HostViewTest() {
    for (const char* name : {"host/proc", "host/tmp", "host/run", "host/dev", "host/usr/bin", "host/etc",
                             "host/home/me/.ssh", "host/home/other", "host/var/lib/apt/lists/partial",
                             "host/var/lib/dpkg", "host/var/tmp", "host/var/usl", "host/var/secret", "host/root"}) {
      MakeHostDirectory(name);
    }
    WriteHost(Path("host/home/me/.ssh/id"), "key");
    WriteHost(Path("host/home/other/shared"), "shared");
    WriteHost(Path("host/tmp/private"), "private");
    WriteHost(Path("host/proc/version"), "host's");
    WriteHost(Path("host/usr/bin/tool"), "tool");
    WriteHost(Path("host/etc/passwd"),
              "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000:,:/home/me:/bin/sh\n+nis\nbad line\n");
    WriteHost(Path("host/etc/group"), "root:x:0:\nshadow:x:42:me\n");
    WriteHost(Path("host/etc/shadow"), "root:$6$hash:1::::::\n");
    WriteHost(Path("host/etc/gshadow"), "root:$6$hash::\n");
    WriteHost(Path("host/etc/other"), "other");
    WriteHost(Path("host/var/usl/state"), "state");
    WriteHost(Path("host/var/lib/dpkg/lock"), "");
    WriteHost(Path("host/var/lib/apt/lists/partial/x"), "");
  }

  Ref<VolFs> Open(bool keep = false) {
    HostViewOptions options;
    options.upper_directory = Path("upper");
    options.host_root = Path("host");
    options.home = Path("host/home/me");
    options.hidden = {Path("host/var/usl"), Path("does-not-exist")};
    options.keep = keep;
    auto fs = MakeHostView(std::move(options));
    EXPECT_THAT(fs, Succeeds());
    return fs ? Ref<VolFs>(static_cast<VolFs*>(fs->get())) : nullptr;
  }
  Ref<vfs::Inode> Get(const Ref<VolFs>& fs, const std::string& path) {
    auto inode = Find(fs, path);
    EXPECT_THAT(inode, Succeeds()) << path;
    return inode ? *inode : nullptr;
  }
};

TEST_F(HostViewTest, ShowsTheHostWithItsOwners) {
  auto fs = Open();
  auto tool = Get(fs, "usr/bin/tool");
  EXPECT_EQ(Read(tool), "tool");
  EXPECT_EQ(tool->GetAttributes()->uid, ::geteuid());
  EXPECT_EQ(Read(Get(fs, "etc/other")), "other");
  EXPECT_EQ(Read(Get(fs, "home/other/shared")), "shared");
}

TEST_F(HostViewTest, LeavesSecretsOut) {
  auto fs = Open();
  struct stat status;
  ASSERT_EQ(::stat(Path("upper").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u) << "other host users do not get at the changes";
  for (const char* empty : {"proc", "tmp", "run", "dev", "var/tmp", "home/me"}) {
    EXPECT_TRUE(List(Get(fs, empty)).empty()) << empty;
  }
  EXPECT_THAT(Find(fs, "home/me/.ssh"), FailsWith(ENOENT));
  EXPECT_THAT(Find(fs, "tmp/private"), FailsWith(ENOENT));
  EXPECT_THAT(Find(fs, "var/usl"), FailsWith(ENOENT));
  EXPECT_THAT(Names(List(Get(fs, "var"))), UnorderedElementsAre("lib", "tmp", "secret"));
  // Empty, and the guest's to use.
  ASSERT_THAT(Make(Get(fs, "home/me"), "new", S_IFREG | 0600), Succeeds());
  EXPECT_THAT(Names(List(Get(fs, "home/me"))), UnorderedElementsAre("new"));
  ASSERT_THAT(Make(Get(fs, "tmp"), "private", S_IFREG | 0600), Succeeds());
  EXPECT_EQ(ReadHost(Path("host/tmp/private")), "private");
  EXPECT_FALSE(std::filesystem::exists(Path("host/home/me/new")));
}

TEST_F(HostViewTest, TheHomeIsEmptyByOtherRoutesToo) {
  // A second name of the very directory cannot be made without mounts; a symlink is walked by the guest's rules.
  std::filesystem::create_symlink("/home/me", Path("host/way"));
  auto fs = Open();
  auto way = Get(fs, "way");
  EXPECT_TRUE(way->IsSymlink());
  EXPECT_EQ(*way->ReadLink(context_), "/home/me");
}

TEST_F(HostViewTest, PasswordsAreMadeUp) {
  auto fs = Open();
  auto shadow = Get(fs, "etc/shadow");
  EXPECT_EQ(Read(shadow), "root:*:19700:0:99999:7:::\nme:*:19700:0:99999:7:::\n");
  auto attributes = shadow->GetAttributes();
  EXPECT_EQ(attributes->mode, S_IFREG | 0640u);
  EXPECT_EQ(attributes->uid, 0u);
  EXPECT_EQ(attributes->gid, 42u);
  EXPECT_EQ(Read(Get(fs, "etc/gshadow")), "root:*::\nshadow:*::me\n");
  EXPECT_THAT(Names(List(Get(fs, "etc"))), UnorderedElementsAre("passwd", "group", "other", "shadow", "gshadow"));
}

TEST_F(HostViewTest, WhatIsUnreadableGivesEaccesButAptsStateIsEmpty) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  ASSERT_EQ(::chmod(Path("host/var/secret").c_str(), 0), 0);
  ASSERT_EQ(::chmod(Path("host/var/lib/apt/lists/partial").c_str(), 0), 0);
  ASSERT_EQ(::chmod(Path("host/var/lib/dpkg/lock").c_str(), 0), 0);
  ASSERT_EQ(::chmod(Path("host/root").c_str(), 0), 0);
  ASSERT_EQ(::chmod(Path("host/etc/other").c_str(), 0), 0);
  {
    auto fs = Open();
    EXPECT_EQ(Get(fs, "etc/other")->GetAttributes()->mode, static_cast<uint32_t>(S_IFREG));
    EXPECT_EQ(Read(Get(fs, "etc/other")), "errno 13");
    EXPECT_THAT(At(Get(fs, "etc/other")).OpenFlags(O_WRONLY), FailsWith(EACCES));
    EXPECT_THAT(At(Get(fs, "var/secret")).OpenFlags(O_RDONLY), FailsWith(EACCES));
    EXPECT_THAT(Find(fs, "var/secret/x"), FailsWith(EACCES));
    EXPECT_THAT(Find(fs, "var/lib/dpkg/lock"), FailsWith(ENOENT));
    ASSERT_THAT(Make(Get(fs, "var/lib/dpkg"), "lock", S_IFREG | 0640), Succeeds());
    auto partial = Get(fs, "var/lib/apt/lists/partial");
    EXPECT_THAT(Find(fs, "var/lib/apt/lists/partial/x"), FailsWith(ENOENT));
    ASSERT_THAT(Make(partial, "y", S_IFREG | 0644, 42), Succeeds());
    EXPECT_THAT(Names(List(partial)), UnorderedElementsAre("y"));
    EXPECT_EQ(partial->GetAttributes()->mode, static_cast<uint32_t>(S_IFDIR)) << "the host's mode";
    ASSERT_THAT(Make(Get(fs, "root"), ".profile", S_IFREG | 0644), Succeeds());
    EXPECT_TRUE(std::filesystem::is_empty(Path("upper/tree/.usl/work")));
  }
  for (const char* name : {"host/var/secret", "host/var/lib/apt/lists/partial", "host/root"})
    ::chmod(Path(name).c_str(), 0700);
}

TEST_F(HostViewTest, ChangesStayInTheUpper) {
  {
    auto fs = Open(true);
    ASSERT_THAT(Write(Get(fs, "etc/other"), "changed"), Succeeds());
    ASSERT_THAT(Get(fs, "usr/bin")->Unlink("tool", *Get(fs, "usr/bin/tool")), Succeeds());
    ASSERT_THAT(Write(Get(fs, "etc/shadow"), "the guest's"), Succeeds());
  }
  EXPECT_EQ(ReadHost(Path("host/etc/other")), "other");
  EXPECT_EQ(ReadHost(Path("host/usr/bin/tool")), "tool");
  auto fs = Open(true);
  EXPECT_EQ(Read(Get(fs, "etc/other")), "changed");
  EXPECT_EQ(Read(Get(fs, "etc/shadow")), "the guest's") << "made once";
  EXPECT_THAT(Find(fs, "usr/bin/tool"), FailsWith(ENOENT));
}

TEST_F(HostViewTest, HostSpecialFilesCannotBeOpened) {
  ASSERT_EQ(::mkfifo(Path("host/etc/fifo").c_str(), 0666), 0);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{AF_UNIX, {}};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", Path("host/etc/sock").c_str());
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  auto fs = Open();
  EXPECT_THAT(At(Get(fs, "etc/fifo")).OpenFlags(O_RDONLY | O_NONBLOCK), FailsWith(ENXIO));
  EXPECT_THAT(At(Get(fs, "etc/sock")).OpenFlags(O_RDWR), FailsWith(ENXIO));
  EXPECT_TRUE(Get(fs, "etc/sock")->socket_address().empty());
}

TEST_F(HostViewTest, OnlyItsOwnFilesAreFoundByDescriptor) {
  auto fs = Open();
  auto found = [&](const char* path) {
    UniqueFd fd(::open(Path(path).c_str(), O_RDONLY));
    struct stat status;
    EXPECT_EQ(::fstat(fd.get(), &status), 0);
    return static_cast<bool>(fs->FindByHostFile(fd.get(), status));
  };
  EXPECT_TRUE(found("host/usr/bin/tool"));
  EXPECT_FALSE(found("host/home/me/.ssh/id"));
  EXPECT_FALSE(found("host/etc/shadow"));
  EXPECT_FALSE(found("host/var/usl/state"));
  // A lower file that the guest removed while it was open.
  auto tool = Get(fs, "usr/bin/tool");
  auto fd = At(tool).OpenFlags(O_RDONLY);
  ASSERT_THAT(Get(fs, "usr/bin")->Unlink("tool", *tool), Succeeds());
  tool = nullptr;
  struct stat status;
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  auto removed = fs->FindByHostFile(fd->get(), status);
  ASSERT_TRUE(removed);
  EXPECT_THAT(removed->GetAttributes(), Succeeds());
}

TEST_F(HostViewTest, OfThisMachine) {
  HostViewOptions options;
  options.upper_directory = Path("upper");
  options.home = "/nonexistent";
  auto view = MakeHostView(std::move(options));
  ASSERT_THAT(view, Succeeds());
  Ref<VolFs> fs(static_cast<VolFs*>(view->get()));
  EXPECT_THAT(Names(List(Get(fs, "proc"))), UnorderedElementsAre());
  EXPECT_TRUE(List(Get(fs, "tmp")).empty()) << "and with it this test's own directory";
  auto passwd = Get(fs, "etc/passwd");
  EXPECT_EQ(Read(passwd).substr(0, 5), "root:");
  EXPECT_EQ(passwd->GetAttributes()->uid, 0u);
  EXPECT_GT(List(Get(fs, "usr/bin")).size(), 50u);
  ASSERT_THAT(Write(passwd, "x", O_APPEND), Succeeds());
  EXPECT_EQ(passwd->GetAttributes()->uid, 0u);
  EXPECT_THAT(Make(Get(fs, "usr/bin"), "new-tool", S_IFREG | 0755), Succeeds());
  EXPECT_THAT(fs->root()->Rename("etc", *Get(fs, "etc"), *fs->root(), "etc2", nullptr, 0), Succeeds());
  EXPECT_EQ(Read(Get(fs, "etc2/shadow")).substr(0, 6), "root:*");
}

TEST(HostAccounts, ParsesOnlyProperLines) {
  EXPECT_EQ(MakeShadow(""), "");
  EXPECT_EQ(MakeShadow("::::::\na:b\n-x:::::::\nok:x:1:1::/:/bin/sh"), "ok:*:19700:0:99999:7:::\n");
  EXPECT_EQ(FindGroup("a:x:7:\nb:x:99999999999:\n", "b"), std::nullopt);
  EXPECT_EQ(FindGroup("a:x:7:\n", "a"), 7u);
  EXPECT_EQ(FindHome("me:x:1000:1000::/home/me:/bin/sh\n", 1000), "/home/me");
  EXPECT_EQ(FindHome("me:x:1000:1000::/home/me:/bin/sh\n", 5), std::nullopt);
}

TEST(HostViewRules, SystemDirectoriesAreNoHomes) {
  EXPECT_TRUE(IsSystemDirectory("/"));
  EXPECT_TRUE(IsSystemDirectory("/usr/sbin"));
  EXPECT_TRUE(IsSystemDirectory("/bin/"));
  EXPECT_FALSE(IsSystemDirectory("/home/me"));
  EXPECT_FALSE(IsSystemDirectory("/root"));
  EXPECT_FALSE(IsSystemDirectory("/var/lib/jenkins"));
}

}  // namespace
}  // namespace usl::fs
