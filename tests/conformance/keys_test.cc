// add_key(2), request_key(2), keyctl(2), and what /proc shows of keys.
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

using ::testing::HasSubstr;

long AddKey(const char* type, const char* description, const char* payload, int ring) {
  return syscall(SYS_add_key, type, description, payload, payload ? strlen(payload) : 0, ring);
}
long Keyctl(int operation, long a = 0, long b = 0, long c = 0, long d = 0) {
  return syscall(SYS_keyctl, operation, a, b, c, d);
}
long Pointer(const void* p) {
  return reinterpret_cast<long>(p);
}

std::string Describe(long key) {
  char buffer[256];
  const long size = Keyctl(KEYCTL_DESCRIBE, key, Pointer(buffer), sizeof buffer);
  return size <= 0 ? "" : std::string(buffer, static_cast<size_t>(size) - 1);
}

std::string Read(long key) {
  char buffer[256];
  const long size = Keyctl(KEYCTL_READ, key, Pointer(buffer), sizeof buffer);
  return size < 0 ? "errno" : std::string(buffer, static_cast<size_t>(size));
}

// Each test has a session keyring of its own; its name would be found again by the next.
class Keys : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0) < 0 && errno == ENOSYS) GTEST_SKIP() << "this kernel has no keys";
  }
};

TEST_F(Keys, AreAddedDescribedReadAndUpdated) {
  const long key = AddKey("user", "usl:a", "first", KEY_SPEC_SESSION_KEYRING);
  ASSERT_GT(key, 0);
  EXPECT_EQ(Describe(key), "user;0;0;3f010000;usl:a");
  EXPECT_EQ(Read(key), "first");
  EXPECT_EQ(AddKey("user", "usl:a", "second", KEY_SPEC_SESSION_KEYRING), key);
  EXPECT_EQ(Read(key), "second");
  EXPECT_THAT(Keyctl(KEYCTL_UPDATE, key, Pointer("third"), 5), SyscallSucceeds());
  EXPECT_EQ(Read(key), "third");
  EXPECT_EQ(syscall(SYS_request_key, "user", "usl:a", nullptr, 0), key);
  EXPECT_EQ(Keyctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, Pointer("user"), Pointer("usl:a"), 0), key);
  EXPECT_EQ(Describe(KEY_SPEC_SESSION_KEYRING), "keyring;0;0;3f030000;_ses");
  EXPECT_EQ(Describe(KEY_SPEC_USER_KEYRING), "keyring;0;65534;1f3f0000;_uid.0");
}

TEST_F(Keys, ShortBuffersGetTheSizeOnly) {
  const long key = AddKey("user", "usl:short", "payload", KEY_SPEC_SESSION_KEYRING);
  char buffer[8] = "xxxxxxx";
  EXPECT_EQ(Keyctl(KEYCTL_READ, key, Pointer(buffer), 3), 7);
  EXPECT_STREQ(buffer, "xxxxxxx");
  EXPECT_EQ(Keyctl(KEYCTL_READ, key, 0, 0), 7);
  EXPECT_EQ(Keyctl(KEYCTL_DESCRIBE, key, 0, 0), static_cast<long>(strlen("user;0;0;3f010000;usl:short") + 1));
}

TEST_F(Keys, BadArgumentsAreRefused) {
  constexpr int kRing = KEY_SPEC_SESSION_KEYRING;
  EXPECT_THAT(AddKey("user", "", "x", kRing), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(AddKey("user", "x", nullptr, kRing), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(AddKey("", "x", "x", kRing), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(AddKey(".dot", "x", "x", kRing), SyscallFailsWithErrno(EPERM));
  EXPECT_THAT(AddKey("keyring", ".x", nullptr, kRing), SyscallFailsWithErrno(EPERM));
  EXPECT_THAT(AddKey("usl-none", "x", "x", kRing), SyscallFailsWithErrno(ENODEV));
  EXPECT_THAT(AddKey("logon", "nocolon", "x", kRing), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(AddKey("keyring", "x", "payload", kRing), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(AddKey("user", "x", "x", 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(AddKey("user", "x", "x", 0x7ffffff0), SyscallFailsWithErrno(ENOKEY));
  EXPECT_THAT(AddKey(kWildPointer, "x", "x", kRing), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(AddKey("user", kWildPointer, "x", kRing), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(syscall(SYS_add_key, "user", "x", kWildPointer, 4, kRing), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(syscall(SYS_add_key, "user", "x", "x", 1 << 20, kRing), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_request_key, "user", "usl:nothing", nullptr, 0), SyscallFailsWithErrno(ENOKEY));
  EXPECT_THAT(Keyctl(77), SyscallFailsWithErrno(EOPNOTSUPP));
  EXPECT_THAT(Keyctl(KEYCTL_INSTANTIATE, 1, 0, 0, 0), SyscallFailsWithErrno(EPERM));
  EXPECT_THAT(Keyctl(KEYCTL_ASSUME_AUTHORITY, -1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_GROUP_KEYRING), SyscallFailsWithErrno(EINVAL));
}

TEST_F(Keys, KeyringsLinkAndUnlink) {
  const long ring = AddKey("keyring", "usl:ring", nullptr, KEY_SPEC_SESSION_KEYRING);
  const long key = AddKey("user", "usl:k", "x", ring);
  ASSERT_GT(key, 0);
  int serial = 0;
  EXPECT_EQ(Keyctl(KEYCTL_READ, ring, Pointer(&serial), sizeof serial), 4);
  EXPECT_EQ(serial, key);
  EXPECT_THAT(Keyctl(KEYCTL_LINK, key, KEY_SPEC_SESSION_KEYRING), SyscallSucceeds());
  EXPECT_THAT(Keyctl(KEYCTL_LINK, KEY_SPEC_SESSION_KEYRING, ring), SyscallFailsWithErrno(EDEADLK));
  EXPECT_THAT(Keyctl(KEYCTL_LINK, ring, key), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(Keyctl(KEYCTL_UNLINK, key, ring), SyscallSucceeds());
  EXPECT_THAT(Keyctl(KEYCTL_UNLINK, key, ring), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(Keyctl(KEYCTL_CLEAR, ring), SyscallSucceeds());
  EXPECT_THAT(Keyctl(KEYCTL_CLEAR, key), SyscallFailsWithErrno(ENOTDIR));
}

TEST_F(Keys, AreRevokedInvalidatedAndExpire) {
  const long key = AddKey("user", "usl:r", "x", KEY_SPEC_SESSION_KEYRING);
  EXPECT_THAT(Keyctl(KEYCTL_REVOKE, key), SyscallSucceeds());
  EXPECT_THAT(Keyctl(KEYCTL_READ, key, 0, 0), SyscallFailsWithErrno(EKEYREVOKED));
  EXPECT_THAT(Keyctl(KEYCTL_DESCRIBE, key, 0, 0), SyscallFailsWithErrno(EKEYREVOKED));
  const long other = AddKey("user", "usl:i", "x", KEY_SPEC_SESSION_KEYRING);
  EXPECT_THAT(Keyctl(KEYCTL_INVALIDATE, other), SyscallSucceeds());
  EXPECT_THAT(Keyctl(KEYCTL_DESCRIBE, other, 0, 0), SyscallFailsWithErrno(ENOKEY));
  const long third = AddKey("user", "usl:t", "x", KEY_SPEC_SESSION_KEYRING);
  EXPECT_THAT(Keyctl(KEYCTL_SET_TIMEOUT, third, 1), SyscallSucceeds());
  while (Keyctl(KEYCTL_DESCRIBE, third, 0, 0) > 0) usleep(50'000);
  EXPECT_EQ(errno, EKEYEXPIRED);
}

TEST_F(Keys, PermissionsAreChecked) {
  const long key = AddKey("user", "usl:p", "x", KEY_SPEC_SESSION_KEYRING);
  EXPECT_THAT(Keyctl(KEYCTL_SETPERM, key, 0x40000000), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Keyctl(KEYCTL_SETPERM, key, 0x3f000000), SyscallSucceeds());
  // Another user still possesses what is in the session that it inherited.
  EXPECT_EQ(ErrnoAs(kUser, [&] { return Keyctl(KEYCTL_READ, key, 0, 0); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return Keyctl(KEYCTL_CHOWN, key, kUser, -1); }), EACCES);
  EXPECT_EQ(
      ErrnoAs(kUser, [&] { return Keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0) < 0 ? -1 : Keyctl(KEYCTL_READ, key, 0, 0); }),
      EACCES);
  EXPECT_THAT(Keyctl(KEYCTL_SETPERM, key, 0x3d000000), SyscallSucceeds());
  EXPECT_EQ(Read(key), "x");  // what may be searched for in one's own keyrings may be read
  EXPECT_THAT(Keyctl(KEYCTL_CHOWN, key, kUser, kGroup), SyscallSucceeds());
}

TEST_F(Keys, ProcessKeyringsAreNotInherited) {
  const long thread = Keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 1);
  const long process = Keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1);
  const long session = Keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
  ASSERT_GT(thread, 0);
  ASSERT_GT(process, 0);
  EXPECT_EQ(Describe(thread), "keyring;0;0;3f010000;_tid");
  EXPECT_EQ(Describe(process), "keyring;0;0;3f010000;_pid");
  EXPECT_TRUE(InChild([&] {
    const bool none = Keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 0) < 0 && errno == ENOKEY &&
                      Keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0) < 0 && errno == ENOKEY;
    return none && Keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) == session;
  }));
}

TEST_F(Keys, DefaultsForRequestsAreKept) {
  EXPECT_TRUE(InChild([] {
    return Keyctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_USER_KEYRING) == KEY_REQKEY_DEFL_DEFAULT &&
           Keyctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_NO_CHANGE) == KEY_REQKEY_DEFL_USER_KEYRING;
  }));
  EXPECT_THAT(Keyctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_GROUP_KEYRING), SyscallFailsWithErrno(EINVAL));
}

TEST_F(Keys, MovedAndRestricted) {
  const long from = AddKey("keyring", "usl:from", nullptr, KEY_SPEC_SESSION_KEYRING);
  const long to = AddKey("keyring", "usl:to", nullptr, KEY_SPEC_SESSION_KEYRING);
  const long key = AddKey("user", "usl:m", "x", from);
  EXPECT_THAT(Keyctl(KEYCTL_MOVE, key, from, to, 0), SyscallSucceeds());
  EXPECT_THAT(Keyctl(KEYCTL_MOVE, key, from, to, 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(Keyctl(KEYCTL_MOVE, key, from, to, 8), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Keyctl(KEYCTL_RESTRICT_KEYRING, to, 0, 0), SyscallSucceeds());
  EXPECT_THAT(AddKey("user", "usl:n", "x", static_cast<int>(to)), SyscallFailsWithErrno(EPERM));
}

TEST_F(Keys, ProcShowsThem) {
  const long key = AddKey("user", "usl:shown", "four", KEY_SPEC_SESSION_KEYRING);
  char serial[16];
  snprintf(serial, sizeof serial, "%08lx", key);
  const std::string keys = ReadFile("/proc/keys");
  EXPECT_THAT(keys,
              HasSubstr(std::string(serial) + " I--Q---     1 perm 3f010000     0     0 user      usl:shown: 4\n"));
  EXPECT_THAT(ReadFile("/proc/key-users"), HasSubstr("    0: "));
}

}  // namespace
}  // namespace usl::conformance
