#include "vfs/fifo.h"

#include <fcntl.h>
#include <poll.h>

#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

class FifoTest : public VfsFixture {
 protected:
  FifoTest() {
    Node("/fifo", S_IFIFO | 0666);
    vfs_->fifos().SetWake([this](uint64_t key) { woken_.push_back(key); });
  }
  OpenedFile MustOpen(int flags) {
    auto opened = Open(super_, "/fifo", flags);
    EXPECT_THAT(opened, Succeeds());
    return opened ? std::move(*opened) : OpenedFile();
  }
  static short Poll(int fd) {
    pollfd poll_fd{.fd = fd, .events = POLLIN | POLLOUT, .revents = 0};
    ::poll(&poll_fd, 1, 0);
    return poll_fd.revents;
  }
  std::vector<uint64_t> woken_;
};

TEST_F(FifoTest, NonBlockingOpens) {
  EXPECT_THAT(Open(super_, "/fifo", O_WRONLY | O_NONBLOCK), FailsWith(ENXIO));
  auto reader = MustOpen(O_RDONLY | O_NONBLOCK);
  EXPECT_FALSE(reader.would_block);
  auto writer = MustOpen(O_WRONLY | O_NONBLOCK);
  ASSERT_TRUE(writer.fd);
  EXPECT_NE(::fcntl(writer.fd.get(), F_GETFL) & O_NONBLOCK, 0);
  ASSERT_EQ(::write(writer.fd.get(), "x", 1), 1);
  char byte;
  EXPECT_EQ(::read(reader.fd.get(), &byte, 1), 1);
  reader.fd.Reset();
  EXPECT_THAT(Open(super_, "/fifo", O_WRONLY | O_NONBLOCK), FailsWith(ENXIO));
}

TEST_F(FifoTest, ReaderWaitsForWriter) {
  auto reader = MustOpen(O_RDONLY);
  ASSERT_TRUE(reader.would_block);
  ASSERT_TRUE(reader.fifo);
  EXPECT_FALSE(reader.fd);
  EXPECT_THAT(reader.fifo->Attempt(), FailsWith(EAGAIN));
  EXPECT_TRUE(woken_.empty());
  auto writer = MustOpen(O_WRONLY | O_NONBLOCK);
  EXPECT_TRUE(writer.fd) << "a reader that waits counts as a reader";
  EXPECT_THAT(woken_, ::testing::ElementsAre(reader.fifo->wake_key()));
  auto fd = reader.fifo->Attempt();
  ASSERT_THAT(fd, Succeeds());
  EXPECT_EQ(::fcntl(fd->get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_THAT(reader.fifo->Attempt(), FailsWith(EBADF));
}

TEST_F(FifoTest, WriterWaitsForReader) {
  auto writer = MustOpen(O_WRONLY);
  ASSERT_TRUE(writer.would_block);
  EXPECT_THAT(writer.fifo->Attempt(), FailsWith(EAGAIN));
  EXPECT_THAT(Open(super_, "/fifo", O_WRONLY | O_NONBLOCK), FailsWith(ENXIO)) << "a waiting writer is no reader";
  auto reader = MustOpen(O_RDONLY);
  EXPECT_FALSE(reader.would_block) << "a waiting writer suffices";
  EXPECT_EQ(woken_.size(), 1u);
  auto fd = writer.fifo->Attempt();
  ASSERT_THAT(fd, Succeeds());
  EXPECT_EQ(::fcntl(fd->get(), F_GETFL) & O_NONBLOCK, 0);
  ASSERT_EQ(::write(fd->get(), "ab", 2), 2);
  char bytes[2];
  EXPECT_EQ(::read(reader.fd.get(), bytes, 2), 2);
}

TEST_F(FifoTest, TheOtherEndMayBeGoneAgain) {
  auto reader = MustOpen(O_RDONLY);
  ASSERT_TRUE(reader.would_block);
  MustOpen(O_WRONLY);  // opened and closed
  auto fd = reader.fifo->Attempt();
  ASSERT_THAT(fd, Succeeds());
  char byte;
  EXPECT_EQ(::read(fd->get(), &byte, 1), 0) << "end of file, not a wait";
  fd->Reset();

  auto writer = MustOpen(O_WRONLY);
  ASSERT_TRUE(writer.would_block);
  MustOpen(O_RDONLY);
  EXPECT_THAT(writer.fifo->Attempt(), Succeeds());
}

TEST_F(FifoTest, ReaderFindsAWriterThatIsThere) {
  auto both = MustOpen(O_RDWR);
  EXPECT_FALSE(both.would_block);
  auto reader = MustOpen(O_RDONLY);
  EXPECT_FALSE(reader.would_block);
  EXPECT_EQ(Poll(reader.fd.get()) & POLLHUP, 0);
  reader.fd.Reset();
  both.fd.Reset();
  auto second = MustOpen(O_RDONLY);
  EXPECT_TRUE(second.would_block) << "that writer is gone";
}

TEST_F(FifoTest, WriterKnownOnlyToTheHost) {
  auto reader = MustOpen(O_RDONLY | O_NONBLOCK);
  auto writer = MustOpen(O_WRONLY);
  EXPECT_FALSE(writer.would_block);
  UniqueFd inherited(::dup(writer.fd.get()));
  writer.fd.Reset();
  reader.fd.Reset();
  auto again = MustOpen(O_RDONLY);
  EXPECT_FALSE(again.would_block) << "a duplicate somewhere in the guest holds the end";
}

TEST_F(FifoTest, ReadWriteWakesBoth) {
  auto reader = MustOpen(O_RDONLY);
  ASSERT_TRUE(reader.would_block);
  auto both = MustOpen(O_RDWR);
  EXPECT_THAT(reader.fifo->Attempt(), Succeeds());
  both.fd.Reset();
  reader = {};
  auto writer = MustOpen(O_WRONLY);
  ASSERT_TRUE(writer.would_block);
  both = MustOpen(O_RDWR);
  EXPECT_THAT(writer.fifo->Attempt(), Succeeds());
}

TEST_F(FifoTest, GivingUpLeavesNoTrace) {
  auto reader = MustOpen(O_RDONLY);
  ASSERT_TRUE(reader.would_block);
  reader = {};
  EXPECT_THAT(Open(super_, "/fifo", O_WRONLY | O_NONBLOCK), FailsWith(ENXIO));
  auto writer = MustOpen(O_WRONLY);
  ASSERT_TRUE(writer.would_block);
  writer = {};
  EXPECT_TRUE(MustOpen(O_RDONLY).would_block);
}

TEST_F(FifoTest, SeveralWaitersAreReleasedTogether) {
  auto first = MustOpen(O_RDONLY);
  auto second = MustOpen(O_RDONLY);
  ASSERT_TRUE(first.would_block && second.would_block);
  auto writer = MustOpen(O_WRONLY);
  EXPECT_THAT(first.fifo->Attempt(), Succeeds());
  EXPECT_THAT(second.fifo->Attempt(), Succeeds());
}

TEST_F(FifoTest, IdentifyAndHardLinks) {
  auto reader = MustOpen(O_RDONLY | O_NONBLOCK);
  EXPECT_EQ(vfs_->Identify(reader.fd.get()).path, PathAt("/fifo"));
  ASSERT_THAT(vfs_->Link(As(super_), At("/fifo"), At("/other"), 0), Succeeds());
  auto writer = Open(super_, "/other", O_WRONLY | O_NONBLOCK);
  EXPECT_THAT(writer, Succeeds()) << "one FIFO under two names";
  ASSERT_THAT(vfs_->Unlink(As(super_), At("/fifo")), Succeeds());
  ASSERT_THAT(vfs_->Unlink(As(super_), At("/other")), Succeeds());
  EXPECT_TRUE(vfs_->Identify(reader.fd.get()).inode);
}

TEST_F(FifoTest, PermissionAndModes) {
  Own("/fifo", 0444, 0, 0);
  EXPECT_THAT(Open(bob_, "/fifo", O_WRONLY | O_NONBLOCK), FailsWith(EACCES));
  EXPECT_THAT(Open(bob_, "/fifo", O_RDONLY | O_NONBLOCK), Succeeds());
  EXPECT_THAT(Open(super_, "/fifo", O_ACCMODE), FailsWith(EINVAL));
  EXPECT_THAT(Open(super_, "/fifo", O_RDONLY | O_NONBLOCK | O_TRUNC), Succeeds());
}

TEST_F(FifoTest, IdleFifosAreSwept) {
  auto held = MustOpen(O_RDONLY | O_NONBLOCK);
  for (int i = 0; i < 600; ++i) {
    const std::string name = "/p" + std::to_string(i);
    Node(name, S_IFIFO | 0600);
    ASSERT_THAT(Open(super_, name, O_RDWR), Succeeds());
  }
  EXPECT_LE(vfs_->fifos().size(), 256u);
  EXPECT_TRUE(vfs_->Identify(held.fd.get()).inode) << "one that is open stays";
}

}  // namespace
}  // namespace usl::vfs
