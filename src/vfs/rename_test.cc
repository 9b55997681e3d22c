#include <linux/fs.h>

#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

class RenameTest : public VfsFixture {
 protected:
  RenameTest() {
    Directory("/a");
    Directory("/a/sub");
    Directory("/b");
    Directory("/full");
    File("/full/x");
    File("/f");
    File("/g");
  }
  Result<void> Rename(std::string_view from, std::string_view to, unsigned flags = 0) {
    return vfs_->Rename(As(super_), At(from), At(to), flags);
  }
  Result<void> RenameAs(const cred::Credentials& who, std::string_view from, std::string_view to, unsigned flags = 0) {
    return vfs_->Rename(As(who), At(from), At(to), flags);
  }
};

TEST_F(RenameTest, ToANewName) {
  const Path file = PathAt("/f");
  EXPECT_THAT(Rename("/f", "/a/h"), Succeeds());
  EXPECT_THAT(Walk("/f"), FailsWith(ENOENT));
  EXPECT_EQ(PathAt("/a/h"), file) << "the dentry moves";
  EXPECT_EQ(vfs_->PathText(file, root_), "/a/h");
  const Path sub = PathAt("/a/sub");
  EXPECT_THAT(Rename("/a", "/b/a2/"), Succeeds());
  EXPECT_EQ(vfs_->PathText(sub, root_), "/b/a2/sub");
  EXPECT_EQ(WalkText("/b/a2/sub/.."), "/b/a2");
  EXPECT_THAT(Walk("/a/sub"), FailsWith(ENOENT));
}

TEST_F(RenameTest, OverAnother) {
  const Path replaced = PathAt("/g");
  EXPECT_THAT(Rename("/f", "/g"), Succeeds());
  EXPECT_FALSE(replaced.dentry->IsLinked());
  EXPECT_EQ(vfs_->PathText(replaced, root_), "/g (deleted)");
  EXPECT_THAT(Rename("/a", "/g"), FailsWith(ENOTDIR));
  EXPECT_THAT(Rename("/g", "/a"), FailsWith(EISDIR));
  EXPECT_THAT(Rename("/a", "/full"), FailsWith(ENOTEMPTY));
  EXPECT_THAT(Rename("/a", "/b"), Succeeds());
  EXPECT_THAT(Walk("/b/sub"), Succeeds());
}

TEST_F(RenameTest, Refusals) {
  EXPECT_THAT(Rename("/no", "/x"), FailsWith(ENOENT));
  EXPECT_THAT(Rename("/f", "/no/x"), FailsWith(ENOENT));
  EXPECT_THAT(Rename("/f", "/g/x"), FailsWith(ENOTDIR));
  EXPECT_THAT(Rename("/f/", "/x"), FailsWith(ENOTDIR));
  EXPECT_THAT(Rename("/f", "/x/"), FailsWith(ENOTDIR));
  EXPECT_THAT(Rename("/a/.", "/x"), FailsWith(EBUSY));
  EXPECT_THAT(Rename("/a/..", "/x"), FailsWith(EBUSY));
  EXPECT_THAT(Rename("/", "/x"), FailsWith(EBUSY));
  EXPECT_THAT(Rename("/f", "/a/.."), FailsWith(EBUSY));
  EXPECT_THAT(Rename("/f", "/a/.", RENAME_NOREPLACE), FailsWith(EEXIST));
  EXPECT_THAT(Rename("/a", "/a/sub/x"), FailsWith(EINVAL));
  EXPECT_THAT(Rename("/a", "/a/x"), FailsWith(EINVAL));
  EXPECT_THAT(Rename("/a/sub", "/a"), FailsWith(ENOTEMPTY));
  EXPECT_THAT(Rename("/f", "/x", 8), FailsWith(EINVAL));
  EXPECT_THAT(Rename("/f", "/x", RENAME_EXCHANGE | RENAME_NOREPLACE), FailsWith(EINVAL));
  EXPECT_THAT(Rename("/f", "/x", RENAME_EXCHANGE | RENAME_WHITEOUT), FailsWith(EINVAL));
  EXPECT_THAT(Rename("", "/x"), FailsWith(ENOENT));
}

TEST_F(RenameTest, SameInodeIsASuccessThatDoesNothing) {
  ASSERT_THAT(vfs_->Link(As(super_), At("/f"), At("/f2"), 0), Succeeds());
  EXPECT_THAT(Rename("/f", "/f2"), Succeeds());
  EXPECT_THAT(Walk("/f"), Succeeds());
  EXPECT_THAT(Walk("/f2"), Succeeds());
  EXPECT_THAT(Rename("/f", "/f"), Succeeds());
  EXPECT_THAT(Rename("/a", "/a"), Succeeds());
}

TEST_F(RenameTest, NoReplace) {
  EXPECT_THAT(Rename("/f", "/g", RENAME_NOREPLACE), FailsWith(EEXIST));
  EXPECT_THAT(Rename("/f", "/f", RENAME_NOREPLACE), FailsWith(EEXIST));
  EXPECT_THAT(Rename("/f", "/h", RENAME_NOREPLACE), Succeeds());
}

TEST_F(RenameTest, Exchange) {
  const Path f = PathAt("/f"), a = PathAt("/a");
  EXPECT_THAT(Rename("/f", "/a", RENAME_EXCHANGE), Succeeds());
  EXPECT_EQ(PathAt("/a"), f);
  EXPECT_EQ(PathAt("/f"), a);
  EXPECT_EQ(WalkText("/f/sub"), "/f/sub");
  EXPECT_EQ(WalkText("/f/sub/.."), "/f");
  EXPECT_THAT(Rename("/f", "/no", RENAME_EXCHANGE), FailsWith(ENOENT));
  EXPECT_THAT(Rename("/f", "/f/sub", RENAME_EXCHANGE), FailsWith(EINVAL));
  EXPECT_THAT(Rename("/f/sub", "/f", RENAME_EXCHANGE), FailsWith(EINVAL));
  EXPECT_THAT(Rename("/f", "/a/", RENAME_EXCHANGE), FailsWith(ENOTDIR));
  const Path b = PathAt("/b"), x = PathAt("/full/x");
  EXPECT_THAT(Rename("/b", "/full/x", RENAME_EXCHANGE), Succeeds());
  EXPECT_EQ(vfs_->PathText(b, root_), "/full/x");
  EXPECT_EQ(vfs_->PathText(x, root_), "/b");
}

TEST_F(RenameTest, Whiteout) {
  EXPECT_THAT(Rename("/f", "/h", RENAME_WHITEOUT), Succeeds());
  EXPECT_EQ(InodeAt("/f").type(), uint32_t{S_IFCHR});
  EXPECT_TRUE(InodeAt("/h").IsRegular());
}

TEST_F(RenameTest, Permissions) {
  Own("/a", 0777, 0, 0);
  Own("/b", 0777, 0, 0);
  File("/a/x");
  Own("/a/sub", 0755, 0, 0);
  EXPECT_THAT(RenameAs(alice_, "/a/x", "/b/x"), Succeeds());
  EXPECT_THAT(RenameAs(alice_, "/b/x", "/x"), FailsWith(EACCES));
  EXPECT_THAT(RenameAs(alice_, "/f", "/b/f"), FailsWith(EACCES));
  EXPECT_THAT(RenameAs(alice_, "/a/sub", "/b/sub"), FailsWith(EACCES)) << "its .. changes: needs write";
  EXPECT_THAT(RenameAs(alice_, "/a/sub", "/a/sub2"), Succeeds());
  Own("/a/sub2", 0777, 0, 0);
  EXPECT_THAT(RenameAs(alice_, "/a/sub2", "/b/sub"), Succeeds());
}

TEST_F(RenameTest, NegativeEntriesAreReplaced) {
  EXPECT_THAT(Walk("/later"), FailsWith(ENOENT));
  EXPECT_THAT(Rename("/f", "/later"), Succeeds());
  EXPECT_THAT(Walk("/later"), Succeeds());
  EXPECT_THAT(Walk("/f"), FailsWith(ENOENT));
  EXPECT_THAT(Rename("/later", "/f"), Succeeds());
  EXPECT_THAT(Walk("/f"), Succeeds());
  EXPECT_THAT(Walk("/later"), FailsWith(ENOENT));
}

}  // namespace
}  // namespace usl::vfs
