#include "vfs/mount.h"

#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

class MountTest : public VfsFixture {
 protected:
  MountTest() {
    Directory("/m");
    Directory("/n");
    Directory("/d");
    Directory("/d/sub");
    File("/f");
    File("/g");
  }
  Ref<TestFileSystem> MountAt(std::string_view path, unsigned flags = 0) {
    auto file_system = MakeRef<TestFileSystem>();
    EXPECT_THAT(mounts_->Attach(PathAt(path), file_system, vfs_->RootDentry(file_system), flags), Succeeds());
    return file_system;
  }
  Result<void> Detach(std::string_view path, int flags = 0, const MountNamespace::InUse& in_use = Idle) {
    return mounts_->Detach(PathAt(path), flags, in_use);
  }
  Ref<Mount> At1(std::string_view path) { return PathAt(path).mount; }
};

TEST_F(MountTest, AttachAndDetach) {
  MountAt("/m", MS_NOSUID);
  Directory("/m/in");
  EXPECT_EQ(mounts_->List().size(), 2u);
  Ref<Mount> mount = At1("/m");
  EXPECT_EQ(mount->flags(), unsigned{MS_NOSUID});
  EXPECT_EQ(mount->name_space(), mounts_.get());
  EXPECT_EQ(mounts_->FindById(mount->id()), mount.get());
  EXPECT_EQ(vfs_->PathText(PathAt("/m/in"), root_), "/m/in");
  EXPECT_THAT(Detach("/m", 0, Busy), FailsWith(EBUSY));
  EXPECT_THAT(Detach("/m/in"), FailsWith(EINVAL));
  EXPECT_THAT(Detach("/"), FailsWith(EINVAL));
  EXPECT_THAT(Detach("/m"), Succeeds());
  EXPECT_FALSE(mount->IsAttached());
  EXPECT_THAT(Walk("/m/in"), FailsWith(ENOENT));
  EXPECT_FALSE(PathAt("/m").dentry->IsMountPoint());
}

TEST_F(MountTest, Targets) {
  auto other = MakeRef<TestFileSystem>();
  EXPECT_THAT(mounts_->Attach(PathAt("/f"), other, vfs_->RootDentry(other), 0), FailsWith(ENOTDIR));
  EXPECT_THAT(mounts_->Bind(PathAt("/f"), PathAt("/m"), false), FailsWith(ENOTDIR));
  EXPECT_THAT(mounts_->Bind(PathAt("/f"), PathAt("/g"), false), Succeeds()) << "a file on a file";
  EXPECT_EQ(PathAt("/g").inode(), PathAt("/f").inode());
  Path removed = PathAt("/n");
  ASSERT_THAT(vfs_->RemoveDirectory(As(super_), At("/n")), Succeeds());
  EXPECT_THAT(mounts_->Attach(removed, other, vfs_->RootDentry(other), 0), FailsWith(ENOENT));
  EXPECT_THAT(mounts_->MountRoot(other, vfs_->RootDentry(other), 0), FailsWith(EBUSY));
}

TEST_F(MountTest, Stacking) {
  MountAt("/m");
  File("/m/first");
  MountAt("/m");
  File("/m/second");
  EXPECT_THAT(Walk("/m/first"), FailsWith(ENOENT));
  EXPECT_EQ(WalkText("/m/.."), "/") << "up through both";
  EXPECT_THAT(Detach("/m"), Succeeds());
  EXPECT_THAT(Walk("/m/first"), Succeeds());
  EXPECT_THAT(Detach("/m"), Succeeds());
  // A mount on a place that was given below the stack goes on top.
  const Path below = PathAt("/m");
  MountAt("/m");
  auto file_system = MakeRef<TestFileSystem>();
  ASSERT_THAT(mounts_->Attach(below, file_system, vfs_->RootDentry(file_system), 0), Succeeds());
  EXPECT_EQ(&At1("/m")->file_system(), file_system.get());
}

TEST_F(MountTest, BindShowsASubtree) {
  File("/d/sub/x");
  ASSERT_THAT(mounts_->Bind(PathAt("/d/sub"), PathAt("/m"), false), Succeeds());
  EXPECT_EQ(PathAt("/m/x").inode(), PathAt("/d/sub/x").inode());
  EXPECT_EQ(WalkText("/m/x"), "/m/x");
}

TEST_F(MountTest, BindDotDotLeadsToTheMountPoint) {
  ASSERT_THAT(mounts_->Bind(PathAt("/d/sub"), PathAt("/m"), false), Succeeds());
  EXPECT_EQ(WalkText("/m/.."), "/");
  Directory("/m/in");
  EXPECT_EQ(WalkText("/m/in/.."), "/m");
  // A directory that is moved out of the bound tree leads nowhere.
  cwd_ = PathAt("/m/in");
  ASSERT_THAT(vfs_->Rename(As(super_), {.at = root_, .path = "/d/sub/in"}, {.at = root_, .path = "/d/out"}, 0),
              Succeeds());
  EXPECT_THAT(Walk(".."), FailsWith(ENOENT));
}

TEST_F(MountTest, RecursiveBind) {
  auto inner = MountAt("/d/sub");
  File("/d/sub/y");
  ASSERT_THAT(mounts_->Bind(PathAt("/d"), PathAt("/m"), false), Succeeds());
  EXPECT_THAT(Walk("/m/sub/y"), FailsWith(ENOENT));
  ASSERT_THAT(mounts_->Bind(PathAt("/d"), PathAt("/n"), true), Succeeds());
  EXPECT_THAT(Walk("/n/sub/y"), Succeeds());
  EXPECT_THAT(Detach("/n"), FailsWith(EBUSY)) << "a mount below";
  EXPECT_THAT(Detach("/n", MNT_DETACH), Succeeds());
  EXPECT_EQ(mounts_->List().size(), 3u);
  EXPECT_THAT(mounts_->Bind(root_, PathAt("/n"), true), Succeeds()) << "a tree into itself";
  EXPECT_THAT(Walk("/n/d/sub/y"), Succeeds());
  EXPECT_THAT(Walk("/n/n/d"), FailsWith(ENOENT));
}

TEST_F(MountTest, UnbindableStaysOut) {
  MountAt("/d/sub");
  ASSERT_THAT(mounts_->SetPropagation(PathAt("/d/sub"), MS_UNBINDABLE, false), Succeeds());
  EXPECT_THAT(mounts_->Bind(PathAt("/d/sub"), PathAt("/m"), false), FailsWith(EINVAL));
  EXPECT_THAT(mounts_->Bind(PathAt("/d"), PathAt("/m"), true), Succeeds());
  EXPECT_FALSE(At1("/m")->HasChildren());
}

TEST_F(MountTest, Move) {
  MountAt("/m");
  File("/m/x");
  EXPECT_THAT(mounts_->Move(PathAt("/m"), PathAt("/n")), Succeeds());
  EXPECT_THAT(Walk("/n/x"), Succeeds());
  EXPECT_THAT(Walk("/m/x"), FailsWith(ENOENT));
  EXPECT_THAT(mounts_->Move(PathAt("/d"), PathAt("/m")), FailsWith(EINVAL));
  EXPECT_THAT(mounts_->Move(root_, PathAt("/m")), FailsWith(EINVAL));
  Directory("/n/below");
  EXPECT_THAT(mounts_->Move(PathAt("/n"), PathAt("/n/below")), FailsWith(ELOOP));
  EXPECT_EQ(vfs_->PathText(PathAt("/n/x"), root_), "/n/x");
}

TEST_F(MountTest, RemountAndPropagation) {
  MountAt("/m");
  EXPECT_THAT(mounts_->Remount(PathAt("/m"), MS_RDONLY | MS_NOATIME), Succeeds());
  EXPECT_TRUE(At1("/m")->IsReadOnly());
  EXPECT_EQ(vfs_->StatFs(PathAt("/m"))->f_flags, 0x421);
  EXPECT_THAT(mounts_->Remount(PathAt("/d"), 0), FailsWith(EINVAL));
  EXPECT_THAT(mounts_->SetPropagation(PathAt("/d"), MS_SHARED, false), FailsWith(EINVAL));
  EXPECT_THAT(mounts_->SetPropagation(PathAt("/m"), 0, false), FailsWith(EINVAL));
  EXPECT_THAT(mounts_->SetPropagation(root_, MS_SHARED, true), Succeeds());
  EXPECT_EQ(At1("/m")->propagation(), unsigned{MS_SHARED});
  const uint32_t group = At1("/m")->peer_group();
  EXPECT_NE(group, 0u);
  EXPECT_NE(group, root_.mount->peer_group());
  EXPECT_THAT(mounts_->SetPropagation(PathAt("/m"), MS_SLAVE, false), Succeeds());
  EXPECT_EQ(At1("/m")->propagation(), unsigned{MS_PRIVATE}) << "it had no peer to be the slave of";
  EXPECT_THAT(mounts_->SetPropagation(PathAt("/m"), MS_PRIVATE, false), Succeeds());
  EXPECT_EQ(At1("/m")->master_group(), 0u);
  EXPECT_THAT(mounts_->Move(PathAt("/m"), PathAt("/n")), FailsWith(EINVAL)) << "from a shared parent";
}

TEST_F(MountTest, LazyUnmountInUse) {
  MountAt("/m");
  Directory("/m/in");
  MountAt("/m/in");
  File("/m/in/x");
  cwd_ = PathAt("/m/in");
  ASSERT_THAT(mounts_->Detach({.mount = Ref<Mount>(cwd_.mount->parent()), .dentry = cwd_.mount->parent()->root()},
                              MNT_DETACH, Busy),
              Succeeds());
  EXPECT_EQ(mounts_->List().size(), 1u);
  EXPECT_THAT(Walk("x"), Succeeds());
  EXPECT_THAT(Walk(".."), Succeeds());
  EXPECT_EQ(*vfs_->WorkingDirectoryText(cwd_, root_), "(unreachable)/");
  EXPECT_THAT(Open(super_, ".", O_RDONLY), Succeeds());
  EXPECT_THAT(mounts_->Detach(cwd_, 0, Idle), FailsWith(EINVAL));
}

TEST_F(MountTest, UnmountFlags) {
  MountAt("/m");
  EXPECT_THAT(Detach("/m", MNT_EXPIRE | MNT_FORCE), FailsWith(EINVAL));
  EXPECT_THAT(Detach("/m", MNT_EXPIRE, Busy), FailsWith(EBUSY));
  EXPECT_THAT(Detach("/m", MNT_EXPIRE), FailsWith(EAGAIN));
  EXPECT_THAT(Detach("/m", MNT_FORCE, Busy), FailsWith(EBUSY));
  EXPECT_THAT(Detach("/m", MNT_DETACH, Busy), Succeeds());
}

TEST_F(MountTest, PivotRoot) {
  MountAt("/m");
  Directory("/m/old");
  Directory("/m/bin");
  EXPECT_THAT(mounts_->Pivot(PathAt("/d"), PathAt("/d/sub")), FailsWith(EBUSY)) << "on the root mount";
  EXPECT_THAT(mounts_->Pivot(PathAt("/m/bin"), PathAt("/m/bin")), FailsWith(EINVAL)) << "not a mount";
  EXPECT_THAT(mounts_->Pivot(PathAt("/m"), PathAt("/d")), FailsWith(EBUSY));
  ASSERT_THAT(mounts_->Pivot(PathAt("/m"), PathAt("/m/old")), Succeeds());
  root_ = cwd_ = Path{mounts_->root(), mounts_->root()->root()};
  EXPECT_THAT(Walk("/bin"), Succeeds());
  EXPECT_EQ(WalkText("/old/d/sub"), "/old/d/sub");
  EXPECT_EQ(WalkText("/old/.."), "/");
  EXPECT_EQ(WalkText("/old/m"), "/old/m");
  EXPECT_FALSE(PathAt("/old/m").dentry->IsMountPoint());
  EXPECT_EQ(mounts_->List().front(), mounts_->root());
  EXPECT_THAT(Detach("/old"), Succeeds());
}

TEST_F(MountTest, PivotOntoItself) {
  // pivot_root(".", "."), then umount2(".", MNT_DETACH): pivot_root(2)'s example.
  MountAt("/m");
  File("/m/x");
  const Path new_root = PathAt("/m");
  ASSERT_THAT(mounts_->Pivot(new_root, new_root), Succeeds());
  root_ = cwd_ = new_root;
  EXPECT_THAT(mounts_->Detach(cwd_, MNT_DETACH, Busy), Succeeds());
  EXPECT_EQ(mounts_->List().size(), 1u);
  EXPECT_THAT(Walk("/x"), Succeeds());
  EXPECT_EQ(WalkText("/.."), "/");
}

TEST_F(MountTest, Clone) {
  MountAt("/m");
  File("/m/x");
  MountAt("/d/sub");
  std::map<const Mount*, Ref<Mount>> map;
  auto copy = mounts_->Clone(map);
  EXPECT_EQ(copy->List().size(), 3u);
  EXPECT_EQ(map.size(), 3u);
  const Path old_root = root_;
  EXPECT_THAT(Detach("/m"), Succeeds());
  root_ = cwd_ = Path{map[root_.mount.get()], root_.dentry};
  EXPECT_EQ(root_.mount->name_space(), copy.get());
  EXPECT_THAT(Walk("/m/x"), Succeeds());
  EXPECT_NE(copy->id(), mounts_->id());
  EXPECT_THAT(mounts_->Detach(PathAt("/m"), 0, Idle), FailsWith(EINVAL)) << "of another namespace";
  EXPECT_THAT(copy->Detach(PathAt("/m"), 0, Idle), Succeeds());
  root_ = cwd_ = old_root;
  copy = nullptr;
  map.clear();
  EXPECT_THAT(Walk("/d/sub"), Succeeds());
}

TEST_F(MountTest, AnonymousTrees) {
  MountAt("/d/sub");
  File("/d/sub/x");
  auto tree = MountNamespace::CloneTree(PathAt("/d"), true);
  ASSERT_THAT(tree, Succeeds());
  EXPECT_EQ((*tree)->List().size(), 2u);
  EXPECT_EQ(mounts_->List().size(), 2u);
  // Reachable through its root, as by the descriptor of open_tree(2).
  Path top{(*tree)->root(), (*tree)->root()->root()};
  EXPECT_THAT(vfs_->Walk(As(super_), {.at = top, .path = "sub/x"}, 0), Succeeds());
  ASSERT_THAT(mounts_->AttachTree(**tree, PathAt("/n")), Succeeds());
  EXPECT_THAT(Walk("/n/sub/x"), Succeeds());
  EXPECT_EQ(mounts_->List().size(), 4u);
  EXPECT_THAT(mounts_->AttachTree(**tree, PathAt("/m")), FailsWith(EINVAL)) << "it is empty now";
  auto dropped = *MountNamespace::CloneTree(PathAt("/d"), true);
  const Ref<Mount> kept = dropped->root();
  dropped = nullptr;
  EXPECT_FALSE(kept->IsAttached());
  EXPECT_FALSE(kept->HasChildren());
}

TEST_F(MountTest, PrimaryMount) {
  auto file_system = MountAt("/m");
  ASSERT_THAT(mounts_->Bind(PathAt("/m"), PathAt("/n"), false), Succeeds());
  EXPECT_EQ(mounts_->PrimaryMount(*file_system), At1("/m"));
  EXPECT_THAT(Detach("/m"), Succeeds());
  EXPECT_EQ(mounts_->PrimaryMount(*file_system), At1("/n"));
  EXPECT_THAT(Detach("/n"), Succeeds());
  EXPECT_FALSE(mounts_->PrimaryMount(*file_system));
}

TEST_F(MountTest, UnusedFileSystemsAreDropped) {
  auto file_system = MountAt("/m");
  TestFileSystem* raw = file_system.get();
  file_system = nullptr;
  File("/m/x");
  const size_t names = vfs_->dentries().size();
  vfs_->CollectUnused();
  EXPECT_EQ(raw->mount_count(), 1u);
  EXPECT_THAT(Detach("/m"), Succeeds());
  vfs_->CollectUnused();
  EXPECT_LT(vfs_->dentries().size(), names);
  MountAt("/m");
  EXPECT_THAT(Walk("/m/x"), FailsWith(ENOENT));
}

TEST_F(MountTest, PathTextOutsideTheRoot) {
  const Path sub = PathAt("/d/sub");
  EXPECT_EQ(vfs_->PathText(sub, PathAt("/m")), "/d/sub");
  EXPECT_EQ(*vfs_->WorkingDirectoryText(sub, PathAt("/m")), "(unreachable)/d/sub");
  EXPECT_EQ(*vfs_->WorkingDirectoryText(sub, PathAt("/d")), "/sub");
  EXPECT_EQ(*vfs_->WorkingDirectoryText(sub, sub), "/");
}

}  // namespace
}  // namespace usl::vfs
