// A Vfs with a root of TestFileSystem and short names for calls on behalf of root or of a user, for the tests of vfs.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "vfs/test_file_system.h"
#include "vfs/vfs.h"

namespace usl::vfs {

MATCHER_P(FailsWith, code, "fails with errno " + ::testing::PrintToString(code)) {
  if (arg.has_value()) {
    *result_listener << "succeeded";
    return false;
  }
  *result_listener << "failed with " << arg.error().code();
  return arg.error().code() == code;
}

MATCHER(Succeeds, "succeeds") {
  if (!arg.has_value()) *result_listener << "failed with " << arg.error().code();
  return arg.has_value();
}

// For MountNamespace::Detach.
inline bool Idle(const Mount&) {
  return false;
}
inline bool Busy(const Mount&) {
  return true;
}

class VfsFixture : public ::testing::Test {
 protected:
  VfsFixture() {
    std::string name = ::testing::TempDir() + "vfs.XXXXXX";
    runtime_ = ::mkdtemp(name.data());
    vfs_ = std::move(*Vfs::Create(runtime_));
    tests_ = MakeRef<TestFileSystem>();
    mounts_ = MakeRef<MountNamespace>();
    EXPECT_TRUE(mounts_->MountRoot(tests_, vfs_->RootDentry(tests_), 0));
    root_ = cwd_ = Path{mounts_->root(), mounts_->root()->root()};
  }
  ~VfsFixture() override {
    root_ = cwd_ = {};
    mounts_ = nullptr;
    vfs_.reset();
    std::filesystem::remove_all(runtime_);
  }

  Context As(const cred::Credentials& who) { return {.credentials = who, .root = root_, .cwd = cwd_, .umask = umask_}; }
  Location At(std::string_view path) { return {.at = cwd_, .path = path}; }

  // As root, and expected to work.
  void Directory(std::string_view path, mode_t mode = 0755, uid_t uid = 0, gid_t gid = 0) {
    EXPECT_THAT(vfs_->MakeDirectory(As(super_), At(path), 0700), Succeeds()) << path;
    Own(path, mode, uid, gid);
  }
  void File(std::string_view path, mode_t mode = 0644, uid_t uid = 0, gid_t gid = 0) {
    EXPECT_THAT(vfs_->MakeNode(As(super_), At(path), S_IFREG | 0600, 0), Succeeds()) << path;
    Own(path, mode, uid, gid);
  }
  void Node(std::string_view path, mode_t mode, dev_t device = 0) {
    EXPECT_THAT(vfs_->MakeNode(As(super_), At(path), mode, device), Succeeds()) << path;
  }
  void Symlink(std::string_view path, std::string_view target, uid_t uid = 0) {
    EXPECT_THAT(vfs_->MakeSymlink(As(super_), At(path), target), Succeeds()) << path;
    InodeAt(path).attributes.uid = uid;
  }
  void Own(std::string_view path, mode_t mode, uid_t uid, gid_t gid) {
    TestInode& inode = InodeAt(path);
    inode.attributes.mode = inode.type() | mode;
    inode.attributes.uid = uid;
    inode.attributes.gid = gid;
  }
  TestInode& InodeAt(std::string_view path) {
    auto found = vfs_->Walk(As(super_), At(path), Vfs::kNoFollow);
    EXPECT_THAT(found, Succeeds()) << path;
    return static_cast<TestInode&>(*found->inode());
  }
  FileIdentity Identity(std::string_view path) {
    auto found = vfs_->Walk(As(super_), At(path), Vfs::kNoFollow);
    EXPECT_THAT(found, Succeeds()) << path;
    return {*found, found->dentry->inode()};
  }
  Path PathAt(std::string_view path) { return Identity(path).path; }
  uint32_t Mode(std::string_view path) { return InodeAt(path).attributes.mode & 07777; }

  // The text of where a walk leads.
  Result<std::string> Walk(std::string_view path, uint64_t resolve = 0, unsigned flags = 0) {
    auto found = vfs_->Walk(As(super_), At(path), flags, resolve);
    if (!found) return Fail(found.error());
    return vfs_->PathText(*found, root_);
  }
  // The same, or "errno N".
  std::string WalkText(std::string_view path, uint64_t resolve = 0, unsigned flags = 0) {
    auto text = Walk(path, resolve, flags);
    return text ? *text : "errno " + std::to_string(text.error().code());
  }
  Result<OpenedFile> Open(const cred::Credentials& who, std::string_view path, int flags, mode_t mode = 0644,
                          uint64_t resolve = 0) {
    return vfs_->Open(As(who), At(path), {flags, mode, resolve});
  }

  std::string runtime_;
  std::unique_ptr<Vfs> vfs_;
  Ref<TestFileSystem> tests_;
  Ref<MountNamespace> mounts_;
  Path root_, cwd_;
  mode_t umask_ = 022;
  const cred::Credentials super_ = cred::RootCredentials();
  const cred::Credentials alice_ = cred::UserCredentials(1000, 1000, {1000, 50});
  const cred::Credentials bob_ = cred::UserCredentials(1001, 1001, {1001});
};

}  // namespace usl::vfs
