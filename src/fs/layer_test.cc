// VolFs over several layers.
#include <linux/fs.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <ctime>
#include <map>
#include <set>

#include "fs/tree_check.h"
#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

class LayerTest : public ScratchTest {
 protected:
  LayerTest() {
    MakeHostDirectory("lower/d/sub");
    WriteHost(Path("lower/a"), "lower a");
    WriteHost(Path("lower/b"), "lower b");
    WriteHost(Path("lower/d/x"), "lower x");
    WriteHost(Path("lower/d/y"), "lower y");
    WriteHost(Path("lower/d/sub/deep"), "lower deep");
    MakeHostDirectory("upper");
  }

  Ref<VolFs> Open(std::vector<std::string> lowers = {"lower"}, const std::string& upper = "upper") {
    VolFsOptions options;
    if (!upper.empty()) options.upper = LayerOptions{.path = MakeTree(upper)};
    for (const auto& lower : lowers) options.lowers.push_back(LayerOptions{.path = Path(lower)});
    auto fs = VolFs::Open(std::move(options));
    EXPECT_THAT(fs, Succeeds());
    return fs ? *fs : nullptr;
  }
  Ref<vfs::Inode> Get(const Ref<VolFs>& fs, const std::string& path) {
    auto inode = Find(fs, path);
    EXPECT_THAT(inode, Succeeds()) << path;
    return inode ? *inode : nullptr;
  }
  // How many names are in the work directory.
  long InWork(const std::string& upper) {
    return std::distance(std::filesystem::directory_iterator(Path(upper + "/.usl/work")), {});
  }
  bool Exists(const std::string& path) { return ::access(Path(path).c_str(), F_OK) == 0; }
};

TEST_F(LayerTest, ReadingChangesNothing) {
  auto fs = Open();
  EXPECT_EQ(Read(Get(fs, "d/sub/deep")), "lower deep");
  EXPECT_THAT(Names(List(Get(fs, "d"))), UnorderedElementsAre("x", "y", "sub"));
  EXPECT_FALSE(Exists("upper/d"));
  auto read_only = Open({"lower"}, "");
  EXPECT_TRUE(read_only->IsReadOnly());
  EXPECT_THAT(Make(read_only->root(), "n", S_IFREG | 0644), FailsWith(EROFS));
  EXPECT_THAT(At(Get(read_only, "a")).OpenFlags(O_WRONLY), FailsWith(EROFS));
}

TEST_F(LayerTest, WritingCopiesUp) {
  ASSERT_EQ(::chmod(Path("lower/a").c_str(), 04750), 0);
  timespec times[2] = {{1000, 1}, {2000, 2}};
  ASSERT_EQ(::utimensat(AT_FDCWD, Path("lower/d").c_str(), times, 0), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, Path("lower/d/x").c_str(), times, 0), 0);
  bool has_xattrs = ::setxattr(Path("lower/d/x").c_str(), "user.note", "n", 1, 0) == 0;
  auto fs = Open();
  auto file = Get(fs, "d/x");
  uint64_t ino = file->GetAttributes()->ino;
  uint64_t directory_ino = Get(fs, "d")->GetAttributes()->ino;
  auto old = At(file).OpenFlags(O_RDONLY);
  vfs::AttributeChange change;
  change.uid = 1000;
  ASSERT_THAT(file->SetAttributes(change), Succeeds());
  EXPECT_EQ(file->GetAttributes()->mtime.tv_sec, 2000);
  EXPECT_EQ(Get(fs, "d")->GetAttributes()->mtime.tv_sec, 2000) << "a copy-up does not touch the directory's times";
  if (has_xattrs) {
    EXPECT_EQ(*file->GetXattr("user.note"), Bytes("n"));
  }
  ASSERT_THAT(Write(file, "changed", 0), Succeeds());
  EXPECT_EQ(Read(file), "changed");
  EXPECT_EQ(ReadHost(Path("lower/d/x")), "lower x");
  EXPECT_EQ(file->GetAttributes()->ino, ino);
  char buffer[64];
  EXPECT_EQ(::read(old->get(), buffer, sizeof buffer), 7) << "an fd from before keeps the old file";
  struct stat status;
  ASSERT_EQ(::fstat(old->get(), &status), 0);
  EXPECT_EQ(fs->FindByHostFile(old->get(), status), file) << "and belongs to the same inode";

  auto suid = Get(fs, "a");
  ASSERT_THAT(Write(suid, "x", O_APPEND), Succeeds());
  EXPECT_EQ(suid->GetAttributes()->mode, S_IFREG | 04750u);
  EXPECT_EQ(Read(suid), "lower ax");

  std::map<std::string, uint64_t> numbers;
  for (const auto& entry : List(Get(fs, "d"))) numbers[entry.name] = entry.ino;
  EXPECT_EQ(numbers["x"], ino) << "listings show the number that stat shows";
  file = nullptr;
  fs = nullptr;
  fs = Open();
  EXPECT_EQ(Get(fs, "d/x")->GetAttributes()->ino, ino) << "after a restart";
  EXPECT_EQ(Get(fs, "d")->GetAttributes()->ino, directory_ino);
  EXPECT_EQ(Get(fs, "d/x")->GetAttributes()->uid, 1000u);
  EXPECT_EQ(fs->FindByHostFile(old->get(), status), Get(fs, "d/x"));
}

TEST_F(LayerTest, RemovingOneOfSeveralLowerNamesCountsTheRest) {
  ASSERT_EQ(::link(Path("lower/a").c_str(), Path("lower/d/a2").c_str()), 0);
  ASSERT_EQ(::link(Path("lower/a").c_str(), Path("lower/d/a3").c_str()), 0);
  auto fs = Open();
  const uint64_t ino = Get(fs, "a")->GetAttributes()->ino;
  ASSERT_THAT(fs->root()->Unlink("a", *Get(fs, "a")), Succeeds());
  EXPECT_EQ(Get(fs, "d/a2")->GetAttributes()->nlink, 2u);
  // Another file that takes the second name's place.
  ASSERT_THAT(fs->root()->Rename("b", *Get(fs, "b"), *Get(fs, "d"), "a2", Get(fs, "d/a2").get(), 0), Succeeds());
  EXPECT_EQ(Get(fs, "d/a3")->GetAttributes()->nlink, 1u);
  fs = nullptr;
  fs = Open();
  EXPECT_EQ(Get(fs, "d/a3")->GetAttributes()->nlink, 1u) << "after a restart";
  EXPECT_EQ(Get(fs, "d/a3")->GetAttributes()->ino, ino);
  EXPECT_EQ(Read(Get(fs, "d/a3")), "lower a");
  EXPECT_EQ(Read(Get(fs, "d/a2")), "lower b");
}

TEST_F(LayerTest, WhiteoutsAreTheLayersOwn) {
  auto fs = Open();
  EXPECT_THAT(fs->root()->Rename("a", *Get(fs, "a"), *fs->root(), "z", nullptr, RENAME_WHITEOUT), FailsWith(EINVAL));
  EXPECT_EQ(Read(Get(fs, "a")), "lower a");
  fs = nullptr;
  // In a single tree it is a node like any other.
  auto single = Open({}, "single");
  ASSERT_THAT(Make(single->root(), "f", S_IFREG | 0644), Succeeds());
  ASSERT_THAT(single->root()->Rename("f", *Get(single, "f"), *single->root(), "z", nullptr, RENAME_WHITEOUT),
              Succeeds());
  auto left = Get(single, "f");
  EXPECT_EQ(left->GetAttributes()->mode, uint32_t{S_IFCHR});
  EXPECT_EQ(left->GetAttributes()->rdev, 0u);
  EXPECT_EQ(left->GetAttributes()->nlink, 1u);
}

TEST_F(LayerTest, TruncationCopiesNoData) {
  auto fs = Open();
  auto file = Get(fs, "a");
  ASSERT_THAT(Write(file, "new", O_TRUNC), Succeeds());
  EXPECT_EQ(Read(file), "new");
}

TEST_F(LayerTest, RemovedNamesStayRemoved) {
  {
    auto fs = Open();
    ASSERT_THAT(fs->root()->Unlink("a", *Get(fs, "a")), Succeeds());
    EXPECT_THAT(Find(fs, "a"), FailsWith(ENOENT));
    EXPECT_THAT(Names(List(fs->root())), UnorderedElementsAre("b", "d"));
    // Copied up first, then removed.
    ASSERT_THAT(Write(Get(fs, "b"), "up"), Succeeds());
    ASSERT_THAT(fs->root()->Unlink("b", *Get(fs, "b")), Succeeds());
    auto d = Get(fs, "d");
    EXPECT_THAT(fs->root()->RemoveDirectory("d", *d), FailsWith(ENOTEMPTY));
    ASSERT_THAT(d->Unlink("x", *Get(fs, "d/x")), Succeeds());
    ASSERT_THAT(d->Unlink("y", *Get(fs, "d/y")), Succeeds());
    auto sub = Get(fs, "d/sub");
    ASSERT_THAT(sub->Unlink("deep", *Get(fs, "d/sub/deep")), Succeeds());
    ASSERT_THAT(d->RemoveDirectory("sub", *sub), Succeeds());
    ASSERT_THAT(fs->root()->RemoveDirectory("d", *d), Succeeds());
    EXPECT_TRUE(List(fs->root()).empty());
    // A new directory over the removed one is empty.
    auto fresh = Make(fs->root(), "d", S_IFDIR | 0755);
    ASSERT_THAT(fresh, Succeeds());
    EXPECT_TRUE(List(*fresh).empty());
    ASSERT_THAT(Make(fs->root(), "a", S_IFREG | 0644), Succeeds());
  }
  auto fs = Open();
  EXPECT_THAT(Find(fs, "b"), FailsWith(ENOENT));
  EXPECT_THAT(Find(fs, "d/x"), FailsWith(ENOENT));
  EXPECT_TRUE(List(Get(fs, "d")).empty());
  EXPECT_EQ(Read(Get(fs, "a")), "");
  EXPECT_THAT(Names(List(fs->root())), UnorderedElementsAre("a", "d"));
  EXPECT_THAT(Make(fs->root(), "w", S_IFCHR | 0600, 0, 0, 0), FailsWith(EPERM)) << "guests make no whiteouts";
}

TEST_F(LayerTest, SpecialFilesAndLinksCopyUp) {
  std::filesystem::create_symlink("b", Path("lower/link"));
  auto fs = Open();
  auto link = Get(fs, "link");
  vfs::AttributeChange change;
  change.uid = 8;
  ASSERT_THAT(link->SetAttributes(change), Succeeds());
  EXPECT_EQ(*link->ReadLink(context_), "b");
  EXPECT_EQ(link->GetAttributes()->uid, 8u);
  ASSERT_THAT(Make(Get(fs, "d"), "null", S_IFCHR | 0666, 0, 0, makedev(1, 3)), Succeeds());
  for (const auto& entry : List(Get(fs, "d"))) {
    if (entry.name == "null") {
      EXPECT_EQ(entry.type, DT_CHR);
    }
  }
  for (const auto& entry : List(fs->root())) {
    if (entry.name == "link") {
      EXPECT_EQ(entry.type, DT_LNK);
    }
  }
}

TEST_F(LayerTest, HardLinksStayOneFileAcrossACopyUp) {
  ASSERT_EQ(::link(Path("lower/a").c_str(), Path("lower/d/a2").c_str()), 0);
  ASSERT_EQ(::link(Path("lower/a").c_str(), Path("lower/a3").c_str()), 0);
  {
    auto fs = Open();
    auto first = Get(fs, "a");
    ASSERT_THAT(Write(first, "one for all"), Succeeds());
    EXPECT_EQ(Get(fs, "d/a2"), first);
    EXPECT_EQ(first->GetAttributes()->nlink, 3u);
  }
  auto fs = Open();
  auto second = Get(fs, "d/a2");
  EXPECT_EQ(Read(second), "one for all");
  EXPECT_EQ(Get(fs, "a"), second);
  EXPECT_EQ(Get(fs, "a3"), second);
  ASSERT_THAT(fs->root()->Unlink("a", *second), Succeeds());
  EXPECT_EQ(second->GetAttributes()->nlink, 2u);
  ASSERT_THAT(fs->root()->Link("more", *second), Succeeds());
  EXPECT_EQ(second->GetAttributes()->nlink, 3u);
  ASSERT_THAT(Write(Get(fs, "more"), "again"), Succeeds());
  EXPECT_EQ(Read(Get(fs, "a3")), "again");
  ASSERT_THAT(fs->root()->Rename("a3", *second, *Get(fs, "d"), "a4", nullptr, 0), Succeeds());
  EXPECT_EQ(Read(Get(fs, "d/a4")), "again");
  EXPECT_THAT(Find(fs, "a3"), FailsWith(ENOENT));
  for (const char* name : {"d/a2", "d/a4", "more"}) {
    auto inode = Get(fs, name);
    std::filesystem::path path(name);
    auto parent = path.has_parent_path() ? Get(fs, path.parent_path().string()) : fs->root();
    ASSERT_THAT(parent->Unlink(path.filename().string(), *inode), Succeeds()) << name;
  }
  EXPECT_TRUE(std::filesystem::is_empty(Path("upper/.usl/index")));
  EXPECT_EQ(ReadHost(Path("lower/a")), "lower a");
}

TEST_F(LayerTest, HardLinksAreCountedAcrossARestart) {
  ASSERT_EQ(::link(Path("lower/d/y").c_str(), Path("lower/d/y2").c_str()), 0);
  vfs::AttributeChange change;
  change.uid = 77;
  {
    auto fs = Open();
    ASSERT_THAT(Get(fs, "d/y")->SetAttributes(change), Succeeds());
    ASSERT_THAT(fs->root()->Link("third", *Get(fs, "d/y2")), Succeeds());
  }
  {
    auto fs = Open();
    ASSERT_THAT(Get(fs, "d")->Unlink("y", *Get(fs, "d/y")), Succeeds());
    EXPECT_EQ(Get(fs, "third")->GetAttributes()->nlink, 2u);
    EXPECT_EQ(Get(fs, "d/y2")->GetAttributes()->nlink, 2u);
  }
  {
    auto fs = Open();
    ASSERT_THAT(fs->root()->Unlink("third", *Get(fs, "third")), Succeeds());
    EXPECT_EQ(Get(fs, "d/y2")->GetAttributes()->uid, 77u);
    EXPECT_EQ(Get(fs, "d/y2")->GetAttributes()->nlink, 1u);
    ASSERT_THAT(Get(fs, "d")->Unlink("y2", *Get(fs, "d/y2")), Succeeds());
  }
  EXPECT_TRUE(std::filesystem::is_empty(Path("upper/.usl/index")));
}

TEST_F(LayerTest, RenamesOfLowerThings) {
  {
    auto fs = Open();
    auto root = fs->root();
    ASSERT_THAT(root->Rename("a", *Get(fs, "a"), *Get(fs, "d"), "a2", nullptr, 0), Succeeds());
    EXPECT_THAT(Find(fs, "a"), FailsWith(ENOENT));
    ASSERT_THAT(root->Rename("b", *Get(fs, "b"), *Get(fs, "d"), "x", Get(fs, "d/x").get(), 0), Succeeds());
    EXPECT_EQ(Read(Get(fs, "d/x")), "lower b");
    EXPECT_THAT(Find(fs, "b"), FailsWith(ENOENT));
    // A directory of the lower layer, twice.
    ASSERT_THAT(root->Rename("d", *Get(fs, "d"), *root, "e", nullptr, 0), Succeeds());
    EXPECT_EQ(Read(Get(fs, "e/sub/deep")), "lower deep");
    auto sub = Get(fs, "e/sub");
    ASSERT_THAT(Get(fs, "e")->Rename("sub", *sub, *root, "moved", nullptr, 0), Succeeds());
    EXPECT_THAT(Find(fs, "d"), FailsWith(ENOENT));
    EXPECT_THAT(Find(fs, "e/sub"), FailsWith(ENOENT));
  }
  auto fs = Open();
  EXPECT_THAT(Names(List(fs->root())), UnorderedElementsAre("e", "moved"));
  EXPECT_EQ(Read(Get(fs, "moved/deep")), "lower deep");
  EXPECT_EQ(Read(Get(fs, "e/a2")), "lower a");
  EXPECT_EQ(Read(Get(fs, "e/y")), "lower y");
  EXPECT_THAT(Names(List(Get(fs, "e"))), UnorderedElementsAre("a2", "x", "y"));
  // A new directory under the old name has nothing of the lower one.
  ASSERT_THAT(Make(fs->root(), "d", S_IFDIR | 0755), Succeeds());
  EXPECT_TRUE(List(Get(fs, "d")).empty());
  // And a directory moved over a removed one neither.
  auto fresh = *Make(fs->root(), "fresh", S_IFDIR | 0755);
  ASSERT_THAT(fs->root()->RemoveDirectory("d", *Get(fs, "d")), Succeeds());
  ASSERT_THAT(fs->root()->Rename("fresh", *fresh, *fs->root(), "d", nullptr, 0), Succeeds());
  EXPECT_TRUE(List(Get(fs, "d")).empty());
  fs = nullptr;
  fs = Open();
  EXPECT_TRUE(List(Get(fs, "d")).empty());
}

TEST_F(LayerTest, ExchangeOfLowerThings) {
  {
    auto fs = Open();
    ASSERT_THAT(fs->root()->Rename("a", *Get(fs, "a"), *fs->root(), "d", Get(fs, "d").get(), RENAME_EXCHANGE),
                Succeeds());
    EXPECT_EQ(Read(Get(fs, "d")), "lower a");
    EXPECT_EQ(Read(Get(fs, "a/x")), "lower x");
  }
  auto fs = Open();
  EXPECT_EQ(Read(Get(fs, "d")), "lower a");
  EXPECT_EQ(Read(Get(fs, "a/sub/deep")), "lower deep");
}

TEST_F(LayerTest, RenameOntoAnEmptiedDirectory) {
  auto fs = Open();
  auto sub = Get(fs, "d/sub");
  ASSERT_THAT(sub->Unlink("deep", *Get(fs, "d/sub/deep")), Succeeds());
  auto fresh = *Make(fs->root(), "fresh", S_IFDIR | 0700);
  ASSERT_THAT(Make(fresh, "inner", S_IFREG | 0600), Succeeds());
  EXPECT_THAT(fs->root()->Rename("fresh", *fresh, *fs->root(), "d", Get(fs, "d").get(), 0), FailsWith(ENOTEMPTY));
  ASSERT_THAT(fs->root()->Rename("fresh", *fresh, *Get(fs, "d"), "sub", sub.get(), 0), Succeeds());
  EXPECT_THAT(Names(List(Get(fs, "d/sub"))), ElementsAre("inner"));
}

TEST_F(LayerTest, AnUpperBecomesALowerLayer) {
  {
    auto fs = Open();
    ASSERT_THAT(fs->root()->Unlink("a", *Get(fs, "a")), Succeeds());
    ASSERT_THAT(fs->root()->Rename("d", *Get(fs, "d"), *fs->root(), "e", nullptr, 0), Succeeds());
    ASSERT_THAT(Make(fs->root(), "owned", S_IFREG | 0604, 50, 51), Succeeds());
  }
  auto fs = Open({"upper", "lower"}, "second");
  EXPECT_THAT(Names(List(fs->root())), UnorderedElementsAre("b", "e", "owned"));
  EXPECT_EQ(Read(Get(fs, "e/sub/deep")), "lower deep");
  auto owned = Get(fs, "owned");
  uint64_t ino = owned->GetAttributes()->ino;
  ASSERT_THAT(Write(owned, "x"), Succeeds());
  EXPECT_EQ(owned->GetAttributes()->uid, 50u);
  EXPECT_EQ(owned->GetAttributes()->mode, S_IFREG | 0604u);
  EXPECT_EQ(owned->GetAttributes()->ino, ino);
  ASSERT_THAT(Write(Get(fs, "e/sub/deep"), "third"), Succeeds());
  fs = nullptr;
  fs = Open({"upper", "lower"}, "second");
  EXPECT_EQ(Read(Get(fs, "e/sub/deep")), "third");
  EXPECT_EQ(ReadHost(Path("lower/d/sub/deep")), "lower deep");
}

TEST_F(LayerTest, ListingsAreStableWhileTheyAreRead) {
  MakeHostDirectory("lower/many");
  std::set<std::string> lasting;
  for (int i = 0; i < 400; ++i) {
    std::string name = "n" + std::to_string(i);
    WriteHost(Path("lower/many/" + name), "");
    if (i % 2) lasting.insert(name);
  }
  auto fs = Open();
  auto many = Get(fs, "many");
  for (size_t step : {1u, 3u, 50u}) {
    auto fd = At(many).OpenFlags(O_RDONLY | O_DIRECTORY);
    std::map<std::string, int> seen;
    for (int round = 0;; ++round) {
      ListSink sink(step);
      ASSERT_THAT(many->ReadDirectory(fd->get(), 1, sink), Succeeds());
      if (sink.names.empty()) break;
      for (const auto& entry : sink.names) ++seen[entry.name];
      std::string made = "new" + std::to_string(step) + "-" + std::to_string(round);
      ASSERT_THAT(Make(many, made, S_IFREG | 0644), Succeeds());
      std::string gone = "n" + std::to_string(round * 2 % 400);
      if (auto victim = many->Lookup(gone, context_)) {
        ASSERT_THAT(many->Unlink(gone, **victim), Succeeds());
      }
    }
    for (const auto& name : lasting) EXPECT_EQ(seen[name], 1) << name << " with steps of " << step;
    for (const auto& [name, count] : seen) EXPECT_EQ(count, 1) << name;
  }
}

TEST_F(LayerTest, EmptyingADirectoryWhileReadingIt) {
  MakeHostDirectory("lower/many");
  for (int i = 0; i < 1000; ++i) WriteHost(Path("lower/many/n" + std::to_string(i)), "");
  auto fs = Open();
  auto many = Get(fs, "many");
  auto fd = At(many).OpenFlags(O_RDONLY | O_DIRECTORY);
  while (true) {
    ListSink sink(100);
    ASSERT_THAT(many->ReadDirectory(fd->get(), 1, sink), Succeeds());
    if (sink.names.empty()) break;
    for (const auto& entry : sink.names) {
      if (entry.name == "." || entry.name == "..") continue;
      auto victim = many->Lookup(entry.name, context_);
      ASSERT_THAT(victim, Succeeds());
      ASSERT_THAT(many->Unlink(entry.name, **victim), Succeeds());
    }
  }
  EXPECT_THAT(fs->root()->RemoveDirectory("many", *many), Succeeds());
}

TEST_F(LayerTest, ACrashInACopyUpLeavesTheOldFileOrTheCopy) {
  ASSERT_EQ(::link(Path("lower/d/y").c_str(), Path("lower/d/y2").c_str()), 0);
  for (int step = 1;; ++step) {
    bool crashed;
    {
      auto fs = Open();
      auto file = Get(fs, "d/y");
      fs->fail_at_step = step;
      vfs::AttributeChange change;
      change.uid = 77;
      crashed = !file->SetAttributes(change);
      // Twice as long as all steps together: nothing failed any more.
      if (!crashed) {
        EXPECT_GT(step, 3);
      }
      fs->fail_at_step = 0;
    }
    // What the crash left in the work directory goes when the tree is opened again.
    auto fs = Open();
    EXPECT_TRUE(std::filesystem::is_empty(Path("upper/.usl/work"))) << "step " << step;
    auto attributes = Get(fs, "d/y")->GetAttributes();
    ASSERT_THAT(attributes, Succeeds());
    EXPECT_EQ(Read(Get(fs, "d/y")), "lower y") << "step " << step;
    EXPECT_EQ(attributes->uid, crashed ? 0u : 77u);
    EXPECT_EQ(Get(fs, "d/y2")->GetAttributes()->uid, attributes->uid);
    if (!crashed) break;
    ASSERT_LT(step, 20);
  }
}

// Two host steps: the file takes the other's place, and a whiteout takes its own, as a lower file would show there.
TEST_F(LayerTest, ACrashInARenameThatUncoversALowerFileLeavesOneName) {
  for (int step = 1;; ++step) {
    ASSERT_LT(step, 20);
    const std::string upper = "upper" + std::to_string(step);
    bool crashed;
    {
      auto fs = Open({"lower"}, upper);
      ASSERT_THAT(Make(Get(fs, "d"), "fresh", S_IFREG | 0644), Succeeds());
      ASSERT_THAT(Write(Get(fs, "d/y"), "upper y", 0), Succeeds());
      auto d = Get(fs, "d");
      auto source = Get(fs, "d/y"), target = Get(fs, "d/fresh");
      fs->fail_at_step = step;
      crashed = !d->Rename("y", *source, *d, "fresh", &*target, 0);
      EXPECT_EQ(crashed, fs->fail_at_step == 0);
      fs->fail_at_step = 0;
    }
    // The crash may be followed by a check, which leaves what only the kernel can complete.
    std::string why;
    EXPECT_THAT(CheckTree(Path(upper), true, &why), Succeeds()) << why;
    EXPECT_EQ(InWork(upper), crashed ? 1 : 0) << "step " << step;
    auto fs = Open({"lower"}, upper);
    // The file that all whiteouts are names of.
    EXPECT_EQ(InWork(upper), crashed && step == 2 ? 1 : 0) << "step " << step;
    if (crashed && step == 1) {
      EXPECT_EQ(Read(Get(fs, "d/y")), "upper y");
      EXPECT_EQ(Read(Get(fs, "d/fresh")), "");
      continue;
    }
    EXPECT_THAT(Find(fs, "d/y"), FailsWith(ENOENT)) << "step " << step;
    EXPECT_EQ(Read(Get(fs, "d/fresh")), "upper y") << "step " << step;
    if (!crashed) break;
  }
}

TEST_F(LayerTest, AnErrorInARenameThatUncoversALowerFileLeavesBothFiles) {
  auto fs = Open();
  ASSERT_THAT(Make(Get(fs, "d"), "fresh", S_IFREG | 0644), Succeeds());
  ASSERT_THAT(Write(Get(fs, "d/y"), "upper y", 0), Succeeds());
  auto d = Get(fs, "d");
  fs->fail_as_crash = false;
  for (int code : {EIO, ENOSPC, EDQUOT}) {
    fs->fail_at_step = 1;
    fs->fail_errno = code;
    EXPECT_THAT(d->Rename("y", *Get(fs, "d/y"), *d, "fresh", &*Get(fs, "d/fresh"), 0), FailsWith(code));
    EXPECT_EQ(Read(Get(fs, "d/y")), "upper y");
    EXPECT_EQ(Read(Get(fs, "d/fresh")), "");
    EXPECT_EQ(InWork("upper"), 1) << "the file that all whiteouts are names of";
  }
  EXPECT_THAT(d->Rename("y", *Get(fs, "d/y"), *d, "fresh", &*Get(fs, "d/fresh"), 0), Succeeds());
  EXPECT_THAT(Find(fs, "d/y"), FailsWith(ENOENT));
}

// A note leads to nothing but names of the tree, whatever is in it.
TEST_F(LayerTest, NotesThatAreWrongDoNothing) {
  {
    auto fs = Open();
    ASSERT_THAT(Make(Get(fs, "d"), "own", S_IFREG | 0644), Succeeds());
  }
  std::filesystem::create_directories(Path("upper/.usl/work"));
  const auto names = [&] { return std::distance(std::filesystem::directory_iterator(Path("upper/d")), {}); };
  const auto before = names();
  int number = 0;
  for (const char* text : {"d/own", "../outside", "missing/x", "d/..", "/", "d/", ".", "d//x", "d/own/x"}) {
    std::filesystem::create_symlink(text, Path("upper/.usl/work/wt" + std::to_string(++number)));
  }
  WriteHost(Path("upper/.usl/work/wt0"), "d/y");
  auto fs = Open();
  EXPECT_EQ(names(), before);
  EXPECT_FALSE(Exists("outside"));
  EXPECT_EQ(Read(Get(fs, "d/y")), "lower y");
  EXPECT_EQ(InWork("upper"), 0);
}

TEST_F(LayerTest, AnErrorInACopyUpLeavesTheOldFileAndNothingElse) {
  ASSERT_EQ(::link(Path("lower/d/y").c_str(), Path("lower/d/y2").c_str()), 0);
  for (int code : {EIO, ENOSPC, EDQUOT}) {
    for (int step = 1;; ++step) {
      ASSERT_LT(step, 20);
      std::string upper = "upper" + std::to_string(code * 100 + step);
      auto fs = Open({"lower"}, upper);
      auto file = Get(fs, "d/y");
      uint64_t number = file->GetAttributes()->ino;
      fs->fail_at_step = step;
      fs->fail_as_crash = false;
      fs->fail_errno = code;
      vfs::AttributeChange change;
      change.uid = 77;
      auto done = file->SetAttributes(change);
      bool failed = !done;
      if (failed) {
        EXPECT_THAT(done, FailsWith(code));
        EXPECT_EQ(file->GetAttributes()->uid, 0u);
        EXPECT_TRUE(std::filesystem::is_empty(Path(upper + "/.usl/work")));
        EXPECT_FALSE(Exists(upper + "/d/y"));
        EXPECT_EQ(Read(Get(fs, "d/y2")), "lower y");
      }
      // With the disk in order again, by either name.
      fs->fail_at_step = 0;
      ASSERT_THAT(Get(fs, "d/y2")->SetAttributes(change), Succeeds()) << code << " at step " << step;
      ASSERT_THAT(file->SetAttributes(change), Succeeds()) << code << " at step " << step;
      ASSERT_THAT(Write(file, "changed", 0), Succeeds());
      EXPECT_EQ(Read(Get(fs, "d/y2")), "changed") << "still one file";
      EXPECT_EQ(Get(fs, "d/y2")->GetAttributes()->ino, number);
      if (!failed) break;
    }
  }
}

TEST_F(LayerTest, AFullDiskLeavesTheOldFile) {
  std::string large(200'000, 'L');
  WriteHost(Path("lower/large"), large);
  auto fs = Open();
  auto file = Get(fs, "large");
  struct rlimit old, small{100'000, RLIM_INFINITY};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  small.rlim_max = old.rlim_max;
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  auto opened = At(file).OpenFlags(O_WRONLY);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_THAT(opened, FailsWith(EFBIG));
  EXPECT_EQ(file->GetAttributes()->size, large.size());
  EXPECT_EQ(Read(file).substr(0, 4), "LLLL");
  EXPECT_TRUE(std::filesystem::is_empty(Path("upper/.usl/work")));
  EXPECT_THAT(At(file).OpenFlags(O_WRONLY), Succeeds()) << "with room again";
}

TEST_F(LayerTest, HolesStayHoles) {
  UniqueFd sparse(::open(Path("lower/sparse").c_str(), O_RDWR | O_CREAT, 0644));
  ASSERT_EQ(::pwrite(sparse.get(), "x", 1, 50 << 20), 1);
  auto fs = Open();
  auto file = Get(fs, "sparse");
  ASSERT_THAT(At(file).OpenFlags(O_RDWR), Succeeds());
  auto attributes = file->GetAttributes();
  EXPECT_EQ(attributes->size, (50u << 20) + 1);
  EXPECT_LT(attributes->blocks, 1000u);
}

TEST_F(LayerTest, OpaqueOnlyWhereItMustBe) {
  auto fs = Open();
  ASSERT_THAT(Make(Get(fs, "d"), "fresh", S_IFDIR | 0755), Succeeds());
  EXPECT_FALSE(HasRecord("upper/d/fresh"));
}

TEST_F(LayerTest, AnInstanceOfALargeImageCostsNothing) {
  // Flat enough to be made fast: 100 directories of 1,000 names of one file each.
  MakeHostDirectory("image");
  for (int d = 0; d < 100; ++d) {
    std::string directory = MakeHostDirectory("image/d" + std::to_string(d));
    WriteHost(directory + "/f0", "content");
    for (int f = 1; f < 1000; ++f) {
      ASSERT_EQ(::link((directory + "/f0").c_str(), (directory + "/f" + std::to_string(f)).c_str()), 0);
    }
  }
  // Time of the processor, as the machine may be busy with other tests.
  std::clock_t start = std::clock();
  auto fs = Open({"image"}, "instance");
  ASSERT_TRUE(fs);
  EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC / 1000);
  EXPECT_EQ(Read(Get(fs, "d99/f999")), "content");
  EXPECT_EQ(List(Get(fs, "d50")).size(), 1000u);
  EXPECT_LT(fs->inode_count(), 10u);
}

}  // namespace
}  // namespace usl::fs
