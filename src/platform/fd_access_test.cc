#include "platform/fd_access.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>

#include "gtest/gtest.h"

namespace usl::platform {
namespace {

class FdAccessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/usl-fd-test-XXXXXX";
    file_.Reset(mkostemp(name, O_CLOEXEC | O_APPEND));
    path_ = name;
    pid_ = fork();
    if (pid_ == 0) {
      for (;;) pause();
    }
    pidfd_ = OpenPidfd(pid_).value();
  }
  void TearDown() override {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    unlink(path_.c_str());
  }
  UniqueFd file_, pidfd_;
  std::string path_;
  pid_t pid_ = 0;
};

TEST_F(FdAccessTest, DuplicatesTheSameDescription) {
  auto copy = DuplicateFd(pidfd_.get(), file_.get());
  ASSERT_TRUE(copy);
  ASSERT_EQ(write(copy->get(), "abc", 3), 3);
  lseek(copy->get(), 1, SEEK_SET);
  EXPECT_EQ(lseek(file_.get(), 0, SEEK_CUR), 1) << "one position for both";
  EXPECT_EQ(fcntl(copy->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(DuplicateFd(pidfd_.get(), 999).error().code(), EBADF);
}

TEST_F(FdAccessTest, ReopensWherePidfdGetfdIsForbidden) {
  pid_t child = fork();
  if (child == 0) {
    const sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_getfd, 0, 1),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{4, const_cast<sock_filter*>(filter)};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) _exit(1);
    auto copy = DuplicateFd(pidfd_.get(), file_.get());
    if (!copy) _exit(2);
    const int flags = fcntl(copy->get(), F_GETFL);
    if ((flags & O_ACCMODE) != O_RDWR || !(flags & O_APPEND)) _exit(3);
    if (FdPath(copy->get()).value() != path_) _exit(4);
    auto missing = DuplicateFd(pidfd_.get(), 999);
    _exit(!missing && missing.error().code() == EBADF ? 0 : 5);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
}

TEST_F(FdAccessTest, NamesOpenFiles) {
  EXPECT_EQ(FdPath(file_.get()).value(), path_);
  const std::string moved = path_ + ".moved";
  ASSERT_EQ(rename(path_.c_str(), moved.c_str()), 0);
  EXPECT_EQ(FdPath(file_.get()).value(), moved) << "it follows renames";
  unlink(moved.c_str());
  EXPECT_EQ(FdPath(file_.get()).value(), moved + " (deleted)");
  EXPECT_EQ(FdPath(999).error().code(), EBADF);
}

TEST_F(FdAccessTest, KnowsDeadProcesses) {
  kill(pid_, SIGKILL);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  EXPECT_EQ(DuplicateFd(pidfd_.get(), 0).error().code(), ESRCH);
  EXPECT_EQ(OpenPidfd(0x3fffffff).error().code(), ESRCH);
}

}  // namespace
}  // namespace usl::platform
