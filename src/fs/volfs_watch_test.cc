// inotify over the trees: a guest's watch is the host's, so the host must do what the guest does.
#include <sys/inotify.h>

#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

class WatchTest : public ScratchTest {
 protected:
  Ref<VolFs> Open(std::vector<std::string> lowers = {}) {
    VolFsOptions options;
    options.upper = LayerOptions{.path = MakeHostDirectory("root")};
    for (const auto& lower : lowers) options.lowers.push_back(LayerOptions{.path = Path(lower)});
    auto fs = VolFs::Open(std::move(options));
    EXPECT_THAT(fs, Succeeds());
    return fs ? *fs : nullptr;
  }
};

// A directory that a guest watches: what is made in it appears under its name at once, and complete after a crash too.
TEST_F(WatchTest, AWatchedDirectoryIsToldOfNewNames) {
  const std::string tree = MakeHostDirectory("root");
  UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  {
    auto fs = Open();
    auto d = *Make(fs->root(), "d", S_IFDIR | 0755);
    ASSERT_THAT(d->PrepareWatch(IN_CREATE), Succeeds());
    ASSERT_GE(::inotify_add_watch(inotify.get(), (tree + "/d").c_str(), IN_CREATE | IN_MOVE | IN_DELETE), 0);
    ASSERT_THAT(Make(d, "f", S_IFREG | 0640, 7, 7), Succeeds());
    ASSERT_THAT(Make(d, "s", S_IFDIR | 02750, 7, 7), Succeeds());
    ASSERT_THAT(Make(d, "l", S_IFLNK | 0777, 7, 7, 0, "t"), Succeeds());
    ASSERT_THAT(Make(d, "s", S_IFDIR | 0750, 8, 8), FailsWith(EEXIST));
    EXPECT_EQ((*Find(fs, "d/s"))->GetAttributes()->mode, S_IFDIR | 02750u);
  }
  alignas(inotify_event) char buffer[4096];
  const ssize_t size = ::read(inotify.get(), buffer, sizeof buffer);
  std::vector<std::string> names;
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
    EXPECT_TRUE(event->mask & IN_CREATE) << event->name << " " << event->mask;
    names.emplace_back(event->name);
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  EXPECT_THAT(names, ::testing::ElementsAre("f", "s", "l"));
  EXPECT_TRUE(std::filesystem::is_empty(tree + "/.usl/work"));

  // A kernel that was killed between the directory and its record.
  AttributeRecord record;
  record.uid = 9;
  record.mode = 02711;
  std::string note;
  for (const std::byte byte : EncodeRecord(record)) note += format("{:02x}", static_cast<unsigned>(byte));
  std::filesystem::create_directory(tree + "/d/half");
  std::filesystem::create_symlink(note + ":d/half", tree + "/.usl/work/mt1");
  std::filesystem::create_symlink(note + ":d/missing", tree + "/.usl/work/mt2");
  std::filesystem::create_symlink(note + ":d/s", tree + "/.usl/work/mt3");
  std::filesystem::create_symlink(note + ":../../etc", tree + "/.usl/work/mt4");
  std::filesystem::create_symlink("zz", tree + "/.usl/work/mt5");
  auto fs = Open();
  EXPECT_EQ((*Find(fs, "d/half"))->GetAttributes()->uid, 9u);
  EXPECT_EQ((*Find(fs, "d/half"))->GetAttributes()->mode, S_IFDIR | 02711u);
  EXPECT_EQ((*Find(fs, "d/s"))->GetAttributes()->uid, 7u) << "complete already";
  EXPECT_TRUE(std::filesystem::is_empty(tree + "/.usl/work"));
}

TEST_F(WatchTest, AMergedDirectoryBecomesOneOfTheUpperTree) {
  MakeHostDirectory("lower/d/sub/inner");
  WriteHost(Path("lower/d/x"), "x");
  WriteHost(Path("lower/d/sub/deep"), "deep");
  WriteHost(Path("lower/d/gone"), "gone");
  {
    auto fs = Open({"lower"});
    auto d = *Find(fs, "d");
    ASSERT_THAT(d->Unlink("gone", **Find(fs, "d/gone")), Succeeds());
    ASSERT_THAT(d->PrepareWatch(IN_DELETE | IN_CREATE), Succeeds());
    EXPECT_THAT(Names(List(d)), ::testing::UnorderedElementsAre("x", "sub"));
    EXPECT_TRUE(std::filesystem::is_regular_file(Path("root/d/x")));
    UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    ASSERT_GE(::inotify_add_watch(inotify.get(), Path("root/d").c_str(), IN_CREATE | IN_MOVE | IN_DELETE), 0);
    ASSERT_THAT(d->Unlink("x", **Find(fs, "d/x")), Succeeds());
    alignas(inotify_event) char buffer[4096];
    ASSERT_GT(::read(inotify.get(), buffer, sizeof buffer), 0);
    const auto* event = reinterpret_cast<const inotify_event*>(buffer);
    EXPECT_EQ(event->mask, uint32_t{IN_DELETE});
    EXPECT_STREQ(event->name, "x");
    EXPECT_EQ(::read(inotify.get(), buffer, sizeof buffer), -1);
    EXPECT_EQ(Read(*Find(fs, "d/sub/deep")), "deep");
  }
  auto fs = Open({"lower"});
  EXPECT_THAT(Names(List(*Find(fs, "d"))), ::testing::ElementsAre("sub"));
  EXPECT_THAT(Names(List(*Find(fs, "d/sub"))), ::testing::UnorderedElementsAre("inner", "deep"));
  EXPECT_EQ(Read(*Find(fs, "d/sub/deep")), "deep");
  EXPECT_THAT(Find(fs, "d/x"), FailsWith(ENOENT));
  EXPECT_THAT(Find(fs, "d/gone"), FailsWith(ENOENT));
  EXPECT_FALSE(std::filesystem::exists(Path("root/d/gone"))) << "no whiteout is needed";
  EXPECT_THAT(Make(*Find(fs, "d"), "gone", S_IFREG | 0644, 3, 3), Succeeds());
}

TEST_F(WatchTest, AWatchedFileOfALowerLayerIsCopiedUpFirst) {
  MakeHostDirectory("lower");
  WriteHost(Path("lower/f"), "lower");
  auto fs = Open({"lower"});
  auto file = *Find(fs, "f");
  ASSERT_THAT(file->PrepareWatch(IN_MODIFY), Succeeds());
  EXPECT_EQ(ReadHost(Path("root/f")), "lower");
  struct stat before, after;
  ASSERT_EQ(::stat(Path("root/f").c_str(), &before), 0);
  ASSERT_THAT(Write(file, "changed"), Succeeds());
  ASSERT_EQ(::stat(Path("root/f").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

// What would have to be copied is too much: the directory stays merged, and works.
TEST_F(WatchTest, ALargeDirectoryStaysMerged) {
  MakeHostDirectory("lower/d");
  WriteHost(Path("lower/d/big"), std::string(70 << 20, 'x'));
  auto fs = Open({"lower"});
  auto d = *Find(fs, "d");
  ASSERT_THAT(d->PrepareWatch(IN_DELETE), Succeeds());
  EXPECT_FALSE(std::filesystem::exists(Path("root/d/big")));
  ASSERT_THAT(d->Unlink("big", **Find(fs, "d/big")), Succeeds());
  EXPECT_THAT(Find(fs, "d/big"), FailsWith(ENOENT));
  ASSERT_THAT(Make(d, "big", S_IFDIR | 0755, 4, 4), Succeeds()) << "over a whiteout";
  EXPECT_EQ((*Find(fs, "d/big"))->GetAttributes()->uid, 4u);
}

}  // namespace
}  // namespace usl::fs
