// A host disk that is full or turns read-only while VolFs works on it: a small file system of the test's own, where it
// may mount one.
#include <sched.h>
#include <sys/mount.h>

#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

class HostTroubleTest : public ScratchTest {
 protected:
  void SetUp() override {
    MakeHostDirectory("small");
    // In a mount name space of the test program's own, so that nothing is left behind.
    if (::unshare(CLONE_NEWNS) < 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
        ::mount("small", Path("small").c_str(), "tmpfs", 0, "size=2m,nr_inodes=60") < 0) {
      GTEST_SKIP() << "cannot mount a small tmpfs: " << strerror(errno);
    }
    mounted_ = true;
    MakeHostDirectory("lower/d");
    for (int i = 0; i < 8; ++i) WriteHost(Path("lower/d/" + std::to_string(i)), std::string(600'000, char('a' + i)));
    WriteHost(Path("lower/d/tiny"), "tiny");
  }
  void TearDown() override {
    if (mounted_) ::umount2(Path("small").c_str(), MNT_DETACH);
  }
  Ref<VolFs> Open() {
    VolFsOptions options;
    options.upper = LayerOptions{.path = MakeTree("small/upper")};
    options.lowers.push_back(LayerOptions{.path = Path("lower")});
    auto fs = VolFs::Open(std::move(options));
    EXPECT_THAT(fs, Succeeds());
    return fs ? *fs : nullptr;
  }
  bool WorkIsEmpty() { return std::filesystem::is_empty(Path("small/upper/.usl/work")); }
  Result<void> Remount(unsigned long flags) {
    if (::mount("small", Path("small").c_str(), "tmpfs", MS_REMOUNT | flags, nullptr) < 0) return FailErrno();
    return {};
  }

  bool mounted_ = false;
};

TEST_F(HostTroubleTest, ACopyUpOnAFullDiskLeavesTheFile) {
  auto fs = Open();
  int full = -1;
  for (int i = 0; i < 8; ++i) {
    auto file = *Find(fs, "d/" + std::to_string(i));
    auto opened = At(file).OpenFlags(O_WRONLY);
    if (opened) continue;
    EXPECT_THAT(opened, FailsWith(ENOSPC));
    full = i;
    EXPECT_EQ(file->GetAttributes()->size, 600'000u);
    EXPECT_EQ(Read(file)[0], 'a' + i);
    EXPECT_TRUE(WorkIsEmpty());
    break;
  }
  ASSERT_GT(full, 0);
  ASSERT_THAT((*Find(fs, "d"))->Unlink("0", **Find(fs, "d/0")), Succeeds());
  EXPECT_THAT(At(*Find(fs, "d/" + std::to_string(full))).OpenFlags(O_WRONLY), Succeeds()) << "with room again";
  EXPECT_THAT(Find(fs, "d/0"), FailsWith(ENOENT));
}

TEST_F(HostTroubleTest, ADiskWithoutInodesRefusesNewNamesOnly) {
  auto fs = Open();
  auto root = fs->root();
  Result<void> made;
  int count = 0;
  for (; count < 100 && made; ++count) {
    auto created = Make(root, "n" + std::to_string(count), S_IFIFO | 0600, 5, 5);
    if (!created) made = Fail(created.error());
  }
  EXPECT_THAT(made, FailsWith(ENOSPC));
  EXPECT_TRUE(WorkIsEmpty());
  EXPECT_THAT(Find(fs, "n" + std::to_string(count - 1)), FailsWith(ENOENT));
  EXPECT_THAT(Make(root, "another", S_IFDIR | 0755), FailsWith(ENOSPC));
  // Removing and renaming within a layer needs none; what would need a whiteout tells, and the file stays.
  auto inode = *Find(fs, "n0");
  EXPECT_THAT(root->Rename("n0", *inode, *root, "renamed", nullptr, 0), Succeeds());
  auto removed = (*Find(fs, "d"))->Unlink("tiny", **Find(fs, "d/tiny"));
  EXPECT_THAT(removed, FailsWith(ENOSPC));
  EXPECT_EQ(Read(*Find(fs, "d/tiny")), "tiny");
  for (const char* name : {"n1", "n2", "n3", "n4", "n5"}) {
    ASSERT_THAT(root->Unlink(name, **Find(fs, name)), Succeeds());
  }
  EXPECT_THAT((*Find(fs, "d"))->Unlink("tiny", **Find(fs, "d/tiny")), Succeeds()) << "with room again";
  fs = nullptr;
  fs = Open();
  EXPECT_EQ((*Find(fs, "renamed"))->GetAttributes()->uid, 5u);
  EXPECT_THAT(Find(fs, "d/tiny"), FailsWith(ENOENT));
}

TEST_F(HostTroubleTest, ADiskThatTurnsReadOnlyRefusesChangesAndLosesNothing) {
  if (UsesSidecar()) GTEST_SKIP() << "nobody can make it read-only while the sidecar is open";
  auto fs = Open();
  auto own = *Make(fs->root(), "own", S_IFREG | 0640, 5, 5);
  ASSERT_THAT(Write(own, "own"), Succeeds());
  ASSERT_THAT(Remount(MS_RDONLY), Succeeds());
  vfs::AttributeChange change;
  change.mode = 04755;
  change.uid = 9;
  EXPECT_THAT(own->SetAttributes(change), FailsWith(EROFS));
  EXPECT_EQ(own->GetAttributes()->uid, 5u);
  EXPECT_EQ(own->GetAttributes()->mode, S_IFREG | 0640u);
  EXPECT_THAT(At(own).OpenFlags(O_WRONLY), FailsWith(EROFS));
  EXPECT_THAT(Make(fs->root(), "new", S_IFREG | 0644), FailsWith(EROFS));
  EXPECT_THAT(own->SetXattr("trusted.x", Bytes("x"), 0), FailsWith(EROFS));
  EXPECT_THAT(fs->root()->Unlink("own", *own), FailsWith(EROFS));
  EXPECT_THAT(fs->root()->Rename("own", *own, *fs->root(), "other", nullptr, 0), FailsWith(EROFS));
  auto lower = *Find(fs, "d/tiny");
  EXPECT_THAT(At(lower).OpenFlags(O_WRONLY), FailsWith(EROFS));
  EXPECT_EQ(Read(lower), "tiny");
  EXPECT_EQ(Read(own), "own");
  ASSERT_THAT(Remount(0), Succeeds());
  ASSERT_THAT(own->SetAttributes(change), Succeeds());
  ASSERT_THAT(Write(lower, "changed"), Succeeds());
  fs = nullptr;
  fs = Open();
  EXPECT_EQ((*Find(fs, "own"))->GetAttributes()->mode, S_IFREG | 04755u);
  EXPECT_EQ(Read(*Find(fs, "d/tiny")), "changed");
}

}  // namespace
}  // namespace usl::fs
