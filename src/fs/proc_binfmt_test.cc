#include "fs/proc_binfmt.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "fs/synthetic_test_util.h"

namespace usl::fs {
namespace {

using ::testing::Contains;
using ::testing::Not;

constexpr std::string_view kArm =
    ":qemu-aarch64:M:0:\\x7fELF\\x02\\x01\\x01\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00:/usr/bin/"
    "qemu-aarch64:POC\n";

class BinfmtTest : public ::testing::Test {
 protected:
  BinfmtTest() { instance_.watcher = &watcher_; }
  int Register(std::string_view line) {
    const auto done = binfmt_->Register(WriterContext(context_.get()), line);
    return done ? 0 : done.error().code();
  }
  const BinfmtEntry* Match(std::string_view head, std::string_view path = "/x") {
    return binfmt_->Match(std::as_bytes(std::span(head.data(), head.size())), path);
  }
  void Write(std::string_view file, std::string_view data) {
    const UniqueFd fd = *binfmt_->WalkPath(file)->Open(O_WRONLY, context_.get());
    ASSERT_EQ(write(fd.get(), data.data(), data.size()), static_cast<ssize_t>(data.size()));
    watcher_.Drain();
  }
  InotifyWriteWatcher watcher_ = *InotifyWriteWatcher::Create();
  SyntheticInstance instance_;
  TestContext context_;
  Ref<BinfmtMisc> binfmt_ = BinfmtMisc::Create(instance_, nullptr);
};

TEST_F(BinfmtTest, RegistersMatchesAndRemoves) {
  Write("/register", kArm);
  EXPECT_THAT(ListNames(*binfmt_->root()), Contains("qemu-aarch64"));
  const BinfmtEntry* entry =
      Match(std::string_view("\x7f"
                             "ELF\x02\x01\x01\x09rest",
                             12));
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->interpreter, "/usr/bin/qemu-aarch64");
  EXPECT_TRUE(entry->preserve_argv0 && entry->open_binary && entry->credentials && !entry->fix_interpreter);
  EXPECT_FALSE(
      Match("\x7f"
            "ELF\x01"));
  EXPECT_FALSE(Match(""));
  const UniqueFd fd = *binfmt_->WalkPath("/qemu-aarch64")->Open(O_RDONLY, context_.get());
  EXPECT_EQ(ReadFd(fd.get()),
            "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: POC\noffset 0\nmagic 7f454c4602010100\n"
            "mask ffffffffffffff00\n");
  Write("/qemu-aarch64", "0");
  EXPECT_FALSE(
      Match(std::string_view("\x7f"
                             "ELF\x02\x01\x01\x00",
                             8)));
  Write("/qemu-aarch64", "-1");
  EXPECT_THAT(ListNames(*binfmt_->root()), Not(Contains("qemu-aarch64")));
}

TEST_F(BinfmtTest, ExtensionsAndTheNewestEntryCount) {
  EXPECT_EQ(Register(",one,E,,exe,,/bin/one,"), 0);
  EXPECT_EQ(Register(",two,E,,exe,,/bin/two,"), 0);
  EXPECT_EQ(Register(",two,E,,exe,,/bin/two,"), EEXIST);
  ASSERT_TRUE(Match("MZ", "/a/b.exe"));
  EXPECT_EQ(Match("MZ", "/a/b.exe")->name, "two");
  EXPECT_FALSE(Match("MZ", "/a/b.com"));
  EXPECT_FALSE(Match("MZ", "/a.exe/b"));
  Write("/status", "0\n");
  EXPECT_FALSE(Match("MZ", "/a/b.exe"));
  Write("/status", "-1\n");
  EXPECT_TRUE(binfmt_->entries().empty());
}

TEST_F(BinfmtTest, RefusesWhatLinuxRefuses) {
  for (const char* line :
       {"", ":", ":a:M:0:xx", ":a:X:0:xx::/bin/i:", ":..:E::exe::/bin/i:", ":a/b:E::exe::/bin/i:",
        ":status:E::exe::/bin/i:", ":a:E::e/e::/bin/i:", ":a:E::::/bin/i:", ":a:M:0:::/bin/i:", ":a:M:256:x::/bin/i:",
        ":a:M:-1:x::/bin/i:", ":a:M:99999999999999999999:x::/bin/i:", ":a:M:0:xx:\\xff:/bin/i:",
        ":a:M:0:\\xg0::/bin/i:", ":a:M:0:x:::", ":a:M:0:x::/bin/i:Z", ":a:M:0:\\x:\\x:/bin/i:"}) {
    EXPECT_EQ(Register(line), EINVAL) << line;
  }
  EXPECT_EQ(Register(":a:M:0:x::/bin/i:F"), EINVAL);  // no resolver here
  const TestContext user(cred::UserCredentials(1001, 1001, {}));
  EXPECT_EQ(binfmt_->Register(WriterContext(user.get()), kArm).error().code(), EPERM);
}

}  // namespace
}  // namespace usl::fs
