#include "fs/device_pts.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/devfs.h"
#include "fs/synthetic_test_util.h"

namespace usl::fs {
namespace {

using ::testing::ElementsAre;

class DevPtsTest : public ::testing::Test {
 protected:
  DevPtsTest() { RegisterDevices(devices_, *pts_); }
  Result<UniqueFd> OpenDevice(unsigned major, unsigned minor, int flags) {
    return devices_.Open(S_IFCHR, makedev(major, minor), {}, flags, context_.get());
  }
  static unsigned Number(int master) {
    unsigned number = 0;
    int locked = 0;
    EXPECT_EQ(ioctl(master, TIOCGPTN, &number), 0);
    EXPECT_EQ(ioctl(master, TIOCSPTLCK, &locked), 0);
    return number;
  }
  Ref<vfs::Inode> Slave(unsigned number) { return pts_->WalkPath("/" + std::to_string(number)); }

  SyntheticInstance instance_;
  vfs::DeviceTable devices_;
  Ref<DevPts> pts_ = DevPts::Create(instance_, devices_);
  TestContext context_;
};

TEST_F(DevPtsTest, MemoryDevicesAreTheHosts) {
  const UniqueFd zero = *OpenDevice(1, 5, O_RDONLY);
  char byte = 'x';
  EXPECT_EQ(read(zero.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 0);
  const UniqueFd full = *OpenDevice(1, 7, O_WRONLY);
  EXPECT_EQ(write(full.get(), "x", 1), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(fcntl(full.get(), F_GETFL) & O_ACCMODE, O_WRONLY);
  EXPECT_TRUE(OpenDevice(1, 3, O_RDWR));
  EXPECT_TRUE(OpenDevice(1, 9, O_RDONLY));
  EXPECT_EQ(OpenDevice(1, 1, O_RDONLY).error().code(), ENXIO);  // mem
}

TEST_F(DevPtsTest, AMasterMakesASlave) {
  UniqueFd master = *OpenDevice(5, 2, O_RDWR);
  const unsigned number = Number(master.get());
  EXPECT_THAT(pts_->Numbers(), ElementsAre(number));
  EXPECT_THAT(ListNames(*pts_->root()), ElementsAre(".", "..", "ptmx", std::to_string(number)));
  const Ref<vfs::Inode> inode = Slave(number);
  ASSERT_TRUE(inode);
  EXPECT_EQ(inode->GetAttributes()->rdev, makedev(136, number));
  EXPECT_EQ(inode->GetAttributes()->mode, S_IFCHR | 0620u);
  EXPECT_TRUE(inode->SetAttributes({.mode = 0600, .uid = 1234}));
  EXPECT_EQ(inode->GetAttributes()->uid, 1234u);

  const UniqueFd slave = *OpenDevice(136, number, O_RDWR);
  ASSERT_EQ(write(master.get(), "hi\n", 3), 3);
  char line[8];
  EXPECT_EQ(read(slave.get(), line, sizeof line), 3);
  struct stat status;
  ASSERT_EQ(fstat(slave.get(), &status), 0);
  EXPECT_EQ(pts_->FindByHostFile(slave.get(), status), inode);
  ASSERT_EQ(fstat(master.get(), &status), 0);
  EXPECT_EQ(pts_->FindByHostFile(master.get(), status), pts_->WalkPath("/ptmx"));
  EXPECT_TRUE(pts_->OpenPeer(master.get(), O_RDWR));
  EXPECT_EQ(inode->Open(O_PATH, context_.get()).error().code(), EOPNOTSUPP);
}

TEST_F(DevPtsTest, AClosedMastersNumberNeverMeansAnotherTerminal) {
  UniqueFd master = *pts_->OpenMaster(O_RDWR, context_.get());
  const unsigned number = Number(master.get());
  const Ref<vfs::Inode> old = Slave(number);
  master.Reset();
  // Somebody else on the host gets the number.
  const UniqueFd foreign(posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_TRUE(foreign);
  EXPECT_EQ(Number(foreign.get()), number);
  EXPECT_FALSE(Slave(number));
  EXPECT_EQ(old->Open(O_RDWR, context_.get()).error().code(), EIO);
  EXPECT_EQ(OpenDevice(136, number, O_RDWR).error().code(), ENXIO);
  EXPECT_THAT(pts_->Numbers(), ElementsAre());
}

TEST_F(DevPtsTest, ForeignTerminalsDoNotExist) {
  const UniqueFd foreign(posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_TRUE(foreign);
  const unsigned number = Number(foreign.get());
  EXPECT_FALSE(Slave(number));
  EXPECT_EQ(pts_->OpenSlave(number, O_RDWR).error().code(), ENXIO);
  EXPECT_EQ(pts_->OpenConsole(O_RDWR).error().code(), ENXIO);
}

TEST_F(DevPtsTest, AGivenTerminalIsTheConsoleAndTheControllingOne) {
  const UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_TRUE(master);
  const unsigned number = Number(master.get());
  const UniqueFd slave(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY));
  ASSERT_TRUE(pts_->AddTerminal(slave.get(), 0, true));
  EXPECT_TRUE(OpenDevice(5, 1, O_RDWR));
  EXPECT_TRUE(Slave(number));
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    setsid();
    const bool mine = ioctl(slave.get(), TIOCSCTTY, 0) == 0;
    context_.process = getpid();
    const auto tty = OpenDevice(5, 0, O_RDWR);
    struct stat status;
    _exit(mine && tty && fstat(tty->get(), &status) == 0 && status.st_rdev == makedev(136, number) ? 0 : 1);
  }
  int result = -1;
  waitpid(child, &result, 0);
  EXPECT_EQ(result, 0);
  const UniqueFd null(open("/dev/null", O_RDONLY));
  EXPECT_EQ(pts_->AddTerminal(null.get(), 0, false).error().code(), ENOTTY);
}

}  // namespace
}  // namespace usl::fs
