#include "vfs/dentry.h"

#include <malloc.h>

#include <chrono>

#include "base/format.h"
#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

class PlainInode : public Inode {
 public:
  PlainInode(FileSystem& file_system, uint32_t type) : Inode(file_system, type) {}
  Result<Attributes> GetAttributes() override { return Attributes(); }
};

class DentryTest : public ::testing::Test {
 protected:
  Ref<Inode> NewFile() { return MakeRef<PlainInode>(*file_system_, uint32_t{S_IFREG}); }
  Ref<Inode> NewDirectory() { return MakeRef<PlainInode>(*file_system_, uint32_t{S_IFDIR}); }

  Ref<TestFileSystem> file_system_ = MakeRef<TestFileSystem>();
  DentryCache cache_;
  Ref<Dentry> root_ = cache_.MakeRoot(NewDirectory());
};

TEST_F(DentryTest, FindInsertReplace) {
  EXPECT_FALSE(cache_.Find(*root_, "a"));
  auto negative = cache_.Insert(root_, "a", nullptr);
  EXPECT_TRUE(cache_.Find(*root_, "a")->IsNegative());
  auto file = NewFile();
  auto positive = cache_.Insert(root_, "a", file);
  EXPECT_EQ(positive, negative) << "the same dentry turns positive";
  EXPECT_EQ(cache_.FindByInode(*file), positive);
  EXPECT_EQ(cache_.Insert(root_, "a", file), positive);
  auto other = cache_.Insert(root_, "a", NewFile());
  EXPECT_NE(other, positive);
  EXPECT_FALSE(positive->IsLinked());
  EXPECT_EQ(cache_.size(), 1u);
}

TEST_F(DentryTest, NamesOfManyLengths) {
  for (size_t length = 1; length <= 255; ++length) cache_.Insert(root_, std::string(length, 'x'), nullptr);
  for (size_t length = 1; length <= 255; ++length) EXPECT_TRUE(cache_.Find(*root_, std::string(length, 'x')));
  EXPECT_FALSE(cache_.Find(*root_, std::string("xx\0x", 4)));
  EXPECT_EQ(cache_.size(), 255u);
}

TEST_F(DentryTest, UnlinkLeavesANegativeEntry) {
  auto dentry = cache_.Insert(root_, "a", NewFile());
  cache_.Unlink(*dentry);
  EXPECT_FALSE(dentry->IsLinked());
  EXPECT_TRUE(cache_.Find(*root_, "a")->IsNegative());
  EXPECT_EQ(dentry->parent(), root_);
  cache_.Unlink(*dentry);
  EXPECT_EQ(cache_.size(), 1u);
}

TEST_F(DentryTest, HardLinksAndAliases) {
  auto file = NewFile();
  auto a = cache_.Insert(root_, "a", file);
  EXPECT_FALSE(cache_.HasAliases(*file));
  auto b = cache_.Insert(root_, "b", file);
  EXPECT_TRUE(cache_.HasAliases(*file));
  cache_.Unlink(*b);
  EXPECT_EQ(cache_.FindByInode(*file), a);
  cache_.Unlink(*a);
  EXPECT_TRUE(cache_.FindByInode(*file)) << "a removed one that is held";
  a = b = nullptr;
  EXPECT_FALSE(cache_.FindByInode(*file));
}

TEST_F(DentryTest, MoveKeepsChildren) {
  auto directory = cache_.Insert(root_, "d", NewDirectory());
  auto child = cache_.Insert(directory, "c", NewFile());
  cache_.Move(*directory, root_, "e", false);
  EXPECT_EQ(cache_.Find(*root_, "e"), directory);
  EXPECT_EQ(cache_.Find(*directory, "c"), child);
  EXPECT_TRUE(cache_.Find(*root_, "d")->IsNegative());
}

TEST_F(DentryTest, ADirectoryHasOneDentry) {
  auto inode = NewDirectory();
  auto first = cache_.Insert(root_, "d", inode);
  auto second = cache_.Insert(root_, "e", inode);
  EXPECT_EQ(first, second);
  EXPECT_EQ(second->name(), "e");
  // Never below itself.
  auto below = cache_.Insert(second, "loop", inode);
  EXPECT_NE(below, second);
}

TEST_F(DentryTest, EvictionIsBoundedAndSparesWhatIsHeld) {
  cache_.SetLimit(100);
  auto held = cache_.Insert(root_, "held", NewFile());
  auto directory = cache_.Insert(root_, "d", NewDirectory());
  auto deep = cache_.Insert(directory, "deep", nullptr);
  directory = nullptr;
  for (int i = 0; i < 10'000; ++i) {
    cache_.Insert(root_, format("n{}", i), NewFile());
    ASSERT_LE(cache_.size(), 100u);
  }
  EXPECT_EQ(cache_.Find(*root_, "held"), held);
  EXPECT_EQ(cache_.Find(*root_, "d")->name(), "d") << "held by its child";
  cache_.SetLimit(3);
  EXPECT_LE(cache_.size(), 3u);
}

TEST_F(DentryTest, RecentlyFoundNamesSurvive) {
  cache_.SetLimit(100);
  cache_.Insert(root_, "hot", nullptr);
  for (int i = 0; i < 1000; ++i) {
    cache_.Insert(root_, format("n{}", i), nullptr);
    ASSERT_TRUE(cache_.Find(*root_, "hot")) << i;
  }
}

TEST_F(DentryTest, AllPinnedDoesNotHang) {
  cache_.SetLimit(10);
  std::vector<Ref<Dentry>> held;
  for (int i = 0; i < 1000; ++i) held.push_back(cache_.Insert(root_, format("n{}", i), nullptr));
  EXPECT_EQ(cache_.size(), 1000u);
  held.clear();
  for (int i = 0; i < 2000; ++i) cache_.Insert(root_, format("m{}", i), nullptr);
  EXPECT_EQ(cache_.size(), 10u);
}

TEST_F(DentryTest, DeepPathsAreReleasedWithoutRecursion) {
  Ref<Dentry> deepest = root_;
  for (int i = 0; i < 200'000; ++i) deepest = MakeRef<Dentry>(deepest, "d", nullptr);
  deepest = nullptr;
}

TEST_F(DentryTest, ForgetFileSystem) {
  auto other = MakeRef<TestFileSystem>();
  auto other_root = cache_.MakeRoot(other->root());
  for (int i = 0; i < 50; ++i) {
    cache_.Insert(root_, format("n{}", i), nullptr);
    auto directory = cache_.Insert(other_root, format("n{}", i), MakeRef<PlainInode>(*other, uint32_t{S_IFDIR}));
    cache_.Insert(directory, "x", nullptr);
  }
  cache_.ForgetFileSystem(*other);
  EXPECT_EQ(cache_.size(), 50u);
  EXPECT_FALSE(cache_.Find(*other_root, "n1"));
}

TEST_F(DentryTest, AHundredThousandAreSmall) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers change the size of allocations";
#endif
  const size_t before = ::mallinfo2().uordblks;
  for (int i = 0; i < 1000; ++i) {
    auto directory = cache_.Insert(root_, format("directory{}", i), NewDirectory());
    for (int j = 0; j < 99; ++j) cache_.Insert(directory, format("library-file-{}.so", j), NewFile());
  }
  ASSERT_EQ(cache_.size(), 100'000u);
  const size_t used = ::mallinfo2().uordblks - before;
  // Leaves 300 bytes for what a file system's own inode adds, below the 60 MB of the promise.
  EXPECT_LT(used, 30'000'000u);
}

}  // namespace
}  // namespace usl::vfs
