// POSIX message queues (mq_overview(7)).
#include <mqueue.h>
#include <poll.h>
#include <sys/syscall.h>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

const std::string& Name() {
  static const std::string name = "/conformance-" + std::to_string(getpid());
  return name;
}

mq_attr Small() {
  mq_attr attributes{};
  attributes.mq_maxmsg = 3;
  attributes.mq_msgsize = 32;
  return attributes;
}

class NamedQueue : public ::testing::Test {
 protected:
  ~NamedQueue() override { mq_unlink(Name().c_str()); }
  Fd Open(int flags, mode_t mode = 0600) {
    mq_attr attributes = Small();
    return Fd(mq_open(Name().c_str(), flags, mode, &attributes));
  }
};

TEST_F(NamedQueue, PrioritiesAndLimits) {
  const Fd queue = Open(O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK);
  ASSERT_TRUE(queue.ok());
  EXPECT_THAT(mq_send(queue.get(), "low", 4, 1), SyscallSucceeds());
  EXPECT_THAT(mq_send(queue.get(), "high", 5, 9), SyscallSucceeds());
  EXPECT_THAT(mq_send(queue.get(), "low", 4, 1), SyscallSucceeds());
  EXPECT_THAT(mq_send(queue.get(), "full", 5, 1), SyscallFailsWithErrno(EAGAIN));
  char buffer[32];
  unsigned priority;
  EXPECT_THAT(mq_receive(queue.get(), buffer, sizeof buffer, &priority), SyscallSucceedsWithValue(5));
  EXPECT_STREQ(buffer, "high");
  EXPECT_EQ(priority, 9u);
  EXPECT_THAT(mq_receive(queue.get(), buffer, 8, nullptr), SyscallFailsWithErrno(EMSGSIZE));
  mq_attr attributes;
  ASSERT_THAT(mq_getattr(queue.get(), &attributes), SyscallSucceeds());
  EXPECT_EQ(attributes.mq_maxmsg, 3);
  EXPECT_EQ(attributes.mq_curmsgs, 2);
  EXPECT_EQ(fcntl(queue.get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(NamedQueue, BetweenProcesses) {
  const Fd queue = Open(O_CREAT | O_RDONLY);
  EXPECT_TRUE(InChild([] {
    const Fd mine(mq_open(Name().c_str(), O_WRONLY));
    return mine.ok() && mq_send(mine.get(), "child", 6, 0) == 0;
  }));
  pollfd ready{queue.get(), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 5000), 1);
  char buffer[32];
  EXPECT_THAT(mq_receive(queue.get(), buffer, sizeof buffer, nullptr), SyscallSucceedsWithValue(6));
}

TEST_F(NamedQueue, NamesAndPermissions) {
  EXPECT_THAT(mq_open(Name().c_str(), O_RDWR), SyscallFailsWithErrno(ENOENT));
  const Fd queue = Open(O_CREAT | O_RDWR, 0644);
  mq_attr attributes = Small();
  EXPECT_THAT(mq_open(Name().c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, &attributes), SyscallFailsWithErrno(EEXIST));
  EXPECT_EQ(ErrnoAs(kUser, [] { return mq_open(Name().c_str(), O_RDONLY); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [] { return mq_open(Name().c_str(), O_RDWR); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [] { return mq_unlink(Name().c_str()); }), EACCES);
  EXPECT_THAT(mq_unlink(Name().c_str()), SyscallSucceeds());
  EXPECT_THAT(mq_unlink(Name().c_str()), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(mq_send(queue.get(), "still", 6, 0), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, nullptr), SyscallFailsWithErrno(EACCES));
  EXPECT_THAT(syscall(SYS_mq_open, kWildPointer, O_RDWR, 0, nullptr), SyscallFailsWithErrno(EFAULT));
  attributes.mq_maxmsg = 0;
  EXPECT_THAT(mq_open(Name().c_str(), O_CREAT | O_RDWR, 0600, &attributes), SyscallFailsWithErrno(EINVAL));
}

}  // namespace
}  // namespace usl::conformance
