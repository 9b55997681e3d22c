// The synthetic file systems as a guest meets them: by path, through Vfs.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "base/format.h"
#include "fs/devfs.h"
#include "fs/device_pts.h"
#include "fs/fake_proc_source.h"
#include "fs/procfs.h"
#include "fs/synthetic_test_util.h"
#include "fs/sysfs.h"
#include "fs/tmpfs.h"
#include "vfs/vfs.h"

namespace usl::fs {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class EmptyRoot : public SyntheticFileSystem {
 public:
  explicit EmptyRoot(const SyntheticInstance& instance) : SyntheticFileSystem("test", 1, instance) {
    auto root = MakeRef<StaticDirectory>(*this, "/");
    for (const char* name : {"proc", "sys", "dev"}) root->AddDirectory(name);
    SetRoot(root);
  }
};

class SyntheticVfsTest : public ::testing::Test {
 protected:
  SyntheticVfsTest() {
    char name[] = "/tmp/usl-synthetic-XXXXXX";
    directory_ = mkdtemp(name);
    vfs_ = *vfs::Vfs::Create(directory_);
    source_ = std::make_unique<FakeProcSource>(vfs_.get());
    instance_.watcher = &watcher_;
    const Ref<vfs::FileSystem> root = MakeRef<EmptyRoot>(instance_);
    EXPECT_TRUE(mounts_->MountRoot(root, vfs_->RootDentry(root), 0));
    context_.root = vfs::Path{mounts_->root(), mounts_->root()->root()};
    pts_ = DevPts::Create(instance_, vfs_->devices());
    RegisterDevices(vfs_->devices(), *pts_);
    Mount("/proc", ProcFs::Create(*source_, instance_));
    Mount("/sys", SysFs::Create(instance_, true));
    Mount("/dev", pts_);
    ProcProcess& self = source_->process(getpid());
    self.root = self.cwd = context_.root;
  }
  ~SyntheticVfsTest() override {
    // Places go before the Vfs that keeps their names.
    context_.root = {};
    source_->Remove(getpid());
    mounts_ = nullptr;
    std::filesystem::remove_all(directory_);
  }

  void Mount(const char* place, const Ref<vfs::FileSystem>& file_system) {
    const auto target = vfs_->Walk(context_.get(), {context_.root, place}, 0);
    ASSERT_TRUE(target);
    EXPECT_TRUE(mounts_->Attach(*target, file_system, vfs_->RootDentry(file_system), 0));
  }
  Result<UniqueFd> Open(const std::string& path, int flags) {
    auto opened = vfs_->Open(context_.get(), {context_.root, path}, {.flags = flags});
    if (!opened) return Fail(opened.error());
    return std::move(opened->fd);
  }
  std::string Read(const std::string& path) {
    const auto fd = Open(path, O_RDONLY);
    return fd ? ReadFd(fd->get()) : format("errno {}", fd.error().code());
  }
  std::string TextOf(int fd) { return vfs_->PathText(vfs_->Identify(fd).path, context_.root); }

  std::string directory_;
  InotifyWriteWatcher watcher_ = *InotifyWriteWatcher::Create();
  SyntheticInstance instance_;
  TestContext context_;
  Ref<DevPts> pts_;
  std::unique_ptr<FakeProcSource> source_;
  std::unique_ptr<vfs::Vfs> vfs_;
  Ref<vfs::MountNamespace> mounts_ = MakeRef<vfs::MountNamespace>();
};

TEST_F(SyntheticVfsTest, ReadsByPathThroughLinks) {
  EXPECT_THAT(Read("/proc/self/status"), HasSubstr(format("\nPid:\t{}\n", getpid())));
  EXPECT_THAT(Read("/proc/thread-self/comm"), StartsWith(""));
  EXPECT_THAT(Read("/proc/net/dev"), StartsWith("Inter-|"));
  EXPECT_EQ(Read("/sys/devices/system/cpu/online"), *ReadHostFile(AT_FDCWD, "/sys/devices/system/cpu/online"));
  EXPECT_EQ(Read("/proc/self/nothing"), format("errno {}", ENOENT));
  EXPECT_EQ(Read("/proc/self/root/proc/sys/kernel/ostype"), "Linux\n");
}

TEST_F(SyntheticVfsTest, OpenFilesKeepTheirNames) {
  for (const char* path : {"/proc/sys/kernel/ostype", "/sys/devices/system/cpu/online", "/proc/meminfo"}) {
    const UniqueFd fd = *Open(path, O_RDONLY);
    EXPECT_EQ(TextOf(fd.get()), path);
    const auto identity = vfs_->Identify(fd.get());
    EXPECT_EQ(vfs_->Stat(identity.path)->st_mode, S_IFREG | 0444u) << path;
  }
  const UniqueFd comm = *Open("/proc/self/comm", O_RDONLY);
  EXPECT_EQ(TextOf(comm.get()), format("/proc/{}/comm", getpid()));
}

TEST_F(SyntheticVfsTest, DirectoriesAreReadThroughHandles) {
  const UniqueFd fd = *Open("/proc", O_RDONLY | O_DIRECTORY);
  const auto identity = vfs_->Identify(fd.get());
  EXPECT_EQ(vfs_->PathText(identity.path, context_.root), "/proc");
  NameSink first(3), rest(10000);
  ASSERT_TRUE(vfs_->ReadDirectory(identity, fd.get(), first));
  ASSERT_TRUE(vfs_->ReadDirectory(identity, fd.get(), rest));
  EXPECT_EQ(first.names.size(), 3u);
  EXPECT_THAT(rest.names, Contains(std::to_string(getpid())));
  const UniqueFd fds = *Open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
  NameSink numbers(10000);
  ASSERT_TRUE(vfs_->ReadDirectory(vfs_->Identify(fds.get()), fds.get(), numbers));
  EXPECT_THAT(numbers.names, Contains("0"));
}

TEST_F(SyntheticVfsTest, DescriptorLinksReopenWhatTheyMean) {
  const UniqueFd file = *Open("/proc/sys/kernel/ostype", O_RDONLY);
  const std::string link = format("/proc/self/fd/{}", file.get());
  EXPECT_EQ(Read(link), "Linux\n");
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  const UniqueFd again = *Open(format("/proc/self/fd/{}", writer.get()), O_WRONLY);
  ASSERT_EQ(write(again.get(), "x", 1), 1);
  char byte;
  EXPECT_EQ(read(reader.get(), &byte, 1), 1);
  // The working directory's link leads to the place itself.
  EXPECT_EQ(*vfs_->ReadLink(context_.get(),
                            *vfs_->Walk(context_.get(), {context_.root, "/proc/self/cwd"}, vfs::Vfs::kNoFollow)),
            "/");
}

TEST_F(SyntheticVfsTest, OrdinaryUsersMeetTheModes) {
  const cred::Credentials user = cred::UserCredentials(1001, 1001, {});
  const auto open_as_user = [&](const char* path, int flags) {
    const vfs::Context context{
        .credentials = user, .root = context_.root, .cwd = context_.root, .thread_group = 1, .thread = 1};
    const auto opened = vfs_->Open(context, {context_.root, path}, {.flags = flags});
    return opened ? 0 : opened.error().code();
  };
  const std::string self = format("/proc/{}", getpid());
  EXPECT_EQ(open_as_user((self + "/status").c_str(), O_RDONLY), 0);
  EXPECT_EQ(open_as_user((self + "/environ").c_str(), O_RDONLY), EACCES);
  EXPECT_EQ(open_as_user((self + "/fd").c_str(), O_RDONLY | O_DIRECTORY), EACCES);
  EXPECT_EQ(open_as_user("/proc/sys/vm/swappiness", O_WRONLY), EACCES);
  EXPECT_EQ(open_as_user("/proc/new", O_WRONLY | O_CREAT), ENOENT);
  EXPECT_EQ(Open("/proc/new", O_WRONLY | O_CREAT).error().code(), ENOENT);
}

TEST_F(SyntheticVfsTest, PathDescriptorsOfTerminalsOpenNothing) {
  const UniqueFd master = *Open("/dev/ptmx", O_RDWR);
  const auto numbers = pts_->Numbers();
  ASSERT_EQ(numbers.size(), 1u);
  const std::string path = format("/dev/{}", numbers[0]);
  const UniqueFd handle = *Open(path, O_PATH);
  EXPECT_EQ(fcntl(handle.get(), F_GETFL) & O_PATH, O_PATH);
  EXPECT_FALSE(isatty(handle.get()));
  EXPECT_EQ(TextOf(handle.get()), path);
  EXPECT_EQ(Open(path, O_RDWR).error().code(), EIO);  // locked
  EXPECT_EQ(TextOf(master.get()), "/dev/ptmx");
}

TEST_F(SyntheticVfsTest, DevIsFilledAndItsDevicesAreKnown) {
  auto tmpfs = MakeTmpFs({.mode = 0755, .host_directory = directory_});
  ASSERT_TRUE(tmpfs);
  Mount("/sys", *tmpfs);
  const vfs::Path dev = *vfs_->Walk(context_.get(), {context_.root, "/sys"}, 0);
  ASSERT_TRUE(PopulateDev(*vfs_, context_.get(), dev));
  ASSERT_TRUE(PopulateDev(*vfs_, context_.get(), dev));  // once more: what exists stays
  const vfs::Path null = *vfs_->Walk(context_.get(), {context_.root, "/sys/null"}, 0);
  EXPECT_EQ(vfs_->Stat(null)->st_mode, S_IFCHR | 0666u);
  EXPECT_EQ(vfs_->Stat(null)->st_rdev, makedev(1, 3));
  const UniqueFd fd = *Open("/sys/null", O_RDWR);
  EXPECT_EQ(write(fd.get(), "x", 1), 1);
  EXPECT_EQ(vfs_->Identify(fd.get()).inode, null.dentry->inode());
  EXPECT_EQ(TextOf(fd.get()), "/sys/null");
  const UniqueFd zero = *Open("/sys/zero", O_RDONLY);
  EXPECT_EQ(TextOf(zero.get()), "/sys/zero");
  const auto link = vfs_->Walk(context_.get(), {context_.root, "/sys/stdin"}, vfs::Vfs::kNoFollow);
  EXPECT_EQ(*vfs_->ReadLink(context_.get(), *link), "/proc/self/fd/0");
  EXPECT_EQ(Open("/sys/tty", O_RDWR).error().code(), ENXIO);
  // Programs may add to it.
  EXPECT_TRUE(vfs_->MakeSymlink(context_.get(), {context_.root, "/sys/core"}, "/proc/kcore"));
}

TEST_F(SyntheticVfsTest, MountsAreListedFromTheReadersRoot) {
  const auto list = ListMounts(*vfs_, *mounts_, context_.root);
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].mount_point, "/");
  EXPECT_EQ(list[1].mount_point, "/proc");
  EXPECT_EQ(list[1].type, "proc");
  EXPECT_EQ(list[1].parent_id, list[0].id);
  const vfs::Path jail = *vfs_->Walk(context_.get(), {context_.root, "/proc/sys"}, 0);
  EXPECT_TRUE(ListMounts(*vfs_, *mounts_, jail).empty());
}

}  // namespace
}  // namespace usl::fs
