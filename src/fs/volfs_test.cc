#include "fs/volfs.h"

#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <set>

#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

class VolFsTest : public ScratchTest {
 protected:
  Ref<VolFs> Open() {
    VolFsOptions options;
    options.upper = LayerOptions{.path = MakeTree("root")};
    auto fs = VolFs::Open(std::move(options));
    EXPECT_THAT(fs, Succeeds());
    return fs ? *fs : nullptr;
  }
};

TEST_F(VolFsTest, PlainFilesHaveNoRecord) {
  auto fs = Open();
  auto file = Make(fs->root(), "a", S_IFREG | 0644);
  ASSERT_THAT(file, Succeeds());
  EXPECT_THAT(Write(*file, "hello"), Succeeds());
  EXPECT_EQ(ReadHost(Path("root/a")), "hello");
  EXPECT_FALSE(HasRecord("root/a"));
  auto attributes = (*file)->GetAttributes();
  ASSERT_THAT(attributes, Succeeds());
  EXPECT_EQ(attributes->mode, S_IFREG | 0644u);
  EXPECT_EQ(attributes->uid, 0u);
  EXPECT_EQ(attributes->size, 5u);
  EXPECT_EQ(attributes->nlink, 1u);
  EXPECT_THAT(Make(fs->root(), "a", S_IFREG | 0644), FailsWith(EEXIST));
}

TEST_F(VolFsTest, OwnersAndModesOutliveTheKernel) {
  {
    auto fs = Open();
    auto file = Make(fs->root(), "f", S_IFREG | 04711, 1000, 100);
    ASSERT_THAT(file, Succeeds());
    auto directory = Make(fs->root(), "d", S_IFDIR | 0500, 7, 8);
    ASSERT_THAT(directory, Succeeds());
    ASSERT_THAT(Make(*directory, "inner", S_IFREG | 0000), Succeeds());
    vfs::AttributeChange change;
    change.uid = 33;
    ASSERT_THAT((*file)->SetAttributes(change), Succeeds());
  }
  auto fs = Open();
  auto file = (*Find(fs, "f"))->GetAttributes();
  ASSERT_THAT(file, Succeeds());
  EXPECT_EQ(file->mode, S_IFREG | 04711u);
  EXPECT_EQ(file->uid, 33u);
  EXPECT_EQ(file->gid, 100u);
  EXPECT_EQ((*Find(fs, "d"))->GetPermissions()->mode, S_IFDIR | 0500u);
  EXPECT_EQ((*Find(fs, "d/inner"))->GetPermissions()->mode, S_IFREG | 0u);
  struct stat status;
  ASSERT_EQ(::stat(Path("root/f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0711u) << "the host file is never set-id";
  ASSERT_EQ(::stat(Path("root/d").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u) << "the host user can always use a directory";
}

TEST_F(VolFsTest, ModeAndOwnerGoBackToNoRecord) {
  auto fs = Open();
  auto file = Make(fs->root(), "f", S_IFREG | 0444, 5, 5);
  ASSERT_THAT(file, Succeeds());
  EXPECT_EQ(HasRecord("root/f"), !UsesSidecar());
  vfs::AttributeChange change;
  change.uid = 0;
  change.gid = 0;
  change.mode = 0640;
  ASSERT_THAT((*file)->SetAttributes(change), Succeeds());
  EXPECT_FALSE(HasRecord("root/f"));
  EXPECT_EQ((*file)->GetAttributes()->mode, S_IFREG | 0640u);
}

TEST_F(VolFsTest, SpecialFilesAreStandIns) {
  {
    auto fs = Open();
    ASSERT_THAT(Make(fs->root(), "null", S_IFCHR | 0666, 0, 0, makedev(1, 3)), Succeeds());
    ASSERT_THAT(Make(fs->root(), "loop", S_IFBLK | 0660, 0, 6, makedev(7, 0)), Succeeds());
    ASSERT_THAT(Make(fs->root(), "pipe", S_IFIFO | 0600), Succeeds());
    ASSERT_THAT(Make(fs->root(), "sock", S_IFSOCK | 0755), Succeeds());
    ASSERT_THAT(Make(fs->root(), "plain-link", S_IFLNK | 0777, 0, 0, 0, "/etc/passwd"), Succeeds());
    ASSERT_THAT(Make(fs->root(), "owned-link", S_IFLNK | 0777, 9, 9, 0, "../target"), Succeeds());
    ASSERT_THAT(Make(fs->root(), "white", S_IFCHR | 0600, 0, 0, 0), Succeeds()) << "0:0 is a device in a single tree";
  }
  auto fs = Open();
  auto null = (*Find(fs, "null"))->GetAttributes();
  EXPECT_EQ(null->mode, S_IFCHR | 0666u);
  EXPECT_EQ(null->rdev, makedev(1, 3));
  EXPECT_EQ((*Find(fs, "loop"))->GetAttributes()->gid, 6u);
  EXPECT_EQ(*(*Find(fs, "plain-link"))->ReadLink(context_), "/etc/passwd");
  auto owned = *Find(fs, "owned-link");
  EXPECT_EQ(*owned->ReadLink(context_), "../target");
  EXPECT_EQ(owned->GetAttributes()->uid, 9u);
  EXPECT_EQ(owned->GetAttributes()->size, 9u);
  EXPECT_EQ(owned->GetAttributes()->mode, S_IFLNK | 0777u);
  EXPECT_THAT(At(owned).OpenFlags(O_RDONLY), FailsWith(ELOOP));
  EXPECT_THAT(At(*Find(fs, "pipe")).OpenFlags(O_RDONLY | O_NONBLOCK), FailsWith(ENXIO));
  std::map<std::string, unsigned char> types;
  for (const auto& entry : List(fs->root())) types[entry.name] = entry.type;
  std::map<std::string, unsigned char> expected{{"null", DT_CHR},  {"loop", DT_BLK},       {"pipe", DT_FIFO},
                                                {"sock", DT_SOCK}, {"plain-link", DT_LNK}, {"owned-link", DT_LNK},
                                                {"white", DT_CHR}};
  EXPECT_EQ(types, expected) << "and the private directory is hidden";
  EXPECT_THAT(Find(fs, ".usl"), FailsWith(ENOENT));
  EXPECT_THAT(Make(fs->root(), ".usl", S_IFDIR | 0755), FailsWith(EPERM));
}

TEST_F(VolFsTest, ASymlinkChangesItsOwner) {
  auto fs = Open();
  auto link = *Make(fs->root(), "l", S_IFLNK | 0777, 0, 0, 0, "there");
  uint64_t ino = link->GetAttributes()->ino;
  vfs::AttributeChange change;
  change.uid = 4;
  ASSERT_THAT(link->SetAttributes(change), Succeeds());
  EXPECT_EQ(link->GetAttributes()->uid, 4u);
  EXPECT_EQ(link->GetAttributes()->ino, ino);
  EXPECT_EQ(*link->ReadLink(context_), "there");
}

TEST_F(VolFsTest, OpenFlagsAreTheGuests) {
  auto fs = Open();
  auto file = *Make(fs->root(), "f", S_IFREG | 0644);
  for (int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDONLY | O_NONBLOCK, O_RDWR | O_SYNC}) {
    auto fd = At(file).OpenFlags(flags);
    ASSERT_THAT(fd, Succeeds());
    EXPECT_EQ(::fcntl(fd->get(), F_GETFL) & ~O_LARGEFILE & ~0100000, flags) << flags;
  }
  auto fd = At(file).OpenFlags(O_PATH);
  ASSERT_THAT(fd, Succeeds());
  EXPECT_TRUE(::fcntl(fd->get(), F_GETFL) & O_PATH);
  EXPECT_THAT(At(fs->root()).OpenFlags(O_WRONLY), FailsWith(EISDIR));
  EXPECT_THAT(At(fs->root()).OpenFlags(O_RDONLY | O_DIRECTORY), Succeeds());
}

TEST_F(VolFsTest, UnpackedFilesWithoutWritePermissionCanBeWritten) {
  MakeHostDirectory("root");
  WriteHost(Path("root/ro"), "x");
  ASSERT_EQ(::chmod(Path("root/ro").c_str(), 0444), 0);
  WriteHost(Path("root/suid"), "x");
  ASSERT_EQ(::chmod(Path("root/suid").c_str(), 04755), 0);
  auto fs = Open();
  EXPECT_EQ((*Find(fs, "suid"))->GetAttributes()->mode, S_IFREG | 04755u);
  auto file = *Find(fs, "ro");
  EXPECT_THAT(Write(file, "changed"), Succeeds());
  EXPECT_EQ(file->GetAttributes()->mode, S_IFREG | 0444u);
  vfs::AttributeChange change;
  change.uid = 12;
  EXPECT_THAT(file->SetAttributes(change), Succeeds());
  EXPECT_EQ(file->GetAttributes()->mode, S_IFREG | 0444u);
}

TEST_F(VolFsTest, HardLinksAreOneInode) {
  auto fs = Open();
  auto file = *Make(fs->root(), "a", S_IFREG | 0600, 3, 3);
  auto directory = *Make(fs->root(), "d", S_IFDIR | 0755);
  ASSERT_THAT(directory->Link("b", *file), Succeeds());
  EXPECT_EQ(file->GetAttributes()->nlink, 2u);
  EXPECT_EQ((*Find(fs, "d/b")).get(), file.get());
  ASSERT_THAT(fs->root()->Unlink("a", *file), Succeeds());
  EXPECT_EQ(file->GetAttributes()->nlink, 1u) << "by its other name";
  EXPECT_EQ((*Find(fs, "d/b"))->GetAttributes()->uid, 3u);
  EXPECT_THAT(directory->Link("b", *file), FailsWith(EEXIST));
  EXPECT_THAT(fs->root()->Link("dd", *directory), FailsWith(EPERM));
}

TEST_F(VolFsTest, RenameInAllItsKinds) {
  auto fs = Open();
  auto root = fs->root();
  auto a = *Make(root, "a", S_IFREG | 0644, 1, 1);
  auto b = *Make(root, "b", S_IFREG | 0644, 2, 2);
  auto d = *Make(root, "d", S_IFDIR | 0755);
  auto e = *Make(d, "e", S_IFDIR | 0755);
  auto deep = *Make(e, "deep", S_IFREG | 0644);
  ASSERT_THAT(root->Rename("a", *a, *d, "a2", nullptr, 0), Succeeds());
  EXPECT_EQ(*Find(fs, "d/a2"), a);
  EXPECT_THAT(Find(fs, "a"), FailsWith(ENOENT));
  EXPECT_THAT(root->Rename("b", *b, *d, "a2", a.get(), RENAME_NOREPLACE), FailsWith(EEXIST));
  ASSERT_THAT(root->Rename("b", *b, *d, "a2", a.get(), RENAME_EXCHANGE), Succeeds());
  EXPECT_EQ(*Find(fs, "b"), a);
  EXPECT_EQ(*Find(fs, "d/a2"), b);
  ASSERT_THAT(d->Rename("a2", *b, *root, "b", a.get(), 0), Succeeds());
  EXPECT_EQ(*Find(fs, "b"), b);
  // A directory with content moves, and its members are reached in it.
  ASSERT_THAT(d->Rename("e", *e, *root, "e2", nullptr, 0), Succeeds());
  EXPECT_THAT(deep->GetAttributes(), Succeeds());
  EXPECT_THAT(Write(deep, "x"), Succeeds());
  EXPECT_EQ(ReadHost(Path("root/e2/deep")), "x");
  auto full = *Make(root, "full", S_IFDIR | 0755);
  ASSERT_THAT(Make(full, "x", S_IFREG | 0600), Succeeds());
  EXPECT_THAT(root->Rename("d", *d, *root, "full", full.get(), 0), FailsWith(ENOTEMPTY));
  EXPECT_THAT(root->Rename("full", *full, *root, "d", d.get(), 0), Succeeds());
}

TEST_F(VolFsTest, RenameLeavesAWhiteoutNode) {
  auto fs = Open();
  auto a = *Make(fs->root(), "a", S_IFREG | 0644);
  ASSERT_THAT(fs->root()->Rename("a", *a, *fs->root(), "b", nullptr, RENAME_WHITEOUT), Succeeds());
  auto white = (*Find(fs, "a"))->GetAttributes();
  EXPECT_EQ(white->mode & S_IFMT, static_cast<uint32_t>(S_IFCHR));
  EXPECT_EQ(white->rdev, 0u);
}

TEST_F(VolFsTest, RemovedFilesLiveOnInTheirDescriptors) {
  auto fs = Open();
  auto file = *Make(fs->root(), "f", S_IFREG | 0640, 11, 12);
  auto fd = At(file).OpenFlags(O_RDWR);
  ASSERT_THAT(fd, Succeeds());
  struct stat status;
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  EXPECT_EQ(fs->FindByHostFile(fd->get(), status), file);
  ASSERT_THAT(fs->root()->Unlink("f", *file), Succeeds());
  file = nullptr;
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  auto found = fs->FindByHostFile(fd->get(), status);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->GetAttributes()->uid, 11u);
  EXPECT_EQ(found->GetAttributes()->nlink, 0u);
  vfs::AttributeChange change;
  change.mode = 0400;
  change.size = 77;
  EXPECT_THAT(found->SetAttributes(change), Succeeds());
  EXPECT_EQ(found->GetAttributes()->mode, S_IFREG | 0400u);
  EXPECT_EQ(found->GetAttributes()->size, 77u);
  EXPECT_THAT(Find(fs, "f"), FailsWith(ENOENT));
}

TEST_F(VolFsTest, EvictedFilesAreFoundByTheirDescriptor) {
  auto fs = Open();
  auto directory = *Make(fs->root(), "d", S_IFDIR | 0755);
  auto file = *Make(directory, "f", S_IFREG | 0640, 11, 12);
  auto fd = At(file).OpenFlags(O_RDONLY);
  uint64_t ino = file->GetAttributes()->ino;
  file = nullptr;
  directory = nullptr;
  struct stat status;
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  auto found = fs->FindByHostFile(fd->get(), status);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->GetAttributes()->ino, ino);
  EXPECT_EQ(found->GetAttributes()->uid, 11u);
  UniqueFd other(::open("/dev/null", O_RDONLY));
  ASSERT_EQ(::fstat(other.get(), &status), 0);
  EXPECT_FALSE(fs->FindByHostFile(other.get(), status));
  UniqueFd outside(::open(MakeHostDirectory("root2").c_str(), O_RDONLY));
  ASSERT_EQ(::fstat(outside.get(), &status), 0);
  EXPECT_FALSE(fs->FindByHostFile(outside.get(), status)) << "a name that begins like the root's";
}

TEST_F(VolFsTest, AFileWhoseOpenedNameIsGoneIsFoundWhileOthersAreLeft) {
  auto fs = Open();
  auto file = *Make(fs->root(), "a", S_IFREG | 0640, 11, 12);
  ASSERT_THAT(fs->root()->Link("b", *file), Succeeds());
  auto fd = At(file).OpenFlags(O_RDONLY);
  file = nullptr;
  ASSERT_THAT(fs->root()->Unlink("a", **Find(fs, "a")), Succeeds());
  struct stat status;
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  auto found = fs->FindByHostFile(fd->get(), status);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->GetAttributes()->uid, 11u);
  EXPECT_EQ(found->GetAttributes()->nlink, 1u);
}

TEST_F(VolFsTest, ARemovedDirectoryIsStillThereForWhoIsInIt) {
  auto fs = Open();
  auto directory = *Make(fs->root(), "d", S_IFDIR | 0755, 5, 5);
  auto full = *Make(fs->root(), "full", S_IFDIR | 0755);
  ASSERT_THAT(Make(full, "x", S_IFREG | 0600), Succeeds());
  EXPECT_THAT(fs->root()->RemoveDirectory("full", *full), FailsWith(ENOTEMPTY));
  ASSERT_THAT(fs->root()->RemoveDirectory("d", *directory), Succeeds());
  EXPECT_EQ(directory->GetAttributes()->nlink, 0u);
  EXPECT_EQ(directory->GetAttributes()->uid, 5u);
  EXPECT_THAT(Make(directory, "x", S_IFREG | 0644), FailsWith(ENOENT));
  EXPECT_THAT(directory->Lookup("x", context_), FailsWith(ENOENT));
}

TEST_F(VolFsTest, UnnamedFilesGetANameLater) {
  auto fs = Open();
  auto file = fs->root()->CreateUnnamed({S_IFREG | 0604, 20, 21}, true);
  ASSERT_THAT(file, Succeeds());
  EXPECT_THAT(Write(*file, "unnamed"), Succeeds());
  EXPECT_EQ((*file)->GetAttributes()->nlink, 0u);
  ASSERT_THAT(fs->root()->Link("named", **file), Succeeds());
  EXPECT_EQ(Read(*Find(fs, "named")), "unnamed");
  EXPECT_EQ((*Find(fs, "named"))->GetAttributes()->uid, 20u);
}

TEST_F(VolFsTest, ExtendedAttributesOfAllNameSpaces) {
  auto fs = Open();
  auto file = *Make(fs->root(), "f", S_IFREG | 0644);
  EXPECT_THAT(file->GetXattr("user.x"), FailsWith(ENODATA));
  for (const char* name :
       {"user.x", "user.usl", "user.usl_", "security.capability", "trusted.t", "system.posix_acl_access"}) {
    EXPECT_THAT(file->SetXattr(name, Bytes(name), 0), Succeeds()) << name;
  }
  for (const char* name :
       {"user.x", "user.usl", "user.usl_", "security.capability", "trusted.t", "system.posix_acl_access"}) {
    auto value = file->GetXattr(name);
    ASSERT_THAT(value, Succeeds()) << name;
    EXPECT_EQ(*value, Bytes(name));
  }
  EXPECT_THAT(*file->ListXattr(), UnorderedElementsAre("user.x", "user.usl", "user.usl_", "security.capability",
                                                       "trusted.t", "system.posix_acl_access"));
  EXPECT_THAT(file->SetXattr("trusted.t", {}, XATTR_CREATE), FailsWith(EEXIST));
  EXPECT_THAT(file->SetXattr("trusted.u", {}, XATTR_REPLACE), FailsWith(ENODATA));
  EXPECT_THAT(file->SetXattr("user.x", {}, XATTR_CREATE), FailsWith(EEXIST));
  EXPECT_THAT(file->SetXattr("weird.x", {}, 0), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(file->SetXattr("user.", {}, 0), FailsWith(EINVAL));
  EXPECT_THAT(file->RemoveXattr("trusted.t"), Succeeds());
  EXPECT_THAT(file->RemoveXattr("trusted.t"), FailsWith(ENODATA));
  EXPECT_THAT(file->RemoveXattr("user.usl"), Succeeds());
  EXPECT_THAT(file->GetXattr("user.usl_"), Succeeds()) << "the others stay";
  EXPECT_EQ(file->GetAttributes()->uid, 0u);
}

TEST_F(VolFsTest, RecordsTooLargeForTheHostAreKeptToo) {
  std::vector<std::byte> large(40'000, std::byte{7}), largest(XATTR_SIZE_MAX, std::byte{8});
  {
    auto fs = Open();
    auto file = *Make(fs->root(), "f", S_IFREG | 0644, 5);
    ASSERT_THAT(Make(fs->root(), "g", S_IFREG | 0644, 6), Succeeds());
    ASSERT_THAT(file->SetXattr("trusted.large", large, 0), Succeeds());
    ASSERT_THAT(file->SetXattr("trusted.largest", largest, 0), Succeeds());
    ASSERT_THAT(fs->root()->Rename("f", *file, *fs->root(), "h", nullptr, 0), Succeeds());
  }
  {
    auto fs = Open();
    auto file = *Find(fs, "h");
    EXPECT_EQ(*file->GetXattr("trusted.large"), large);
    EXPECT_EQ(*file->GetXattr("trusted.largest"), largest);
    EXPECT_EQ(file->GetAttributes()->uid, 5u);
    EXPECT_EQ((*Find(fs, "g"))->GetAttributes()->uid, 6u);
    // There is an end of it.
    Result<void> done;
    for (int i = 0; i < 20 && done; ++i) done = file->SetXattr("trusted.x" + std::to_string(i), largest, 0);
    EXPECT_THAT(done, FailsWith(ENOSPC));
    ASSERT_THAT(file->RemoveXattr("trusted.large"), Succeeds());
    auto names = *file->ListXattr();
    for (const std::string& name : names) ASSERT_THAT(file->RemoveXattr(name), Succeeds());
    EXPECT_EQ(file->GetAttributes()->uid, 5u);
    // Removed while it is open.
    ASSERT_THAT(file->SetXattr("trusted.large", large, 0), Succeeds());
    auto fd = At(file).OpenFlags(O_RDONLY);
    ASSERT_THAT(fs->root()->Unlink("h", *file), Succeeds());
    file = nullptr;
    struct stat status;
    ASSERT_EQ(::fstat(fd->get(), &status), 0);
    auto found = fs->FindByHostFile(fd->get(), status);
    ASSERT_TRUE(found);
    EXPECT_EQ(*found->GetXattr("trusted.large"), large);
  }
  // Nothing is left of it.
  auto root = UniqueFd(::open(Path("root/.usl").c_str(), O_PATH | O_DIRECTORY));
  RecordLog::Condition condition;
  auto log =
      RecordLog::Open(root.get(), UsesSidecar() ? "sidecar" : "overflow", RecordLog::Access::kCheck, 0, &condition);
  ASSERT_THAT(log, Succeeds());
  EXPECT_EQ((*log)->size(), UsesSidecar() ? 1u : 0u) << "the other file's";
}

TEST_F(VolFsTest, ACorruptRecordIsAnErrorOfThatFileOnly) {
  if (UsesSidecar()) GTEST_SKIP() << "sidecar_store_test has its own";
  MakeHostDirectory("root");
  WriteHost(Path("root/bad"), "x");
  WriteHost(Path("root/good"), "y");
  for (std::string value : {"garbage", "U\x02", "U\x01\x01", "U\x01\x0c\x00\x08\x00overflow", ""}) {
    ASSERT_EQ(::setxattr(Path("root/bad").c_str(), "user.usl", value.data(), value.size(), 0), 0);
    auto fs = Open();
    EXPECT_THAT(Find(fs, "bad"), FailsWith(EIO));
    EXPECT_EQ(Read(*Find(fs, "good")), "y");
    EXPECT_THAT(Names(List(fs->root())), UnorderedElementsAre("bad", "good"));
  }
}

TEST_F(VolFsTest, ATreeOfANewerFormatIsRefused) {
  MakeTree("root/.usl");
  WriteHost(Path("root/.usl/format"), "2\n");
  VolFsOptions options;
  options.upper = LayerOptions{.path = Path("root")};
  EXPECT_THAT(VolFs::Open(options), FailsWith(EPROTONOSUPPORT));
  WriteHost(Path("root/.usl/format"), "what");
  EXPECT_THAT(VolFs::Open(options), FailsWith(EIO));
  WriteHost(Path("root/.usl/format"), "1\n");
  EXPECT_THAT(VolFs::Open(options), Succeeds());
}

TEST_F(VolFsTest, AHostSymlinkIsNeverFollowed) {
  MakeHostDirectory("root/d");
  WriteHost(Path("secret"), "secret");
  MakeHostDirectory("outside");
  WriteHost(Path("outside/f"), "outside");
  auto fs = Open();
  auto directory = *Find(fs, "d");
  auto file = *Make(directory, "f", S_IFREG | 0644);
  ASSERT_THAT(Write(file, "inside"), Succeeds());
  // The tree is changed behind the kernel's back.
  std::filesystem::remove(Path("root/d/f"));
  std::filesystem::create_symlink(Path("secret"), Path("root/d/f"));
  EXPECT_THAT(At(file).OpenFlags(O_RDONLY), FailsWith(ELOOP));
  EXPECT_THAT(At(file).OpenFlags(O_WRONLY | O_TRUNC), FailsWith(ELOOP));
  EXPECT_THAT(file->GetAttributes(), FailsWith(ESTALE));
  vfs::AttributeChange change;
  change.mode = 0777;
  EXPECT_THAT(file->SetAttributes(change), ::testing::Not(Succeeds()));
  EXPECT_EQ(ReadHost(Path("secret")), "secret");
  struct stat status;
  ASSERT_EQ(::stat(Path("secret").c_str(), &status), 0);
  EXPECT_NE(status.st_mode & 0777, 0777u);
}

TEST_F(VolFsTest, OneKernelOwnsATree) {
  auto fs = Open();
  VolFsOptions options;
  options.upper = LayerOptions{.path = Path("root")};
  EXPECT_THAT(VolFs::Open(options), FailsWith(EBUSY));
  fs = nullptr;
  EXPECT_THAT(VolFs::Open(options), Succeeds());
}

TEST_F(VolFsTest, OpenDirectoriesAreBounded) {
  VolFsOptions options;
  options.upper = LayerOptions{.path = MakeTree("root")};
  options.directory_fds = 4;
  auto fs = *VolFs::Open(std::move(options));
  Ref<vfs::Inode> at = fs->root();
  std::vector<Ref<vfs::Inode>> chain;
  for (int depth = 0; depth < 40; ++depth) {
    at = *Make(at, "d" + std::to_string(depth), S_IFDIR | 0755);
    chain.push_back(at);
  }
  EXPECT_LE(fs->open_directory_count(), 4u);
  for (const auto& directory : chain) {
    EXPECT_THAT(Make(directory, "f", S_IFREG | 0644), Succeeds());
    EXPECT_LE(fs->open_directory_count(), 4u);
  }
}

TEST_F(VolFsTest, ReadDirectoryInSmallSteps) {
  auto fs = Open();
  std::set<std::string> expected;
  for (int i = 0; i < 500; ++i) {
    expected.insert("file" + std::to_string(i));
    ASSERT_THAT(Make(fs->root(), "file" + std::to_string(i), S_IFREG | 0644), Succeeds());
  }
  for (size_t step : {1u, 7u, 1000u}) {
    auto names = Names(List(fs->root(), step));
    EXPECT_EQ(names.size(), 500u);
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), expected);
  }
}

TEST_F(VolFsTest, TimesAndNames) {
  auto fs = Open();
  auto file = *Make(fs->root(), std::string("\xff\n name"), S_IFREG | 0644);
  vfs::AttributeChange change;
  change.mtime = timespec{1234567, 89};
  ASSERT_THAT(file->SetAttributes(change), Succeeds());
  EXPECT_EQ(file->GetAttributes()->mtime.tv_nsec, 89);
  EXPECT_THAT(Make(fs->root(), std::string(255, 'x'), S_IFREG | 0644), Succeeds());
  EXPECT_THAT(Make(fs->root(), std::string(256, 'x'), S_IFREG | 0644), FailsWith(ENAMETOOLONG));
  EXPECT_THAT(fs->StatFs(), Succeeds());
  EXPECT_THAT(fs->Sync(), Succeeds());
}

}  // namespace
}  // namespace usl::fs
