// Shared subtrees: the examples of mount_namespaces(7) and of Linux's sharedsubtree.rst.
#include "vfs/mount.h"
#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

class PropagationTest : public VfsFixture {
 protected:
  PropagationTest() {
    for (const char* name : {"/a", "/b", "/c", "/d", "/a/in"}) Directory(name);
  }
  void MountAt(std::string_view path) {
    auto file_system = MakeRef<TestFileSystem>();
    EXPECT_THAT(mounts_->Attach(PathAt(path), file_system, vfs_->RootDentry(file_system), 0), Succeeds()) << path;
  }
  // A mount of a file system with directories 1 and 2.
  void MountTree(std::string_view path) {
    MountAt(path);
    Directory(std::string(path) + "/1");
    Directory(std::string(path) + "/2");
  }
  void Bind(std::string_view from, std::string_view to, bool recursive = false) {
    EXPECT_THAT(mounts_->Bind(PathAt(from), PathAt(to), recursive), Succeeds()) << to;
  }
  void Set(std::string_view path, unsigned type, bool recursive = false) {
    EXPECT_THAT(mounts_->SetPropagation(PathAt(path), type, recursive), Succeeds()) << path;
  }
  Result<void> Detach(std::string_view path, int flags = 0) { return mounts_->Detach(PathAt(path), flags, Idle); }
  bool IsMounted(std::string_view path) { return IsMountRoot(PathAt(path)); }
  Ref<Mount> At1(std::string_view path) { return PathAt(path).mount; }
};

TEST_F(PropagationTest, PeersSeeMountsAndUnmounts) {
  MountTree("/a");
  Set("/a", MS_SHARED);
  Bind("/a", "/b");
  EXPECT_EQ(At1("/a")->peer_group(), At1("/b")->peer_group());
  MountAt("/a/1");
  EXPECT_TRUE(IsMounted("/b/1"));
  EXPECT_EQ(&At1("/b/1")->file_system(), &At1("/a/1")->file_system());
  EXPECT_TRUE(At1("/a/1")->IsShared()) << "what is mounted on a shared mount becomes shared";
  EXPECT_EQ(At1("/a/1")->peer_group(), At1("/b/1")->peer_group());
  MountAt("/b/2");
  EXPECT_TRUE(IsMounted("/a/2"));
  EXPECT_THAT(Detach("/b/1"), Succeeds());
  EXPECT_FALSE(IsMounted("/a/1"));
  EXPECT_FALSE(IsMounted("/b/1"));
  EXPECT_EQ(mounts_->List().size(), 5u);
}

TEST_F(PropagationTest, SlavesReceiveOnly) {
  MountTree("/a");
  Set("/a", MS_SHARED);
  Bind("/a", "/b");
  Set("/b", MS_SLAVE);
  EXPECT_EQ(At1("/b")->master_group(), At1("/a")->peer_group());
  EXPECT_EQ(At1("/b")->peer_group(), 0u);
  MountAt("/a/1");
  ASSERT_TRUE(IsMounted("/b/1"));
  EXPECT_EQ(At1("/b/1")->master_group(), At1("/a/1")->peer_group());
  MountAt("/b/2");
  EXPECT_FALSE(IsMounted("/a/2"));
  EXPECT_THAT(Detach("/b/1"), Succeeds());
  EXPECT_TRUE(IsMounted("/a/1"));
  EXPECT_THAT(Detach("/a/1"), Succeeds()) << "with its slave gone already";
}

TEST_F(PropagationTest, SharedSlavesPassOn) {
  MountTree("/a");
  Set("/a", MS_SHARED);
  Bind("/a", "/b");
  Set("/b", MS_SLAVE);
  Set("/b", MS_SHARED);
  Bind("/b", "/c");
  Bind("/c", "/d");
  Set("/d", MS_SLAVE);
  EXPECT_EQ(At1("/c")->peer_group(), At1("/b")->peer_group());
  EXPECT_EQ(At1("/c")->master_group(), At1("/a")->peer_group());
  MountAt("/a/1");
  for (const char* place : {"/b/1", "/c/1", "/d/1"}) EXPECT_TRUE(IsMounted(place)) << place;
  EXPECT_EQ(At1("/b/1")->peer_group(), At1("/c/1")->peer_group());
  EXPECT_EQ(At1("/c/1")->master_group(), At1("/a/1")->peer_group());
  EXPECT_EQ(At1("/d/1")->master_group(), At1("/c/1")->peer_group());
  MountAt("/c/2");
  EXPECT_TRUE(IsMounted("/b/2"));
  EXPECT_TRUE(IsMounted("/d/2"));
  EXPECT_FALSE(IsMounted("/a/2"));
  EXPECT_THAT(Detach("/a/1", MNT_DETACH), Succeeds());
  for (const char* place : {"/b/1", "/c/1", "/d/1"}) EXPECT_FALSE(IsMounted(place)) << place;
}

TEST_F(PropagationTest, LastPeerHandsItsSlavesOn) {
  MountTree("/a");
  Set("/a", MS_SHARED);
  Bind("/a", "/b");
  Set("/b", MS_SLAVE);
  Set("/b", MS_SHARED);
  Bind("/b", "/c");
  Set("/c", MS_SLAVE);
  const uint32_t top = At1("/a")->peer_group();
  Set("/b", MS_PRIVATE);
  EXPECT_EQ(At1("/c")->master_group(), top);
  Set("/a", MS_PRIVATE);
  EXPECT_EQ(At1("/c")->master_group(), 0u);
  EXPECT_EQ(At1("/c")->propagation(), unsigned{MS_PRIVATE});
  MountAt("/a/1");
  EXPECT_FALSE(IsMounted("/c/1"));
}

TEST_F(PropagationTest, OnlyWhoSeesThePlace) {
  MountTree("/a");
  Directory("/a/1/deep");
  Set("/a", MS_SHARED);
  Bind("/a/1", "/b");
  MountAt("/a/2");
  EXPECT_EQ(mounts_->List().size(), 4u) << "/b shows another part";
  MountAt("/a/1/deep");
  EXPECT_TRUE(IsMounted("/b/deep"));
}

TEST_F(PropagationTest, NamespacesArePeers) {
  MountTree("/a");
  Set("/a", MS_SHARED);
  std::map<const Mount*, Ref<Mount>> map;
  auto copy = mounts_->Clone(map);
  const Path place{map[At1("/a").get()], PathAt("/a/1").dentry};
  MountAt("/a/1");
  Mount* there = place.mount->FindMounted(*place.dentry);
  ASSERT_TRUE(there);
  EXPECT_EQ(there->name_space(), copy.get());
  EXPECT_EQ(copy->List().size(), 3u);
  // The root is private in both.
  MountAt("/b");
  EXPECT_EQ(copy->List().size(), 3u);
  there = nullptr;
  EXPECT_THAT(copy->Detach(Path{place.mount, place.dentry}, 0, Idle), Succeeds());
  EXPECT_FALSE(IsMounted("/a/1"));
  copy = nullptr;
  map.clear();
  MountAt("/a/2");
  EXPECT_EQ(At1("/a")->group()->peers().size(), 1u) << "the copy's mounts have left";
}

TEST_F(PropagationTest, CopiesSlipBelowWhatIsThere) {
  MountTree("/a");
  Bind("/a", "/b");
  MountAt("/b/1");
  const Ref<Mount> covering = At1("/b/1");
  Set("/a", MS_SHARED);
  // /b is made a peer again, with its mount upon /b/1.
  ASSERT_THAT(mounts_->CopyPropagation(PathAt("/a"), PathAt("/b/..")), FailsWith(EINVAL));
  Bind("/a", "/c");
  Set("/c", MS_SLAVE);
  MountAt("/c/1");
  const Ref<Mount> on_slave = At1("/c/1");
  MountAt("/a/1");
  EXPECT_EQ(At1("/c/1"), on_slave) << "still on top";
  EXPECT_EQ(on_slave->parent()->root()->parent(), nullptr);
  EXPECT_EQ(on_slave->parent()->master_group(), At1("/a/1")->peer_group());
  EXPECT_THAT(Detach("/a/1"), Succeeds());
  EXPECT_EQ(At1("/c/1"), on_slave) << "what was below it has gone";
  EXPECT_EQ(on_slave->parent(), At1("/c").get());
}

TEST_F(PropagationTest, UnmountSparesWhatHasMountsBelow) {
  MountTree("/a");
  Set("/a", MS_SHARED);
  Bind("/a", "/b");
  Set("/b", MS_SLAVE);
  MountTree("/a/1");
  Set("/b/1", MS_PRIVATE);
  MountAt("/b/1/2");
  EXPECT_THAT(Detach("/a/1"), Succeeds());
  EXPECT_TRUE(IsMounted("/b/1/2"));
  EXPECT_TRUE(IsMounted("/b/1"));
}

TEST_F(PropagationTest, Moves) {
  MountTree("/a");
  Set("/a", MS_SHARED);
  Bind("/a", "/b");
  MountTree("/c");
  MountAt("/c/1");
  EXPECT_THAT(mounts_->Move(PathAt("/c"), PathAt("/a/1")), Succeeds());
  EXPECT_TRUE(IsMounted("/b/1"));
  EXPECT_TRUE(IsMounted("/b/1/1")) << "with its tree";
  EXPECT_THAT(mounts_->Move(PathAt("/a/1"), PathAt("/c")), FailsWith(EINVAL)) << "its parent is shared";
  MountAt("/d");
  Set("/d", MS_UNBINDABLE);
  EXPECT_THAT(mounts_->Move(PathAt("/d"), PathAt("/a/2")), FailsWith(EINVAL));
}

TEST_F(PropagationTest, RecursiveBindOfAUnbindableLeavesItOut) {
  MountTree("/a");
  MountAt("/a/1");
  Set("/a/1", MS_UNBINDABLE);
  EXPECT_EQ(At1("/a/1")->propagation(), unsigned{MS_UNBINDABLE});
  Bind("/a", "/b", true);
  EXPECT_FALSE(IsMounted("/b/1"));
  Set("/a/1", MS_SHARED);
  Set("/a/1", MS_SLAVE);
  EXPECT_EQ(At1("/a/1")->propagation(), unsigned{MS_PRIVATE}) << "a slave of nobody";
}

TEST_F(PropagationTest, Beneath) {
  MountTree("/a");
  MountTree("/b");
  File("/b/lower");
  File("/a/upper");
  EXPECT_THAT(mounts_->Move(PathAt("/b"), PathAt("/a"), true), Succeeds());
  EXPECT_THAT(Walk("/a/upper"), Succeeds());
  EXPECT_FALSE(IsMounted("/b"));
  EXPECT_THAT(Detach("/a"), Succeeds());
  EXPECT_THAT(Walk("/a/lower"), Succeeds());
  EXPECT_THAT(mounts_->Move(PathAt("/a"), PathAt("/c"), true), FailsWith(EINVAL)) << "nothing to be beneath of";
}

TEST_F(PropagationTest, Groups) {
  MountTree("/a");
  Set("/a", MS_SHARED);
  Bind("/a", "/b");
  Set("/b", MS_PRIVATE);
  EXPECT_THAT(MountNamespace::CopyPropagation(PathAt("/a"), PathAt("/b")), Succeeds());
  MountAt("/b/2");
  EXPECT_TRUE(IsMounted("/a/2"));
  EXPECT_THAT(MountNamespace::CopyPropagation(PathAt("/a"), PathAt("/b")), FailsWith(EINVAL)) << "shared already";
}

TEST_F(PropagationTest, RemovedDirectoriesAreUnmountedElsewhere) {
  std::map<const Mount*, Ref<Mount>> map;
  auto copy = mounts_->Clone(map);
  auto file_system = MakeRef<TestFileSystem>();
  const Path there{map[root_.mount.get()], PathAt("/c").dentry};
  ASSERT_THAT(copy->Attach(there, file_system, vfs_->RootDentry(file_system), 0), Succeeds());
  EXPECT_THAT(vfs_->RemoveDirectory(As(super_), At("/c")), Succeeds()) << "nothing is mounted in this namespace";
  EXPECT_EQ(copy->List().size(), 1u);
}

TEST_F(PropagationTest, ExpiryAsksTwice) {
  MountAt("/c");
  EXPECT_THAT(Detach("/c", MNT_EXPIRE), FailsWith(EAGAIN));
  EXPECT_THAT(Walk("/c"), Succeeds()) << "used in between";
  EXPECT_THAT(Detach("/c", MNT_EXPIRE), FailsWith(EAGAIN));
  EXPECT_THAT(Detach("/c", MNT_EXPIRE), Succeeds());
}

}  // namespace
}  // namespace usl::vfs
