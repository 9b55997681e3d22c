#include "fs/drvfs.h"

#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

class DrvFsTest : public ScratchTest {
 protected:
  DrvFsTest() { MakeHostDirectory("share"); }
  Ref<VolFs> Open(DrvFsOptions options = {}, const std::string& path = "share") {
    auto source = OpenDrvFsSource(Path(path));
    EXPECT_THAT(source, Succeeds());
    auto fs = MakeDrvFs(std::move(*source), options);
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
  auto fs = Open({.uid = 1000, .gid = 1001, .umask = 022, .fmask = 0111, .dmask = 0007, .host_modes = true});
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
  auto fs = Open({.host_modes = true});
  auto object = *Make(fs->root(), "object", S_IFREG | 0444);
  EXPECT_THAT(Write(object, "data"), Succeeds());
  struct stat status;
  ASSERT_EQ(::stat(Path("share/object").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0444u);
  EXPECT_EQ(ReadHost(Path("share/object")), "data");
}

TEST_F(DrvFsTest, HostChangesAreSeenAtOnce) {
  auto fs = Open({.host_modes = true});
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
  EXPECT_THAT(OpenDrvFsSource(Path("missing")), FailsWith(ENOENT));
  EXPECT_THAT(OpenDrvFsSource("relative"), FailsWith(EINVAL));
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

TEST_F(DrvFsTest, WithoutMetadataEverythingIsTheMountingUsersAnd0777) {
  WriteHost(Path("share/f"), "x");
  MakeHostDirectory("share/d");
  ASSERT_EQ(::chmod(Path("share/f").c_str(), 0640), 0);
  auto fs = Open({.uid = 1000, .gid = 1001});
  auto file = *Look(fs, "f");
  EXPECT_EQ(file->GetAttributes()->mode, S_IFREG | 0777u);
  EXPECT_EQ(file->GetAttributes()->uid, 1000u);
  EXPECT_EQ((*Look(fs, "d"))->GetAttributes()->mode, S_IFDIR | 0777u);
  // What can be changed is whether it may be written; all else is taken and does nothing.
  vfs::AttributeChange change;
  change.mode = 0400;
  change.uid = 7;
  change.gid = 8;
  ASSERT_THAT(file->SetAttributes(change), Succeeds());
  struct stat status;
  ASSERT_EQ(::stat(Path("share/f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0440u);
  EXPECT_EQ(file->GetAttributes()->uid, 1000u);
  if (::geteuid() != 0) {
    EXPECT_EQ(file->GetAttributes()->mode, S_IFREG | 0555u);
  }
  change = {};
  change.mode = 0600;
  ASSERT_THAT(file->SetAttributes(change), Succeeds());
  EXPECT_EQ(file->GetAttributes()->mode, S_IFREG | 0777u);
  auto masked = Open({.umask = 022, .fmask = 0111, .dmask = 0007});
  EXPECT_EQ((*Look(masked, "f"))->GetAttributes()->mode, S_IFREG | 0644u);
  EXPECT_EQ((*Look(masked, "d"))->GetAttributes()->mode, S_IFDIR | 0750u);
  ASSERT_THAT(Make(fs->root(), "fifo", S_IFIFO | 0644), Succeeds());
  EXPECT_TRUE(std::filesystem::is_fifo(Path("share/fifo")));
}

TEST_F(DrvFsTest, SymlinkOwnersPersist) {
  MakeHostDirectory("share/a");
  MakeHostDirectory("share/b");
  {
    auto fs = Open({.metadata = true});
    auto a = *Find(fs, "a"), b = *Find(fs, "b");
    auto link = *Make(a, "link", S_IFLNK | 0777, 7, 8, 0, "target");
    EXPECT_EQ(link->GetAttributes()->uid, 7u);
    ASSERT_THAT(Make(a, "plain", S_IFLNK | 0777, 0, 0, 0, "target"), Succeeds());
    auto changed = *Find(fs, "a/plain");
    vfs::AttributeChange change;
    change.gid = 9;
    ASSERT_THAT(changed->SetAttributes(change), Succeeds());
    ASSERT_THAT(Make(a, "moved", S_IFLNK | 0777, 5, 5, 0, "target"), Succeeds());
    ASSERT_THAT(a->Rename("moved", **Find(fs, "a/moved"), *b, "here", nullptr, 0), Succeeds());
    ASSERT_THAT(Make(a, "gone", S_IFLNK | 0777, 6, 6, 0, "target"), Succeeds());
    ASSERT_THAT(a->Unlink("gone", **Find(fs, "a/gone")), Succeeds());
  }
  EXPECT_TRUE(std::filesystem::is_symlink(Path("share/a/link")));
  auto fs = Open({.metadata = true});
  EXPECT_EQ((*Find(fs, "a/link"))->GetAttributes()->uid, 7u);
  EXPECT_EQ((*Find(fs, "a/link"))->GetAttributes()->gid, 8u);
  EXPECT_EQ((*Find(fs, "a/plain"))->GetAttributes()->uid, 0u);
  EXPECT_EQ((*Find(fs, "a/plain"))->GetAttributes()->gid, 9u);
  EXPECT_EQ((*Find(fs, "b/here"))->GetAttributes()->uid, 5u);
  // The host renames one; another one takes a name that was there.
  std::filesystem::rename(Path("share/a/link"), Path("share/a/other"));
  std::filesystem::remove(Path("share/a/plain"));
  std::filesystem::create_symlink("x", Path("share/a/plain"));
  EXPECT_EQ((*Find(fs, "a/other"))->GetAttributes()->uid, 7u);
  EXPECT_EQ((*Find(fs, "a/plain"))->GetAttributes()->gid, 0u);
  // Without metadata nobody looks at them.
  EXPECT_EQ((*Find(Open({.uid = 3}), "a/other"))->GetAttributes()->uid, 3u);
}

TEST_F(DrvFsTest, WhatAnotherInstanceRecordsIsSeenAtOnce) {
  WriteHost(Path("share/f"), "x");
  auto one = Open({.metadata = true}), two = Open({.metadata = true});
  auto file = *Look(one, "f");
  EXPECT_EQ(file->GetAttributes()->uid, 0u);
  vfs::AttributeChange change;
  change.uid = 12;
  change.mode = 0640;
  ASSERT_THAT((*Look(two, "f"))->SetAttributes(change), Succeeds());
  EXPECT_EQ(file->GetAttributes()->uid, 12u);
  EXPECT_EQ(file->GetAttributes()->mode, S_IFREG | 0640u);
}

TEST_F(DrvFsTest, NamesWithoutRegardToCase) {
  WriteHost(Path("share/Makefile"), "make");
  MakeHostDirectory("share/Src/Inner");
  WriteHost(Path("share/Src/Inner/FILE.C"), "c");
  auto fs = Open({.name_case = NameCase::kOff});
  EXPECT_EQ(Read(*Look(fs, "MAKEFILE")), "make");
  EXPECT_EQ(*Look(fs, "MAKEFILE"), *Look(fs, "makefile"));
  EXPECT_EQ((*Look(fs, "makefile"))->NameIn(*fs->root(), "makefile"), "Makefile");
  EXPECT_EQ(Read(*Find(fs, "src/INNER/file.c")), "c");
  EXPECT_THAT(Look(fs, "Makefile2"), FailsWith(ENOENT));
  // Made with the case that was asked for, found with any, listed as it is.
  ASSERT_THAT(Make(fs->root(), "NewFile", S_IFREG | 0644), Succeeds());
  EXPECT_THAT(Look(fs, "newfile"), Succeeds());
  EXPECT_THAT(Names(List(fs->root())), ::testing::UnorderedElementsAre("Makefile", "Src", "NewFile"));
  // Host changes.
  WriteHost(Path("share/HostFile"), "host");
  EXPECT_EQ(Read(*Look(fs, "hostfile")), "host");
  WriteHost(Path("share/hostfile"), "exact");
  EXPECT_EQ(Read(*Look(fs, "hostfile")), "exact") << "the exact name comes first";
  std::filesystem::remove(Path("share/HostFile"));
  std::filesystem::remove(Path("share/hostfile"));
  EXPECT_THAT(Look(fs, "HOSTFILE"), FailsWith(ENOENT));
  EXPECT_THAT(Look(Open(), "MAKEFILE"), FailsWith(ENOENT)) << "case=force";
}

TEST_F(DrvFsTest, CaseByDirectory) {
  MakeHostDirectory("share/old");
  WriteHost(Path("share/old/File"), "old");
  auto fs = Open({.name_case = NameCase::kDir});
  EXPECT_EQ(Read(*Find(fs, "OLD/fILE")), "old");
  // What the guest makes is sensitive, until that is changed.
  auto made = *Make(fs->root(), "new", S_IFDIR | 0755);
  ASSERT_THAT(Make(made, "Name", S_IFREG | 0644), Succeeds());
  EXPECT_THAT(made->Lookup("NAME", context_), FailsWith(ENOENT));
  EXPECT_EQ(*made->GetXattr(kCaseXattr), Bytes("1"));
  ASSERT_THAT(made->SetXattr(kCaseXattr, Bytes("0"), 0), Succeeds());
  EXPECT_THAT(made->Lookup("NAME", context_), Succeeds());
  EXPECT_THAT(made->SetXattr(kCaseXattr, Bytes("2"), 0), FailsWith(EINVAL));
  EXPECT_EQ(*(*Look(fs, "old"))->GetXattr(kCaseXattr), Bytes("0"));
  EXPECT_THAT((*Find(fs, "old/file"))->GetXattr(kCaseXattr), FailsWith(EOPNOTSUPP));
  EXPECT_THAT((*Look(Open(), "old"))->GetXattr(kCaseXattr), FailsWith(EOPNOTSUPP));
  EXPECT_TRUE(made->ListXattr()->empty());
}

// A directory that becomes a symlink to a place outside again and again while it is walked, listed and written through.
TEST_F(DrvFsTest, ADirectoryThatIsSwappedForASymlinkLeadsNowhere) {
  MakeHostDirectory("outside");
  WriteHost(Path("outside/f"), "secret");
  MakeHostDirectory("share/dir");
  WriteHost(Path("share/dir/f"), "inside");
  std::filesystem::create_directory_symlink(Path("outside"), Path("share/link"));
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    const std::string a = Path("share/dir"), b = Path("share/link");
    while (!stop) ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
  });
  for (const NameCase name_case : {NameCase::kForce, NameCase::kOff}) {
    auto fs = Open({.name_case = name_case});
    int inside = 0;
    // Longer where the other thread has always been quicker.
    for (int i = 0; i < 3000 || (inside == 0 && i < 300000); ++i) {
      auto directory = Look(fs, name_case == NameCase::kOff && i % 2 ? "DIR" : "dir");
      if (!directory || !(*directory)->IsDirectory()) continue;
      auto file = (*directory)->Lookup("f", context_);
      if (file) {
        const std::string text = Read(*file);
        EXPECT_THAT(text, ::testing::AnyOf("inside", ::testing::StartsWith("errno")));
        inside += text == "inside";
        (void)Write(*file, "inside");
      }
      (void)Make(*directory, "made" + std::to_string(i), S_IFREG | 0644);
      (void)List(*directory);
    }
    EXPECT_GT(inside, 0);
  }
  stop = true;
  swapper.join();
  EXPECT_EQ(ReadHost(Path("outside/f")), "secret");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(Path("outside")), {}), 1);
}

TEST(DrvFsOptions, AreReadAsWslReadsThem) {
  DrvFsOptions options;
  ASSERT_TRUE(
      ApplyDrvFsOptions("metadata,uid=1000,gid=1001,umask=22,fmask=111,,dmask=0,case=dir,symlinkroot=/mnt/", options));
  EXPECT_TRUE(options.metadata);
  EXPECT_EQ(options.uid, 1000u);
  EXPECT_EQ(options.gid, 1001u);
  EXPECT_EQ(options.umask, 022u);
  EXPECT_EQ(options.fmask, 0111u);
  EXPECT_EQ(options.name_case, NameCase::kDir);
  for (const char* bad : {"uid=", "uid=x", "uid=-1", "uid=4294967295", "umask=8", "umask=1000", "case=on", "metadata=1",
                          "size=1", "ro=1", "modes=", "uid=1 "}) {
    DrvFsOptions untouched;
    EXPECT_FALSE(ApplyDrvFsOptions(bad, untouched)) << bad;
  }
}

}  // namespace
}  // namespace usl::fs
