#include "kernel/message_queues.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace usl::kernel {
namespace {

template <typename T>
int ErrorOf(const Result<T>& result) {
  return result ? 0 : result.error().code();
}

const mq_attr kSmall{.mq_flags = 0, .mq_maxmsg = 2, .mq_msgsize = 16, .mq_curmsgs = 0};

TEST(MessageQueues, TwoOpensMeetInOneQueue) {
  MessageQueues queues;
  const auto root = cred::RootCredentials();
  const UniqueFd writer = *queues.Open("q", O_CREAT | O_WRONLY, 0600, kSmall, root);
  const UniqueFd reader = *queues.Open("q", O_RDONLY | O_NONBLOCK, 0, std::nullopt, root);
  ASSERT_EQ(mq_send(writer.get(), "hello", 5, 1), 0);
  char buffer[16];
  EXPECT_EQ(mq_receive(reader.get(), buffer, sizeof buffer, nullptr), 5);
  EXPECT_EQ(mq_receive(reader.get(), buffer, sizeof buffer, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(mq_send(reader.get(), "x", 1, 1), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(MessageQueues, NamesAndOwnersAreTheGuests) {
  MessageQueues queues;
  const auto owner = cred::UserCredentials(1000, 1000, {});
  const auto other = cred::UserCredentials(1001, 1001, {});
  EXPECT_EQ(ErrorOf(queues.Open("q", O_RDWR, 0, std::nullopt, owner)), ENOENT);
  ASSERT_TRUE(queues.Open("q", O_CREAT | O_RDWR, 0644, kSmall, owner));
  EXPECT_EQ(ErrorOf(queues.Open("q", O_CREAT | O_EXCL | O_RDWR, 0644, kSmall, owner)), EEXIST);
  EXPECT_TRUE(queues.Open("q", O_RDONLY, 0, std::nullopt, other));
  EXPECT_EQ(ErrorOf(queues.Open("q", O_RDWR, 0, std::nullopt, other)), EACCES);
  EXPECT_EQ(ErrorOf(queues.Unlink("q", other)), EPERM);
  EXPECT_TRUE(queues.Unlink("q", owner));
  EXPECT_EQ(ErrorOf(queues.Unlink("q", owner)), ENOENT);
}

TEST(MessageQueues, RefusesNamesThatAreNone) {
  MessageQueues queues;
  const auto root = cred::RootCredentials();
  EXPECT_EQ(ErrorOf(queues.Open("", O_CREAT | O_RDWR, 0600, kSmall, root)), ENOENT);
  EXPECT_EQ(ErrorOf(queues.Open("a/b", O_CREAT | O_RDWR, 0600, kSmall, root)), EACCES);
  EXPECT_EQ(ErrorOf(queues.Open("..", O_CREAT | O_RDWR, 0600, kSmall, root)), EACCES);
  EXPECT_EQ(ErrorOf(queues.Open(std::string(256, 'x'), O_CREAT | O_RDWR, 0600, kSmall, root)), ENAMETOOLONG);
}

}  // namespace
}  // namespace usl::kernel
