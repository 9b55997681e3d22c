// POSIX access control lists (acl(5)): what they grant, what creation makes of a default list, what chmod does to them.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr const char* kAccess = "system.posix_acl_access";
constexpr const char* kDefault = "system.posix_acl_default";
enum : uint16_t { kOwner = 1, kNamedUser = 2, kOwningGroup = 4, kNamedGroup = 8, kMask = 16, kOther = 32 };
constexpr uint32_t kNoId = ~uint32_t{0};

struct Entry {
  uint16_t tag;
  uint16_t permissions;
  uint32_t id = kNoId;
  bool operator==(const Entry&) const = default;
};
using Acl = std::vector<Entry>;

std::string Blob(const Acl& acl) {
  std::string blob("\2\0\0\0", 4);
  blob.append(reinterpret_cast<const char*>(acl.data()), acl.size() * sizeof(Entry));
  return blob;
}
int Set(const std::string& path, const char* name, const Acl& acl) {
  const std::string blob = Blob(acl);
  return setxattr(path.c_str(), name, blob.data(), blob.size(), 0);
}
// Empty when there is none.
Acl Get(const std::string& path, const char* name) {
  char blob[1024];
  const ssize_t size = getxattr(path.c_str(), name, blob, sizeof blob);
  if (size < 4) return {};
  Acl acl((static_cast<size_t>(size) - 4) / sizeof(Entry));
  memcpy(acl.data(), blob + 4, acl.size() * sizeof(Entry));
  return acl;
}
const Acl kTypical = {{kOwner, 7}, {kNamedUser, 7, kUser}, {kOwningGroup, 5}, {kNamedGroup, 6, kGroup}, {kMask, 7},
                      {kOther, 0}};

int Opens(uid_t uid, gid_t gid, const std::vector<gid_t>& groups, const std::string& path, int flags) {
  return ErrnoAs(uid, gid, groups, [&] { return open(path.c_str(), flags); });
}

TEST(Acl, NamedUsersAndGroups) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "x", 0600);
  constexpr gid_t kNone = 4999;
  ASSERT_THAT(Set(path, kAccess,
                  {{kOwner, 6},
                   {kNamedUser, 4, kUser},
                   {kOwningGroup, 0},
                   {kNamedGroup, 2, kGroup},
                   {kNamedGroup, 4, kOtherGroup},
                   {kMask, 6},
                   {kOther, 0}}),
              SyscallSucceeds());
  EXPECT_EQ(Opens(kUser, kNone, {}, path, O_RDONLY), 0);
  EXPECT_EQ(Opens(kUser, kNone, {}, path, O_WRONLY), EACCES);
  // A named user's entry decides alone: the group would let him write.
  EXPECT_EQ(Opens(kUser, kGroup, {}, path, O_WRONLY), EACCES);
  EXPECT_EQ(Opens(kOtherUser, kGroup, {}, path, O_WRONLY), 0);
  EXPECT_EQ(Opens(kOtherUser, kGroup, {}, path, O_RDONLY), EACCES);
  // One entry must grant all that is asked for.
  EXPECT_EQ(Opens(kOtherUser, kGroup, {kOtherGroup}, path, O_RDONLY), 0);
  EXPECT_EQ(Opens(kOtherUser, kGroup, {kOtherGroup}, path, O_RDWR), EACCES);
  EXPECT_EQ(Opens(kOtherUser, kNone, {}, path, O_RDONLY), EACCES);
}

TEST(Acl, TheMaskLimitsAllButOwnerAndOthers) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "x", 0600);
  ASSERT_THAT(Set(path, kAccess, {{kOwner, 6}, {kNamedUser, 6, kUser}, {kOwningGroup, 6}, {kMask, 4}, {kOther, 6}}),
              SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 0646u);
  EXPECT_EQ(Opens(kUser, kGroup, {}, path, O_RDWR), EACCES);
  EXPECT_EQ(Opens(kUser, kGroup, {}, path, O_RDONLY), 0);
  EXPECT_EQ(Opens(kOtherUser, 0, {}, path, O_RDWR), EACCES) << "of the owning group";
  EXPECT_EQ(Opens(kOtherUser, kGroup, {}, path, O_RDWR), 0);
  // With a mask of nothing Linux still asks the list: others are no way around it.
  ASSERT_THAT(chmod(path.c_str(), 0606), SyscallSucceeds());
  EXPECT_EQ(Opens(kUser, kGroup, {}, path, O_RDONLY), 0) << "Linux skips the list when the group bits are empty";
}

TEST(Acl, ChmodChangesTheMask) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0600);
  ASSERT_THAT(Set(path, kAccess, kTypical), SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 0770u);
  ASSERT_THAT(chmod(path.c_str(), 0654), SyscallSucceeds());
  EXPECT_EQ(
      Get(path, kAccess),
      (Acl{{kOwner, 6}, {kNamedUser, 7, kUser}, {kOwningGroup, 5}, {kNamedGroup, 6, kGroup}, {kMask, 5}, {kOther, 4}}));
  EXPECT_EQ(ModeOf(path), 0654u);
}

TEST(Acl, WhatModeBitsCanSayIsNotKept) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0600);
  ASSERT_THAT(Set(path, kAccess, {{kOwner, 6}, {kOwningGroup, 4}, {kOther, 1}}), SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 0641u);
  EXPECT_THAT(getxattr(path.c_str(), kAccess, nullptr, 0), SyscallFailsWithErrno(ENODATA));
  EXPECT_THAT(listxattr(path.c_str(), nullptr, 0), SyscallSucceedsWithValue(0));
  ASSERT_THAT(Set(path, kAccess, {{kOwner, 6}, {kOwningGroup, 4}, {kMask, 6}, {kOther, 1}}), SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 0661u);
  EXPECT_EQ(Get(path, kAccess).size(), 4u) << "a mask is kept";
  ASSERT_THAT(removexattr(path.c_str(), kAccess), SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 0661u);
  EXPECT_THAT(removexattr(path.c_str(), kAccess), SyscallSucceeds()) << "there being none is no error";
  EXPECT_THAT(setxattr(path.c_str(), kAccess, "", 0, 0), SyscallSucceeds());
}

TEST(Acl, WrongLists) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  const Acl wrong[] = {
      {{kOwner, 7}},
      {{kOwner, 7}, {kOwningGroup, 7}},
      {{kOwner, 7}, {kOther, 7}, {kOwningGroup, 7}},
      {{kOwner, 7}, {kNamedUser, 7, 1}, {kOwningGroup, 7}, {kOther, 7}},
      {{kOwner, 8}, {kOwningGroup, 7}, {kOther, 7}},
      {{kOwner, 7}, {kOwner, 7}, {kOwningGroup, 7}, {kOther, 7}},
      {{kOwner, 7}, {kNamedUser, 7}, {kOwningGroup, 7}, {kMask, 7}, {kOther, 7}},
      {{kOwner, 7}, {64, 7}, {kOwningGroup, 7}, {kOther, 7}},
      {{kNamedUser, 7, 1}, {kOwner, 7}, {kOwningGroup, 7}, {kMask, 7}, {kOther, 7}},
  };
  for (const Acl& acl : wrong) EXPECT_THAT(Set(path, kAccess, acl), SyscallFailsWithErrno(EINVAL));
  const std::string blob = Blob(kTypical);
  EXPECT_THAT(setxattr(path.c_str(), kAccess, blob.data(), blob.size() - 1, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(setxattr(path.c_str(), kAccess, blob.data(), 3, 0), SyscallFailsWithErrno(EINVAL));
  std::string version = blob;
  version[0] = 3;
  EXPECT_THAT(setxattr(path.c_str(), kAccess, version.data(), version.size(), 0), SyscallFailsWithErrno(EOPNOTSUPP));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return Set(path, kAccess, kTypical); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return removexattr(path.c_str(), kAccess); }), EPERM);
  EXPECT_THAT(Set(path, kDefault, kTypical), SyscallFailsWithErrno(EACCES)) << "no directory";
  EXPECT_THAT(removexattr(path.c_str(), kDefault), SyscallSucceeds());
  ASSERT_THAT(symlink("f", (dir / "l").c_str()), SyscallSucceeds());
  EXPECT_THAT(lsetxattr((dir / "l").c_str(), kAccess, blob.data(), blob.size(), 0), SyscallFailsWithErrno(EOPNOTSUPP));
  // What is no id is not looked at, and comes back as none.
  ASSERT_THAT(Set(path, kAccess, {{kOwner, 7, 5}, {kOwningGroup, 7, 6}, {kMask, 7, 7}, {kOther, 7, 8}}),
              SyscallSucceeds());
  EXPECT_EQ(Get(path, kAccess).front().id, kNoId);
}

class DefaultAcl : public ::testing::Test {
 protected:
  DefaultAcl() : directory_(dir_.Directory("d", 0755)) {
    EXPECT_THAT(Set(directory_, kDefault, kTypical), SyscallSucceeds());
  }
  const TempDirectory dir_;
  std::string directory_;
};

TEST_F(DefaultAcl, TakesTheUmasksPlace) {
  const ScopedUmask mask(077);
  const std::string file = directory_ + "/f", sub = directory_ + "/sub", fifo = directory_ + "/fifo";
  ASSERT_THAT(Fd(open(file.c_str(), O_CREAT | O_WRONLY, 0666)).get(), SyscallSucceeds());
  EXPECT_EQ(ModeOf(file), 0660u);
  EXPECT_EQ(
      Get(file, kAccess),
      (Acl{{kOwner, 6}, {kNamedUser, 7, kUser}, {kOwningGroup, 5}, {kNamedGroup, 6, kGroup}, {kMask, 6}, {kOther, 0}}));
  ASSERT_THAT(mkdir(sub.c_str(), 0755), SyscallSucceeds());
  EXPECT_EQ(ModeOf(sub), 0750u);
  EXPECT_EQ(Get(sub, kDefault), kTypical);
  EXPECT_EQ(
      Get(sub, kAccess),
      (Acl{{kOwner, 7}, {kNamedUser, 7, kUser}, {kOwningGroup, 5}, {kNamedGroup, 6, kGroup}, {kMask, 5}, {kOther, 0}}));
  ASSERT_THAT(mkfifo(fifo.c_str(), 0622), SyscallSucceeds());
  EXPECT_EQ(ModeOf(fifo), 0620u);
  EXPECT_EQ(Get(fifo, kAccess).size(), kTypical.size());
  ASSERT_THAT(symlink("x", (directory_ + "/l").c_str()), SyscallSucceeds());
  EXPECT_THAT(lgetxattr((directory_ + "/l").c_str(), kAccess, nullptr, 0), SyscallFailsWithErrno(EOPNOTSUPP));
  const Fd unnamed(open(directory_.c_str(), O_TMPFILE | O_RDWR, 0640));
  ASSERT_THAT(unnamed.get(), SyscallSucceeds());
  char blob[256];
  EXPECT_THAT(fgetxattr(unnamed.get(), kAccess, blob, sizeof blob), SyscallSucceedsWithValue(Blob(kTypical).size()));
}

TEST_F(DefaultAcl, SimpleOnesOnlySetTheMode) {
  const ScopedUmask mask(077);
  ASSERT_THAT(Set(directory_, kDefault, {{kOwner, 7}, {kOwningGroup, 5}, {kOther, 4}}), SyscallSucceeds());
  const std::string file = directory_ + "/f", sub = directory_ + "/sub";
  ASSERT_THAT(Fd(open(file.c_str(), O_CREAT | O_WRONLY, 0666)).get(), SyscallSucceeds());
  EXPECT_EQ(ModeOf(file), 0644u);
  EXPECT_TRUE(Get(file, kAccess).empty());
  ASSERT_THAT(mkdir(sub.c_str(), 0777), SyscallSucceeds());
  EXPECT_EQ(ModeOf(sub), 0754u);
  EXPECT_EQ(Get(sub, kDefault).size(), 3u);
}

TEST_F(DefaultAcl, HasNoSayInAccess) {
  EXPECT_EQ(ModeOf(directory_), 0755u);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mkdir((directory_ + "/x").c_str(), 0700); }), EACCES);
  ASSERT_THAT(Set(directory_, kAccess, kTypical), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mkdir((directory_ + "/x").c_str(), 0700); }), 0);
  EXPECT_EQ(StatOf(directory_ + "/x").st_uid, kUser);
  ASSERT_THAT(removexattr(directory_.c_str(), kDefault), SyscallSucceeds());
  EXPECT_TRUE(Get(directory_, kDefault).empty());
  EXPECT_EQ(Get(directory_, kAccess), kTypical);
}

TEST_F(DefaultAcl, GoesWithSetgid) {
  ASSERT_THAT(chmod(directory_.c_str(), 02777), SyscallSucceeds());
  ASSERT_THAT(chown(directory_.c_str(), 0, kOtherGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(directory_.c_str(), 02777), SyscallSucceeds());
  ASSERT_THAT(mkdir((directory_ + "/sub").c_str(), 0777), SyscallSucceeds());
  EXPECT_EQ(ModeOf(directory_ + "/sub"), 02770u);
  EXPECT_EQ(StatOf(directory_ + "/sub").st_gid, kOtherGroup);
  // A list set by somebody outside of the group takes the bit away.
  const std::string file = dir_.File("f", "", 0644);
  ASSERT_THAT(chown(file.c_str(), kUser, kOtherGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(file.c_str(), 02755), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return Set(file, kAccess, kTypical); }), 0);
  EXPECT_EQ(ModeOf(file), 0770u);
}

}  // namespace
}  // namespace usl::conformance
