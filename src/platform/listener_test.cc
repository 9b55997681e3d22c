#include "platform/listener.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "platform/exec_redirect.h"
#include "platform/test_guest.h"

namespace usl::platform {
namespace {

using testing::SmallFilter;
using testing::TestGuest;

TEST(ListenerTest, ReportsRegistersAndAnswersWithValues) {
  TestGuest guest(SmallFilter({SYS_mkdir, SYS_rmdir}), [] {
    if (syscall(SYS_mkdir, 0x1234567890, 0755) != 77) return 1;
    if (syscall(SYS_rmdir, 5) != -1 || errno != EDOM) return 2;
    return 0;
  });
  auto first = guest.listener().Receive();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->tid, guest.pid());
  EXPECT_EQ(first->nr, SYS_mkdir);
  EXPECT_EQ(first->args[0], 0x1234567890u);
  EXPECT_EQ(first->args[1], 0755u);
  EXPECT_TRUE(guest.listener().IsValid(first->id));
  EXPECT_TRUE(guest.listener().Respond(first->id, 77));
  EXPECT_FALSE(guest.listener().Respond(first->id, 78)) << "one call has one answer";
  auto second = guest.listener().Receive();
  ASSERT_TRUE(second);
  EXPECT_TRUE(guest.listener().RespondError(second->id, EDOM));
  EXPECT_EQ(guest.Wait(), 0);
  EXPECT_FALSE(guest.listener().IsValid(second->id));
}

TEST(ListenerTest, ContinueRunsTheCallNatively) {
  TestGuest guest(SmallFilter({SYS_getppid}), [parent = getpid()] { return getppid() == parent ? 0 : 1; });
  auto notification = guest.listener().Receive();
  ASSERT_TRUE(notification);
  EXPECT_TRUE(guest.listener().Continue(notification->id));
  EXPECT_EQ(guest.Wait(), 0);
}

TEST(ListenerTest, EndsWhenNoTaskIsLeft) {
  TestGuest guest(SmallFilter({SYS_getppid}), [] { return 0; });
  EXPECT_EQ(guest.Wait(), 0);
  pollfd state{guest.listener().fd(), 0, 0};
  ASSERT_EQ(poll(&state, 1, 5000), 1);
  EXPECT_TRUE(state.revents & POLLHUP);
}

TEST(ListenerTest, ASignalDoesNotInterruptAServedCall) {
  static volatile sig_atomic_t handled;
  TestGuest guest(SmallFilter({SYS_mkdir}), [] {
    struct sigaction action {};
    action.sa_handler = [](int) { handled = handled + 1; };
    sigaction(SIGUSR1, &action, nullptr);
    if (mkdir("made", 0755) != 0) return 1;
    return handled == 1 ? 0 : 2;
  });
  auto notification = guest.listener().Receive();
  ASSERT_TRUE(notification);
  EXPECT_FALSE(HasPendingSignal(guest.pid()));
  kill(guest.pid(), SIGUSR1);
  EXPECT_TRUE(HasPendingSignal(guest.pid()));
  pollfd again{guest.listener().fd(), POLLIN, 0};
  EXPECT_EQ(poll(&again, 1, 20), 0) << "the call was restarted while it was served";
  EXPECT_TRUE(guest.listener().Respond(notification->id, 0));
  EXPECT_EQ(guest.Wait(), 0);
}

TEST(ListenerTest, AKilledTaskIsGoneAtOnce) {
  TestGuest guest(SmallFilter({SYS_mkdir}), [] { return mkdir("made", 0755); });
  auto notification = guest.listener().Receive();
  ASSERT_TRUE(notification);
  kill(guest.pid(), SIGKILL);
  EXPECT_EQ(guest.Wait(), 128 + SIGKILL);
  EXPECT_FALSE(guest.listener().IsValid(notification->id));
  EXPECT_EQ(guest.listener().Respond(notification->id, 0).error().code(), ENOENT);
  EXPECT_EQ(guest.listener().AddFd(notification->id, 0, false).error().code(), ENOENT);
}

TEST(ListenerTest, DonatesTheLowestNumberAndHonoursCloexec) {
  TestGuest guest(SmallFilter({SYS_open, SYS_mkdir}), [] {
    for (int fd = 3; fd < 64; ++fd) close(fd);
    fcntl(0, F_DUPFD, 4);  // leaves 3 free
    if (syscall(SYS_open, "x", O_RDONLY) != 3) return 1;
    if (fcntl(3, F_GETFD) != 0) return 2;
    if (syscall(SYS_open, "x", O_CLOEXEC) != 5) return 3;
    if (fcntl(5, F_GETFD) != FD_CLOEXEC) return 4;
    if (syscall(SYS_mkdir, "x", 0) != 0) return 5;
    if (fcntl(9, F_GETFD) != FD_CLOEXEC) return 6;
    const rlimit few{6, 6};
    setrlimit(RLIMIT_NOFILE, &few);
    return syscall(SYS_open, "x", 0) == -1 && errno == EMFILE ? 0 : 7;
  });
  UniqueFd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Listener& listener = guest.listener();
  auto call = listener.Receive();
  ASSERT_TRUE(call);
  EXPECT_TRUE(listener.AddFdAndRespond(*call, file.get(), false));
  call = listener.Receive();
  ASSERT_TRUE(call);
  EXPECT_TRUE(listener.AddFdAndRespond(call->id, file.get(), true));
  call = listener.Receive();
  ASSERT_TRUE(call);
  auto number = listener.AddFdAt(call->id, file.get(), 9, true);
  ASSERT_TRUE(number);
  EXPECT_EQ(*number, 9);
  EXPECT_TRUE(listener.Respond(call->id, 0));
  call = listener.Receive();
  ASSERT_TRUE(call);
  auto donated = listener.AddFdAndRespond(*call, file.get(), false);
  ASSERT_FALSE(donated);
  EXPECT_EQ(donated.error().code(), EMFILE);
  EXPECT_TRUE(listener.RespondError(call->id, EMFILE)) << "still unanswered after a failed donation";
  EXPECT_EQ(guest.Wait(), 0);
}

TEST(ListenerTest, ASecondListenerIsRefused) {
  TestGuest guest(SmallFilter({SYS_mkdir}), [] {
    const auto filter = SmallFilter({SYS_rmdir});
    const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    return fd == -1 && errno == EBUSY ? 0 : 1;
  });
  EXPECT_EQ(guest.Wait(), 0);
}

}  // namespace
}  // namespace usl::platform
