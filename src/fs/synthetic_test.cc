#include "fs/synthetic.h"

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/synthetic_directory.h"
#include "fs/synthetic_mirror.h"
#include "fs/synthetic_test_util.h"

namespace usl::fs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class TestFileSystem : public SyntheticFileSystem {
 public:
  explicit TestFileSystem(const SyntheticInstance& instance) : SyntheticFileSystem("test", 0x1234, instance) {}
  Ref<StaticDirectory> Build() {
    auto root = MakeRef<StaticDirectory>(*this, "/");
    SetRoot(root);
    return root;
  }
};

class SyntheticTest : public ::testing::Test {
 protected:
  SyntheticTest() {
    instance_.watcher = &watcher_;
    file_system_ = MakeRef<TestFileSystem>(instance_);
    root_ = file_system_->Build();
  }
  Ref<vfs::Inode> At(std::string_view path) { return file_system_->WalkPath(path); }

  InotifyWriteWatcher watcher_ = *InotifyWriteWatcher::Create();
  SyntheticInstance instance_;
  Ref<TestFileSystem> file_system_;
  Ref<StaticDirectory> root_;
  TestContext context_;
};

TEST_F(SyntheticTest, ReadsWhatTheGeneratorMakesAtOpen) {
  int calls = 0;
  root_->AddFile("file", 0444, [&calls](const vfs::Context&) { return std::to_string(++calls); });
  const UniqueFd first = *At("/file")->Open(O_RDONLY, context_.get());
  const UniqueFd second = *At("/file")->Open(O_RDONLY, context_.get());
  EXPECT_EQ(ReadFd(first.get()), "1");
  EXPECT_EQ(ReadFd(second.get()), "2");
  EXPECT_EQ(fcntl(first.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST_F(SyntheticTest, DonatedFileCannotBeChangedEvenWhenReopened) {
  root_->AddText("file", "content");
  const UniqueFd fd = *At("/file")->Open(O_RDONLY, context_.get());
  EXPECT_EQ(write(fd.get(), "x", 1), -1);
  const UniqueFd again(open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDWR));
  ASSERT_TRUE(again);
  EXPECT_EQ(write(again.get(), "x", 1), -1);
  EXPECT_EQ(ftruncate(again.get(), 0), -1);
}

TEST_F(SyntheticTest, RecognisesItsFilesByTheirHostDescriptor) {
  root_->AddDirectory("dir")->AddText("file", "content");
  const Ref<vfs::Inode> inode = At("/dir/file");
  const UniqueFd fd = *inode->Open(O_RDONLY, context_.get());
  struct stat status;
  ASSERT_EQ(fstat(fd.get(), &status), 0);
  EXPECT_EQ(file_system_->FindByHostFile(fd.get(), status), inode);
  EXPECT_EQ(*file_system_->FindPath(fd.get(), *inode), "/dir/file");
  EXPECT_THAT(file_system_->HostDevices(), ElementsAre(status.st_dev));
}

TEST_F(SyntheticTest, ForgedNamesAndOtherFileSystemsAreNotRecognised) {
  root_->AddText("file", "content");
  struct stat status;
  const UniqueFd forged(memfd_create("0123456789abcdef0123456789abcdef:1:/file", MFD_CLOEXEC));
  ASSERT_EQ(fstat(forged.get(), &status), 0);
  EXPECT_FALSE(file_system_->FindByHostFile(forged.get(), status));
  const auto other = MakeRef<TestFileSystem>(instance_);
  const Ref<StaticDirectory> other_root = other->Build();
  other_root->AddText("file", "content");
  const UniqueFd fd = *other->WalkPath("/file")->Open(O_RDONLY, context_.get());
  EXPECT_FALSE(file_system_->FindByHostFile(fd.get(), status));
  EXPECT_TRUE(other->FindByHostFile(fd.get(), status));
}

TEST_F(SyntheticTest, ListsWithStableCursors) {
  root_->AddText("a", "");
  root_->AddDirectory("b");
  root_->AddSymlink("c", "a");
  EXPECT_THAT(ListNames(*root_), ElementsAre(".", "..", "a", "b", "c"));
  TestCursor cursor;
  EXPECT_THAT(cursor.Read(*root_, 3), ElementsAre(".", "..", "a"));
  EXPECT_THAT(cursor.Read(*root_, 1), ElementsAre("b"));
  EXPECT_THAT(cursor.Read(*root_, 9), ElementsAre("c"));
  EXPECT_THAT(cursor.Read(*root_, 9), IsEmpty());
  cursor.Rewind();
  EXPECT_THAT(cursor.Read(*root_, 9), ElementsAre(".", "..", "a", "b", "c"));
  EXPECT_EQ(root_->GetAttributes()->nlink, 3u);
}

TEST_F(SyntheticTest, NumbersAreStableAndDistinct) {
  EXPECT_EQ(SyntheticIno("/"), 1u);
  EXPECT_EQ(SyntheticIno("/a"), SyntheticIno("/a"));
  EXPECT_NE(SyntheticIno("/a"), SyntheticIno("/b"));
}

TEST_F(SyntheticTest, WritesReachTheKernelInOrder) {
  std::vector<std::string> written;
  root_->AddFile(
      "file", 0644, [](const vfs::Context&) { return std::string("old\n"); },
      [&written](const WriterContext&, std::string_view data) -> Result<void> {
        written.emplace_back(data);
        return {};
      });
  UniqueFd fd = *At("/file")->Open(O_WRONLY | O_TRUNC, context_.get());
  EXPECT_TRUE(watcher_.HasWatches());
  ASSERT_EQ(write(fd.get(), "one\n", 4), 4);
  watcher_.Drain();
  ASSERT_EQ(write(fd.get(), "two\n", 4), 4);
  watcher_.Drain();
  EXPECT_THAT(written, ElementsAre("one\n", "two\n"));
  ASSERT_EQ(pwrite(fd.get(), "six\n", 4, 0), 4);
  fd.Reset();
  watcher_.Drain();
  EXPECT_THAT(written, ElementsAre("one\n", "two\n", "six\n"));
  EXPECT_FALSE(watcher_.HasWatches());
}

TEST_F(SyntheticTest, WriteOverReadContentIsFound) {
  std::string written;
  root_->AddFile(
      "file", 0644, [](const vfs::Context&) { return std::string("a long old value\n"); },
      [&written](const WriterContext&, std::string_view data) -> Result<void> {
        written = data;
        return {};
      });
  const UniqueFd fd = *At("/file")->Open(O_RDWR, context_.get());
  EXPECT_EQ(ReadFd(fd.get()), "a long old value\n");
  ASSERT_EQ(pwrite(fd.get(), "new\n", 4, 0), 4);
  // Opening it again sees the effect: pending writes are applied first.
  const UniqueFd reader = *At("/file")->Open(O_RDONLY, context_.get());
  EXPECT_EQ(written, "new\n");
}

TEST_F(SyntheticTest, FilesWithoutWriterRefuseWriting) {
  root_->AddText("file", "content");
  EXPECT_EQ(At("/file")->Open(O_WRONLY, context_.get()).error().code(), EACCES);
  EXPECT_EQ(At("/file")->Open(O_PATH, context_.get()).error().code(), EOPNOTSUPP);
  EXPECT_EQ(At("/file")->SetAttributes({.mode = 0777}).error().code(), EPERM);
  EXPECT_TRUE(At("/file")->SetAttributes({.size = 0}));
}

TEST(WrittenPart, FindsWhatChanged) {
  EXPECT_EQ(WrittenPart("", "1\n"), "1\n");
  EXPECT_EQ(WrittenPart("1\n", "1\n2\n"), "2\n");
  EXPECT_EQ(WrittenPart("longer\n", "new\ner\n"), "new\n");
  EXPECT_EQ(WrittenPart("1\n", "1\n"), "1\n");
  EXPECT_EQ(WrittenPart("0", "1"), "1");
  EXPECT_EQ(WrittenPart("", std::string_view("\0\0x", 3)), "x");
  EXPECT_EQ(WrittenPart("abc\n", ""), "");
}

}  // namespace
}  // namespace usl::fs
