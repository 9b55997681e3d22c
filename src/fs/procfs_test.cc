#include "fs/procfs.h"

#include <elf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/format.h"
#include "fs/fake_proc_source.h"
#include "fs/proc_text.h"
#include "fs/synthetic_test_util.h"

namespace usl::fs {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;

// A process that waits until it is told to end.
class Child {
 public:
  Child() {
    if (pipe2(pipe_, O_CLOEXEC) != 0) abort();
    pid_ = fork();
    if (pid_ == 0) {
      char byte;
      close(pipe_[1]);
      _exit(read(pipe_[0], &byte, 1) < 0);
    }
    close(pipe_[0]);
  }
  ~Child() { End(); }
  void End() {
    if (pid_ == 0) return;
    close(pipe_[1]);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  int pipe_[2];
  pid_t pid_;
};

// What follows the environment's pointers on the stack.
char** environ_end() {
  char** end = environ;
  while (*end) ++end;
  return end + 1;
}

class ProcFsTest : public ::testing::Test {
 protected:
  ProcFsTest() { instance_.watcher = &watcher_; }

  Result<Ref<vfs::Inode>> Walk(std::string path) {
    if (path.starts_with("/self")) path.replace(0, 5, "/" + std::to_string(getpid()));
    Ref<vfs::Inode> inode = proc_->root();
    for (size_t start = 1; start < path.size();) {
      const size_t end = std::min(path.find('/', start), path.size());
      auto next = inode->Lookup(std::string_view(path).substr(start, end - start), context_.get());
      if (!next) return Fail(next.error());
      inode = *std::move(next);
      start = end + 1;
    }
    return inode;
  }
  Result<std::string> Read(const std::string& path) { return ReadAs(path, context_); }
  Result<std::string> ReadAs(const std::string& path, const TestContext& context) {
    auto inode = Walk(path);
    if (!inode) return Fail(inode.error());
    auto fd = (*inode)->Open(O_RDONLY, context.get());
    if (!fd) return Fail(fd.error());
    return ReadFd(fd->get());
  }
  std::string Must(const std::string& path) {
    auto content = Read(path);
    EXPECT_TRUE(content) << path << " errno " << (content ? 0 : content.error().code());
    return content.value_or("");
  }
  int ErrnoOf(const std::string& path) {
    const auto content = Read(path);
    return content ? 0 : content.error().code();
  }
  void Write(const std::string& path, std::string_view data) {
    auto inode = Walk(path);
    ASSERT_TRUE(inode) << path;
    auto fd = (*inode)->Open(O_WRONLY | O_TRUNC, context_.get());
    ASSERT_TRUE(fd) << path << " " << fd.error().code();
    ASSERT_EQ(write(fd->get(), data.data(), data.size()), static_cast<ssize_t>(data.size()));
    watcher_.Drain();
  }
  std::string Host(const char* name) { return *ReadHostFile(AT_FDCWD, format("/proc/self/{}", name).c_str()); }

  InotifyWriteWatcher watcher_ = *InotifyWriteWatcher::Create();
  SyntheticInstance instance_;
  FakeProcSource source_;
  Ref<ProcFs> proc_ = ProcFs::Create(source_, instance_);
  TestContext context_;
};

TEST_F(ProcFsTest, ListsOnlyTheInstance) {
  const auto names = ListNames(*proc_->root());
  EXPECT_THAT(names, IsSupersetOf({std::string("self"), std::string("cpuinfo"), std::string("sys")}));
  EXPECT_THAT(names, Contains(std::to_string(getpid())));
  EXPECT_THAT(names, Not(Contains(std::to_string(getppid()))));
  EXPECT_EQ(Walk(format("/{}", getppid())).error().code(), ENOENT);
  EXPECT_EQ(Walk("/2").error().code(), ENOENT);
  EXPECT_EQ(*Walk("/thread-self").value()->ReadLink(context_.get()), format("{}/task/{}", getpid(), getpid()));
}

TEST_F(ProcFsTest, InitIsOne) {
  source_.init = getpid();
  const auto names = ListNames(*proc_->root());
  EXPECT_THAT(names, Contains("1"));
  EXPECT_THAT(names, Not(Contains(std::to_string(getpid()))));
  EXPECT_THAT(Must("/1/status"), AllOf(HasSubstr("\nPid:\t1\n"), HasSubstr("\nPPid:\t0\n"), HasSubstr("NSpid:\t1\n")));
  EXPECT_THAT(Must("/1/stat"), StartsWith("1 ("));
  EXPECT_THAT(ListNames(*Walk("/1/task").value()), Contains("1"));
}

TEST_F(ProcFsTest, StatusIsTheHostsWithTheGuestsIdentity) {
  source_.process(getpid()).credentials =
      std::make_shared<cred::Credentials>(cred::UserCredentials(1234, 1235, {1236}));
  const std::string guest = Must("/self/status");
  EXPECT_EQ(std::ranges::count(guest, '\n'), std::ranges::count(Host("status"), '\n'));
  EXPECT_THAT(guest, AllOf(HasSubstr("\nUid:\t1234\t1234\t1234\t1234\n"), HasSubstr("\nGroups:\t1236 \n"),
                           HasSubstr("\nPPid:\t1\n"), HasSubstr("\nSeccomp:\t0\n")));
  EXPECT_EQ(Walk("/self").value()->GetAttributes()->uid, 1234u);
}

TEST_F(ProcFsTest, StatHasAllFields) {
  const std::string guest = Must("/self/stat");
  EXPECT_EQ(std::ranges::count(guest, ' '), std::ranges::count(Host("stat"), ' '));
  EXPECT_EQ(guest.back(), '\n');
}

TEST_F(ProcFsTest, ParentWithinTheInstanceIsShown) {
  Child child;
  source_.AddProcess(child.pid());
  EXPECT_THAT(Must(format("/{}/status", child.pid())), HasSubstr(format("\nPPid:\t{}\n", getpid())));
  EXPECT_THAT(Must(format("/{}/task/{}/children", getpid(), getpid())), HasSubstr(std::to_string(child.pid())));
}

TEST_F(ProcFsTest, ADeadProcessAndItsSuccessorAreNotMixedUp) {
  Child child;
  source_.AddProcess(child.pid());
  const std::string name = format("/{}", child.pid());
  const Ref<vfs::Inode> directory = *Walk(name);
  const Ref<vfs::Inode> status = *Walk(name + "/status");
  source_.AddProcess(child.pid());  // another record: the number was used again
  EXPECT_EQ(status->Open(O_RDONLY, context_.get()).error().code(), ESRCH);
  EXPECT_NE(*Walk(name), directory);
  EXPECT_TRUE(Read(name + "/status"));
  source_.Remove(child.pid());
  EXPECT_EQ(Walk(name).error().code(), ENOENT);
}

TEST_F(ProcFsTest, CommandLineTakesAScriptsPrefix) {
  const std::string host = Host("cmdline");
  EXPECT_EQ(Must("/self/cmdline"), host);
  ProcProcess& process = source_.process(getpid());
  process.command_prefix = {"/bin/sh", "/tmp/script"};
  process.command_drop = 1;
  EXPECT_EQ(Must("/self/cmdline"), std::string("/bin/sh\0/tmp/script\0", 20) + host.substr(host.find('\0') + 1));
}

TEST_F(ProcFsTest, MapsShowGuestNamesOnly) {
  const std::string guest = Must("/self/maps");
  EXPECT_THAT(guest, AllOf(HasSubstr("[stack]"), HasSubstr("[vdso]"), HasSubstr("/guest/usr/lib/")));
  char self[4096] = {};
  ASSERT_GT(readlink("/proc/self/exe", self, sizeof self - 1), 0);
  EXPECT_THAT(guest, Not(HasSubstr(self)));
  EXPECT_GT(std::ranges::count(guest, '\n'), 10);
  EXPECT_THAT(Must("/self/smaps"), AllOf(HasSubstr("Rss:"), Not(HasSubstr(self))));
  EXPECT_THAT(Must("/self/smaps_rollup"), HasSubstr("[rollup]"));
}

TEST_F(ProcFsTest, MapsHideTheSecretAndNameThePicoPage) {
  const UniqueFd status = *Walk("/self/status").value()->Open(O_RDONLY, context_.get());
  void* mapped = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, status.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  void* pico = mmap(reinterpret_cast<void*>(source_.PicoBase()), 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE,
                    status.get(), 0);
  const std::string guest = Must("/self/maps");
  EXPECT_THAT(guest, Not(HasSubstr(instance_.secret)));
  EXPECT_THAT(guest, HasSubstr(format("/{}/status\n", getpid())));
  if (pico != MAP_FAILED) {
    EXPECT_THAT(guest, HasSubstr("[usl]\n"));
    munmap(pico, 4096);
  }
  munmap(mapped, 4096);
}

TEST_F(ProcFsTest, AuxiliaryVectorIsTheOneOnTheStack) {
  EXPECT_EQ(Must("/self/auxv"), Host("auxv"));
  // A loader changes it there, and the host's copy stays.
  const std::string before = Must("/self/auxv");
  auto* entry = reinterpret_cast<Elf64_auxv_t*>(environ_end());
  while (entry->a_type != AT_SECURE && entry->a_type != AT_NULL) ++entry;
  ASSERT_EQ(entry->a_type, static_cast<uint64_t>(AT_SECURE));
  entry->a_un.a_val = 77;
  const std::string after = Must("/self/auxv");
  entry->a_un.a_val = 0;
  EXPECT_NE(after, before);
  EXPECT_EQ(after.size(), before.size());
}

TEST_F(ProcFsTest, LimitsShowTheVirtualOnes) {
  const std::string guest = Must("/self/limits");
  EXPECT_EQ(std::ranges::count(guest, '\n'), std::ranges::count(Host("limits"), '\n'));
  EXPECT_THAT(guest, HasSubstr("Max core file size        0                    unlimited            bytes     \n"));
  EXPECT_THAT(guest, HasSubstr("Max file locks            unlimited            unlimited            locks     \n"));
}

TEST_F(ProcFsTest, CommIsTheHostsOwnFile) {
  char before[16];
  prctl(PR_GET_NAME, before);
  UniqueFd fd = *Walk("/self/comm").value()->Open(O_RDWR, context_.get());
  EXPECT_EQ(ReadFd(fd.get()), std::string(before) + "\n");
  ASSERT_EQ(lseek(fd.get(), 0, SEEK_SET), 0);
  ASSERT_EQ(write(fd.get(), "renamed", 7), 7);
  char after[16];
  prctl(PR_GET_NAME, after);
  EXPECT_STREQ(after, "renamed");
  prctl(PR_SET_NAME, before);
  struct stat status;
  ASSERT_EQ(fstat(fd.get(), &status), 0);
  EXPECT_EQ(*proc_->FindPath(fd.get(), *Walk("/self/comm").value()), format("/{}/comm", getpid()));
  EXPECT_EQ(proc_->FindByHostFile(fd.get(), status), *Walk("/self/comm"));
}

TEST_F(ProcFsTest, OomAdjustmentLowersForGuestRootOnly) {
  Write("/self/oom_score_adj", "500\n");
  EXPECT_EQ(Must("/self/oom_score_adj"), "500\n");
  EXPECT_EQ(Host("oom_score_adj"), "500\n");
  Write("/self/oom_score_adj", "100\n");
  EXPECT_EQ(Must("/self/oom_score_adj"), "100\n");
  Write("/self/oom_score_adj", "5000\n");
  EXPECT_EQ(Must("/self/oom_score_adj"), "100\n");
  Write("/self/oom_score_adj", "0\n");
  EXPECT_EQ(Must("/self/oom_adj"), "0\n");
}

TEST_F(ProcFsTest, PtraceAccessIsTheGuests) {
  TestContext stranger(cred::UserCredentials(1001, 1001, {}));
  stranger.process = 1;
  for (const char* path : {"/self/environ", "/self/maps", "/self/auxv", "/self/mem", "/self/io"}) {
    EXPECT_EQ(ReadAs(path, stranger).error().code(), EACCES) << path;
  }
  EXPECT_EQ(Walk("/self/exe").value()->ReadLink(stranger.get()).error().code(), EACCES);
  EXPECT_EQ(Walk("/self/fd").value()->Lookup("0", stranger.get()).error().code(), EACCES);
  EXPECT_TRUE(ReadAs("/self/status", stranger));
  // The addresses in stat are hidden from it.
  EXPECT_NE(*ReadAs("/self/stat", stranger), *Read("/self/stat"));
  EXPECT_TRUE(Read("/self/environ"));
}

TEST_F(ProcFsTest, NonDumpableAndPendingExecAreClosed) {
  ProcProcess& process = source_.process(getpid());
  process.credentials = std::make_shared<cred::Credentials>(cred::UserCredentials(1001, 1001, {}));
  TestContext same(cred::UserCredentials(1001, 1001, {}));
  same.process = 1;
  EXPECT_TRUE(ReadAs("/self/environ", same));
  process.dumpable = false;
  EXPECT_EQ(ReadAs("/self/environ", same).error().code(), EACCES);
  EXPECT_EQ(Walk("/self/status").value()->GetAttributes()->uid, 0u);
  EXPECT_EQ(Walk("/self").value()->GetAttributes()->uid, 1001u);
  process.dumpable = true;
  process.exec_pending = true;
  EXPECT_EQ(ReadAs("/self/mem", same).error().code(), EACCES);
  EXPECT_TRUE(ReadAs("/self/environ", same));
}

TEST_F(ProcFsTest, DescriptorsAreListedAndFollowed) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  EXPECT_THAT(ListNames(*Walk("/self/fd").value()), Contains(std::to_string(reader.get())));
  const Ref<vfs::Inode> link = *Walk(format("/self/fd/{}", reader.get()));
  EXPECT_THAT(*link->ReadLink(context_.get()), StartsWith("pipe:["));
  EXPECT_EQ(link->GetAttributes()->mode, S_IFLNK | 0500u);
  vfs::Path path;
  EXPECT_TRUE(link->Follow(context_.get(), path)->get() >= 0);
  EXPECT_THAT(Must(format("/self/fdinfo/{}", reader.get())), StartsWith("pos:\t0\nflags:\t"));
  EXPECT_EQ(Walk("/self/fd/9999").error().code(), ENOENT);
  EXPECT_EQ(Walk("/self/fd/01").error().code(), ENOENT);
}

TEST_F(ProcFsTest, ThreadsHaveDirectories) {
  pid_t tid = 0;
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  std::thread thread([&] {
    char byte = 0;
    tid = gettid();
    if (write(ready[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1) abort();
  });
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THAT(ListNames(*Walk("/self/task").value()), Contains(std::to_string(tid)));
  EXPECT_THAT(Must(format("/self/task/{}/status", tid)), HasSubstr(format("\nPid:\t{}\n", tid)));
  EXPECT_THAT(Must(format("/{}/status", tid)), HasSubstr(format("\nTgid:\t{}\n", getpid())));
  EXPECT_THAT(ListNames(*proc_->root()), Not(Contains(std::to_string(tid))));
  EXPECT_EQ(ErrnoOf(format("/self/task/{}/task", tid)), ENOENT);
  ASSERT_EQ(write(ends[1], &byte, 1), 1);
  thread.join();
  for (const int fd : {ends[0], ends[1], ready[0], ready[1]}) close(fd);
}

TEST_F(ProcFsTest, EveryFileOfAProcessOpensOrSaysWhyNot) {
  int readable = 0;
  for (const std::string& name : ListNames(*Walk("/self").value())) {
    if (name == "." || name == "..") continue;
    const Ref<vfs::Inode> inode = *Walk("/self/" + name);
    EXPECT_TRUE(inode->GetAttributes()) << name;
    if (!inode->IsRegular()) continue;
    const auto fd = inode->Open(O_RDONLY, context_.get());
    if (name == "stack") {
      EXPECT_EQ(fd.error().code(), EACCES) << name;
      continue;
    }
    // Only what the host's kernel may be built without is missing.
    if (!fd) {
      EXPECT_TRUE(fd.error().code() == ENOENT || name == "clear_refs") << name << " " << fd.error().code();
      continue;
    }
    ++readable;
    struct stat status;
    ASSERT_EQ(fstat(fd->get(), &status), 0);
    EXPECT_EQ(proc_->FindByHostFile(fd->get(), status), inode) << name;
  }
  EXPECT_GT(readable, 30);
}

TEST_F(ProcFsTest, SystemFilesAreThere) {
  EXPECT_THAT(Must("/version"), StartsWith("Linux version 6.1.0-usl (usl@usl)"));
  EXPECT_THAT(Must("/meminfo"), StartsWith("MemTotal:"));
  EXPECT_THAT(Must("/stat"), StartsWith("cpu "));
  for (const char* path : {"/cpuinfo", "/loadavg", "/uptime", "/filesystems", "/devices", "/swaps", "/partitions",
                           "/tty/drivers", "/sysvipc/shm", "/cgroups", "/vmstat"}) {
    EXPECT_NE(Must(path), "") << path;
  }
  EXPECT_EQ(*Walk("/mounts").value()->ReadLink(context_.get()), "self/mounts");
  // Live content: the same descriptor reads newer values.
  const UniqueFd stat = *Walk("/stat").value()->Open(O_RDONLY, context_.get());
  struct stat status;
  ASSERT_EQ(fstat(stat.get(), &status), 0);
  EXPECT_EQ(proc_->FindByHostFile(stat.get(), status), *Walk("/stat"));
  EXPECT_EQ(Walk("/stat").value()->Open(O_RDWR, context_.get()).error().code(), EACCES);
}

TEST_F(ProcFsTest, NetworkShowsNothingOfTheHostsSockets) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const UniqueFd first(ends[0]), second(ends[1]);
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(listen(listener.get(), 1), 0);
  const auto inode = [](const UniqueFd& fd) {
    struct stat status;
    return fstat(fd.get(), &status) == 0 ? status.st_ino : 0;
  };
  EXPECT_EQ(std::ranges::count(Must("/self/net/unix"), '\n'), 1);
  EXPECT_EQ(std::ranges::count(Must("/self/net/tcp"), '\n'), 1);
  source_.sockets = {{inode(first), 33}, {inode(listener), 33}};
  EXPECT_THAT(Must("/self/net/unix"), AllOf(StartsWith("Num "), HasSubstr(format(" {}\n", inode(first)))));
  EXPECT_THAT(Must("/self/net/tcp"), HasSubstr(format("    33        0 {} ", inode(listener))));
  EXPECT_EQ(std::ranges::count(Must("/self/net/tcp"), '\n'), 2);
  EXPECT_THAT(Must("/self/net/dev"), StartsWith("Inter-|"));
  EXPECT_EQ(std::ranges::count(Must("/self/net/netlink"), '\n'), 1);
  source_.network = false;
  EXPECT_EQ(std::ranges::count(Must("/self/net/dev"), '\n'), 2);
  EXPECT_EQ(std::ranges::count(Must("/self/net/tcp"), '\n'), 1);
}

TEST_F(ProcFsTest, SysctlsAreReadAndKept) {
  EXPECT_EQ(Must("/sys/kernel/pid_max"), *ReadHostFile(AT_FDCWD, "/proc/sys/kernel/pid_max"));
  EXPECT_EQ(Must("/sys/kernel/ostype"), "Linux\n");
  EXPECT_EQ(Must("/sys/kernel/osrelease"), "6.1.0-usl\n");
  EXPECT_EQ(Must("/sys/kernel/random/uuid").size(), 37u);
  EXPECT_NE(Must("/sys/kernel/random/uuid"), Must("/sys/kernel/random/uuid"));
  EXPECT_EQ(Must("/sys/kernel/random/boot_id"), Must("/sys/kernel/random/boot_id"));
  const std::string host = *ReadHostFile(AT_FDCWD, "/proc/sys/vm/swappiness");
  Write("/sys/vm/swappiness", "17\n");
  EXPECT_EQ(Must("/sys/vm/swappiness"), "17\n");
  EXPECT_EQ(*ReadHostFile(AT_FDCWD, "/proc/sys/vm/swappiness"), host);
  Write("/sys/kernel/hostname", "changed\n");
  EXPECT_EQ(source_.host_name, "changed");
  EXPECT_EQ(Must("/sys/kernel/hostname"), "changed\n");
  Write("/sys/net/core/somaxconn", "99\n");
  EXPECT_EQ(Must("/sys/net/core/somaxconn"), "99\n");
  EXPECT_EQ(ErrnoOf("/sys/kernel/kexec_load_disabled"), ENOENT);
  source_.network = false;
  EXPECT_EQ(ErrnoOf("/sys/net/ipv4"), ENOENT);
}

TEST_F(ProcFsTest, UnprivilegedWritesOfSysctlsAreDropped) {
  const std::string before = Must("/sys/vm/swappiness");
  const TestContext user(cred::UserCredentials(1001, 1001, {}));
  const UniqueFd fd = *Walk("/sys/vm/swappiness").value()->Open(O_WRONLY, user.get());  // Vfs refuses by mode before
  ASSERT_EQ(write(fd.get(), "1\n", 2), 2);
  watcher_.Drain();
  EXPECT_EQ(Must("/sys/vm/swappiness"), before);
}

TEST_F(ProcFsTest, MountsAreFormattedAsLinuxDoes) {
  source_.mounts = {
      {.id = 20, .parent_id = 20, .device = 0x14, .root = "/", .mount_point = "/", .type = "volfs", .source = "usl"},
      {.id = 21,
       .parent_id = 20,
       .device = 0x15,
       .root = "/",
       .mount_point = "/a b",
       .flags = MS_RDONLY | MS_NOSUID | MS_RELATIME,
       .propagation = MS_SHARED,
       .peer_group = 3,
       .type = "tmpfs",
       .source = "none",
       .options = "size=4k"}};
  EXPECT_EQ(Must("/self/mounts"), "usl / volfs rw 0 0\nnone /a\\040b tmpfs ro,nosuid,relatime,size=4k 0 0\n");
  EXPECT_EQ(Must("/self/mountinfo"),
            "20 20 0:20 / / rw - volfs usl rw\n"
            "21 20 0:21 / /a\\040b ro,nosuid,relatime shared:3 - tmpfs none rw,size=4k\n");
}

TEST_F(ProcFsTest, NamespacesCompareEqual) {
  const Ref<vfs::Inode> link = *Walk("/self/ns/pid");
  EXPECT_THAT(*link->ReadLink(context_.get()), StartsWith("pid:[40265318"));
  vfs::Path path;
  const UniqueFd one = *link->Follow(context_.get(), path), two = *link->Follow(context_.get(), path);
  struct stat first, second;
  ASSERT_EQ(fstat(one.get(), &first) + fstat(two.get(), &second), 0);
  EXPECT_EQ(first.st_ino, second.st_ino);
  const Ref<vfs::Inode> object = proc_->FindByHostFile(one.get(), first);
  ASSERT_TRUE(object);
  EXPECT_EQ(object->GetAttributes()->ino, source_.NamespaceId(getpid(), ProcNamespace::kPid));
}

TEST_F(ProcFsTest, AFileOfADeadProcessKeepsItsIdentity) {
  Child child;
  source_.AddProcess(child.pid());
  const UniqueFd fd = *Walk(format("/{}/status", child.pid())).value()->Open(O_RDONLY, context_.get());
  source_.Remove(child.pid());
  struct stat status;
  ASSERT_EQ(fstat(fd.get(), &status), 0);
  // Else it would pass for a memfd of the guest, whose name may be read.
  const Ref<vfs::Inode> inode = proc_->FindByHostFile(fd.get(), status);
  ASSERT_TRUE(inode);
  EXPECT_EQ(inode->Open(O_RDONLY, context_.get()).error().code(), ESRCH);
}

}  // namespace
}  // namespace usl::fs
