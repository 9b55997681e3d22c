#include "fs/tmpfs.h"

#include <linux/magic.h>

#include "fs/host_remove.h"
#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

class TmpFsTest : public ScratchTest {
 protected:
  Ref<VolFs> Open(TmpFsOptions options = {}) {
    options.host_directory = scratch_;
    auto fs = MakeTmpFs(options);
    EXPECT_THAT(fs, Succeeds());
    return fs ? Ref<VolFs>(static_cast<VolFs*>(fs->get())) : nullptr;
  }
};

TEST_F(TmpFsTest, HasEverythingAndLeavesNothing) {
  {
    auto fs = Open({.size = 1 << 20, .mode = 01770, .uid = 5, .gid = 6});
    EXPECT_EQ(fs->type_name(), "tmpfs");
    auto root = fs->root()->GetAttributes();
    EXPECT_EQ(root->mode, S_IFDIR | 01770u);
    EXPECT_EQ(root->uid, 5u);
    for (const auto& directory : std::filesystem::directory_iterator(scratch_)) {
      EXPECT_EQ(directory.status().permissions(), std::filesystem::perms::owner_all) << "closed to other host users";
    }
    auto file = *Make(fs->root(), "f", S_IFREG | 04755, 10, 20);
    EXPECT_THAT(file->SetXattr("user.x", Bytes("1"), 0), Succeeds());
    EXPECT_THAT(file->SetXattr("user.usl", Bytes("2"), 0), Succeeds());
    EXPECT_THAT(*file->ListXattr(), ::testing::UnorderedElementsAre("user.x", "user.usl"));
    uint64_t ino = file->GetAttributes()->ino;
    file = *Find(fs, "f");
    EXPECT_EQ(file->GetAttributes()->uid, 10u);
    EXPECT_EQ(file->GetAttributes()->mode, S_IFREG | 04755u);
    ASSERT_THAT(Make(fs->root(), "link", S_IFLNK | 0777, 3, 3, 0, "f"), Succeeds());
    EXPECT_EQ(*(*Find(fs, "link"))->ReadLink(context_), "f");
    auto fd = At(file).OpenFlags(O_RDWR);
    ASSERT_THAT(fs->root()->Unlink("f", *file), Succeeds());
    file = nullptr;
    struct stat status;
    ASSERT_EQ(::fstat(fd->get(), &status), 0);
    auto removed = fs->FindByHostFile(fd->get(), status);
    ASSERT_TRUE(removed);
    EXPECT_EQ(removed->GetAttributes()->uid, 10u) << "the record of a removed and open file";
    EXPECT_EQ(removed->GetAttributes()->ino, ino);
    auto statfs = fs->StatFs();
    EXPECT_EQ(statfs->f_blocks, 256u);
    EXPECT_EQ(statfs->f_type, TMPFS_MAGIC);
  }
  EXPECT_TRUE(std::filesystem::is_empty(scratch_));
}

TEST_F(TmpFsTest, RecordsDoNotPassToFilesThatReuseANumber) {
  auto fs = Open();
  for (int i = 0; i < 50; ++i) {
    auto owned = *Make(fs->root(), "owned", S_IFREG | 0600, 99, 99);
    ASSERT_THAT(fs->root()->Unlink("owned", *owned), Succeeds());
    auto plain = *Make(fs->root(), "plain", S_IFREG | 0600);
    ASSERT_EQ((*Find(fs, "plain"))->GetAttributes()->uid, 0u);
    ASSERT_THAT(fs->root()->Unlink("plain", *plain), Succeeds());
  }
}

TEST_F(TmpFsTest, LeftoversOfADeadKernelGo) {
  MakeHostDirectory("usl-tmpfs-999999999-dead/inner");
  MakeHostDirectory("usl-tmpfs-1-alive");
  auto fs = Open();
  EXPECT_FALSE(std::filesystem::exists(Path("usl-tmpfs-999999999-dead")));
  EXPECT_TRUE(std::filesystem::exists(Path("usl-tmpfs-1-alive")));
}

TEST_F(TmpFsTest, DeepTreesAreRemoved) {
  UniqueFd at(::open(MakeHostDirectory("deep").c_str(), O_PATH | O_DIRECTORY));
  for (int depth = 0; depth < 3000; ++depth) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0700), 0);
    ASSERT_EQ(::mknodat(at.get(), "f", S_IFREG | 0600, 0), 0);
    at = UniqueFd(::openat(at.get(), "d", O_PATH | O_DIRECTORY));
  }
  std::filesystem::create_symlink("/etc", Path("deep/link"));
  UniqueFd parent(::open(scratch_.c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(RemoveHostTree(parent.get(), "deep"), Succeeds());
  EXPECT_FALSE(std::filesystem::exists(Path("deep")));
  EXPECT_TRUE(std::filesystem::exists("/etc/passwd"));
}

}  // namespace
}  // namespace usl::fs
