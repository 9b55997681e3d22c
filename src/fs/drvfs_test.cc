#include "fs/drvfs.h"

#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

class DrvFsTest : public ScratchTest {
 protected:
  DrvFsTest() { MakeHostDirectory("share"); }
  Ref<VolFs> Open(DrvFsOptions options = {}, const std::string& path = "share") {
    options.host_path = Path(path);
    auto fs = MakeDrvFs(options);
    EXPECT_THAT(fs, Succeeds());
    return fs ? Ref<VolFs>(static_cast<VolFs*>(fs->get())) : nullptr;
  }
  Result<Ref<vfs::Inode>> Look(const Ref<VolFs>& fs, const std::string& name) {
    return fs->root()->Lookup(name, context_);
  }
};

TEST_F(DrvFsTest, TheUsersFilesBelongToTheMappedOwner) {
  WriteHost(Path("share/f"), "x");
  ASSERT_EQ(::chmod(Path("share/f").c_str(), 06755), 0);
  auto fs = Open({.uid = 1000, .gid = 1001, .umask = 022, .fmask = 0111, .dmask = 0007});
  auto file = (*Look(fs, "f"))->GetAttributes();
  EXPECT_EQ(file->uid, 1000u);
  EXPECT_EQ(file->gid, 1001u);
  EXPECT_EQ(file->mode, S_IFREG | 0644u) << "masked, and never set-id";
  EXPECT_FALSE(fs->root()->CacheableNames());
  auto made = Make(fs->root(), "new", S_IFREG | 04755, 5, 5);
  ASSERT_THAT(made, Succeeds());
  struct stat status;
  ASSERT_EQ(::stat(Path("share/new").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 06000, 0u) << "a guest makes no set-id program of the host user";
  EXPECT_EQ((*made)->GetAttributes()->uid, 1000u);
  vfs::AttributeChange change;
  change.mode = 04700;
  EXPECT_THAT((*made)->SetAttributes(change), Succeeds());
  ASSERT_EQ(::stat(Path("share/new").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  change = {};
  change.uid = 0;
  EXPECT_THAT((*made)->SetAttributes(change), FailsWith(EPERM));
  EXPECT_THAT(Make(fs->root(), "dev", S_IFCHR | 0600, 0, 0, makedev(1, 3)), FailsWith(EPERM));
  EXPECT_FALSE(std::filesystem::exists(Path("share/.usl")));
}

TEST_F(DrvFsTest, ModesAreTheHostsAndTheGuestsRootMayWriteAllTheSame) {
  auto fs = Open();
  auto object = *Make(fs->root(), "object", S_IFREG | 0444);
  EXPECT_THAT(Write(object, "data"), Succeeds());
  struct stat status;
  ASSERT_EQ(::stat(Path("share/object").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0444u);
  EXPECT_EQ(ReadHost(Path("share/object")), "data");
}

TEST_F(DrvFsTest, HostChangesAreSeenAtOnce) {
  auto fs = Open();
  EXPECT_THAT(Look(fs, "f"), FailsWith(ENOENT));
  WriteHost(Path("share/f"), "one");
  auto file = *Look(fs, "f");
  EXPECT_EQ(Read(file), "one");
  ASSERT_EQ(::chmod(Path("share/f").c_str(), 0600), 0);
  EXPECT_EQ(file->GetPermissions()->mode, S_IFREG | 0600u);
  std::filesystem::rename(Path("share/f"), Path("share/g"));
  EXPECT_THAT(Look(fs, "f"), FailsWith(ENOENT));
  EXPECT_EQ(Read(*Look(fs, "g")), "one");
  // Replaced by another file, a directory, and moved directories.
  WriteHost(Path("share/h"), "two");
  std::filesystem::rename(Path("share/h"), Path("share/g"));
  EXPECT_EQ(Read(*Look(fs, "g")), "two");
  std::filesystem::remove(Path("share/g"));
  MakeHostDirectory("share/g/inner");
  WriteHost(Path("share/g/inner/deep"), "deep");
  EXPECT_EQ(Read(*Find(fs, "g/inner/deep")), "deep");
  std::filesystem::rename(Path("share/g"), Path("share/k"));
  EXPECT_EQ(Read(*Find(fs, "k/inner/deep")), "deep");
}

TEST_F(DrvFsTest, SymlinksLeadNowhereOnTheHost) {
  WriteHost(Path("secret"), "secret");
  MakeHostDirectory("outside/dir");
  WriteHost(Path("outside/dir/f"), "outside");
  MakeHostDirectory("share/dir");
  WriteHost(Path("share/dir/f"), "inside");
  std::filesystem::create_symlink("../secret", Path("share/link"));
  std::filesystem::create_symlink(Path("outside/dir"), Path("share/dirlink"));
  auto fs = Open();
  auto link = *Look(fs, "link");
  EXPECT_TRUE(link->IsSymlink());
  EXPECT_EQ(*link->ReadLink(context_), "../secret");
  EXPECT_THAT(At(link).OpenFlags(O_RDONLY), FailsWith(ELOOP));
  EXPECT_THAT((*Look(fs, "dirlink"))->Lookup("f", context_), FailsWith(ENOTDIR));
  // The race: what was a directory or a file becomes a symlink between look-up and use.
  auto directory = *Look(fs, "dir");
  auto file = *Find(fs, "dir/f");
  auto uncached = Open();
  auto second = *Look(uncached, "dir");
  std::filesystem::rename(Path("share/dir"), Path("share/was"));
  std::filesystem::create_symlink(Path("outside/dir"), Path("share/dir"));
  EXPECT_THAT(second->Lookup("f", context_), ::testing::Not(Succeeds()));
  EXPECT_THAT(Make(second, "new", S_IFREG | 0644), ::testing::Not(Succeeds()));
  EXPECT_FALSE(std::filesystem::exists(Path("outside/dir/new")));
  std::filesystem::remove(Path("share/was/f"));
  std::filesystem::create_symlink(Path("secret"), Path("share/was/f"));
  EXPECT_THAT(At(file).OpenFlags(O_RDONLY), ::testing::Not(Succeeds()));
  EXPECT_THAT(At(file).OpenFlags(O_WRONLY | O_TRUNC), ::testing::Not(Succeeds()));
  vfs::AttributeChange change;
  change.mode = 0777;
  EXPECT_THAT(file->SetAttributes(change), ::testing::Not(Succeeds()));
  EXPECT_EQ(ReadHost(Path("secret")), "secret");
  EXPECT_EQ(ReadHost(Path("outside/dir/f")), "outside");
}

TEST_F(DrvFsTest, AHostSpecialFileIsNotOpened) {
  ASSERT_EQ(::mkfifo(Path("share/fifo").c_str(), 0600), 0);
  auto fs = Open();
  EXPECT_THAT(At(*Look(fs, "fifo")).OpenFlags(O_RDONLY | O_NONBLOCK), FailsWith(ENXIO));
}

TEST_F(DrvFsTest, MetadataIsKeptInTheRecord) {
  {
    auto fs = Open({.uid = 1000, .gid = 1000, .metadata = true});
    auto file = *Make(fs->root(), "f", S_IFREG | 04711, 7, 8);
    ASSERT_THAT(Make(fs->root(), "null", S_IFCHR | 0666, 0, 0, makedev(1, 3)), Succeeds());
    EXPECT_EQ(file->GetAttributes()->uid, 7u);
    ASSERT_THAT(Make(fs->root(), "link", S_IFLNK | 0777, 7, 7, 0, "f"), Succeeds());
    EXPECT_TRUE(std::filesystem::is_symlink(Path("share/link"))) << "for the host too";
    EXPECT_FALSE(std::filesystem::exists(Path("share/.usl")));
  }
  WriteHost(Path("share/plain"), "");
  auto fs = Open({.uid = 1000, .gid = 1000, .metadata = true});
  EXPECT_EQ((*Look(fs, "f"))->GetAttributes()->uid, 7u);
  EXPECT_EQ((*Look(fs, "f"))->GetAttributes()->mode, S_IFREG | 04711u);
  EXPECT_EQ((*Look(fs, "null"))->GetAttributes()->rdev, makedev(1, 3));
  EXPECT_EQ((*Look(fs, "plain"))->GetAttributes()->uid, 1000u);
  vfs::AttributeChange change;
  change.uid = 0;
  ASSERT_THAT((*Look(fs, "plain"))->SetAttributes(change), Succeeds());
  EXPECT_EQ((*Look(fs, "plain"))->GetAttributes()->uid, 0u);
}

TEST_F(DrvFsTest, ReadOnly) {
  WriteHost(Path("share/f"), "x");
  auto fs = Open({.read_only = true});
  EXPECT_TRUE(fs->IsReadOnly());
  EXPECT_THAT(At(*Look(fs, "f")).OpenFlags(O_WRONLY), FailsWith(EROFS));
  EXPECT_THAT(Make(fs->root(), "n", S_IFREG | 0644), FailsWith(EROFS));
  EXPECT_THAT(fs->root()->Unlink("f", **Look(fs, "f")), FailsWith(EROFS));
  EXPECT_EQ(Read(*Look(fs, "f")), "x");
}

TEST_F(DrvFsTest, AMountOfOneFile) {
  WriteHost(Path("share/f"), "single");
  auto fs = Open({}, "share/f");
  EXPECT_TRUE(fs->root()->IsRegular());
  EXPECT_EQ(Read(fs->root()), "single");
  ASSERT_THAT(Write(fs->root(), "new"), Succeeds());
  EXPECT_EQ(ReadHost(Path("share/f")), "new");
  EXPECT_EQ(fs->root()->GetAttributes()->size, 3u);
  auto fd = At(fs->root()).OpenFlags(O_RDONLY);
  struct stat status;
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  EXPECT_EQ(fs->FindByHostFile(fd->get(), status), fs->root());
  EXPECT_THAT(MakeDrvFs({.host_path = Path("missing")}), FailsWith(ENOENT));
  EXPECT_THAT(MakeDrvFs({.host_path = "relative"}), FailsWith(EINVAL));
}

TEST_F(DrvFsTest, ItsFilesAreFoundByTheirDescriptors) {
  MakeHostDirectory("share/d");
  WriteHost(Path("share/d/f"), "x");
  auto fs = Open();
  auto fd = At(*Find(fs, "d/f")).OpenFlags(O_RDONLY);
  struct stat status;
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  auto found = fs->FindByHostFile(fd->get(), status);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->GetAttributes()->size, 1u);
  std::filesystem::remove(Path("share/d/f"));
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  auto again = fs->FindByHostFile(fd->get(), status);
  EXPECT_EQ(again, found) << "known, but no longer by its name";
  EXPECT_EQ(found->GetAttributes()->nlink, 0u);
  again = nullptr;
  found = nullptr;
  found = fs->FindByHostFile(fd->get(), status);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->GetAttributes()->nlink, 0u);
}

}  // namespace
}  // namespace usl::fs
