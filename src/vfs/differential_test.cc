// The same random operations on the host's Linux (in a scratch directory that is the root of a thread of its own) and
// on Vfs: each must give the same errno, and the trees must be the same in the end. Needs root, as the operations
// change user; skipped otherwise. USL_SEED and USL_OPERATIONS choose another run.
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <fstream>
#include <random>
#include <thread>

#include "base/format.h"
#include "vfs/device_table.h"
#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

struct Operation {
  enum Kind {
    kMkdir,
    kMknod,
    kSymlink,
    kLink,
    kUnlink,
    kRmdir,
    kRename,
    kOpen,
    kChmod,
    kChown,
    kTruncate,
    kAccess,
    kStat,
    kReadLink,
    kKinds
  };
  Kind kind;
  int user;  // 0 root, 1 alice, 2 bob
  std::string path, other;
  unsigned mode = 0;
  int flags = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t umask = 0;

  std::string Text() const {
    static constexpr const char* kNames[] = {"mkdir", "mknod", "symlink", "link",     "unlink", "rmdir", "rename",
                                             "open",  "chmod", "chown",   "truncate", "access", "stat",  "readlink"};
    return format("{}({:?}, {:?}) user {} mode {:o} flags {:#x} owner {}:{} umask {:o}", kNames[kind], path, other,
                  user, mode, flags, static_cast<int>(uid), static_cast<int>(gid), umask);
  }
};

// Random modes and links sooner or later leave nothing to be reached ("/" of mode 0, four links in a loop), so every so
// often the work moves to a fresh directory and "/" is opened up again.
constexpr size_t kRound = 500;
std::string RoundDirectory(size_t operation) {
  return format("/round{}", operation / kRound);
}

constexpr uid_t kUids[] = {0, 1000, 1001};
constexpr gid_t kGroups[][2] = {{0, 0}, {1000, 50}, {1001, 1001}};

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  Operation Next() {
    Operation operation;
    // Names are made more often than they are removed, and looked at now and then.
    static constexpr Operation::Kind kWeights[] = {
        Operation::kMkdir,   Operation::kMkdir,    Operation::kMkdir,  Operation::kMknod,  Operation::kMknod,
        Operation::kSymlink, Operation::kSymlink,  Operation::kLink,   Operation::kLink,   Operation::kUnlink,
        Operation::kRmdir,   Operation::kRename,   Operation::kRename, Operation::kRename, Operation::kOpen,
        Operation::kOpen,    Operation::kOpen,     Operation::kOpen,   Operation::kChmod,  Operation::kChmod,
        Operation::kChown,   Operation::kTruncate, Operation::kAccess, Operation::kStat,   Operation::kReadLink};
    operation.kind = Pick(kWeights);
    operation.user = static_cast<int>(Below(3));
    operation.path = RandomPath();
    operation.other = RandomPath();
    static constexpr mode_t kUmasks[] = {0, 022, 077};
    operation.umask = Pick(kUmasks);
    operation.uid = Below(4) == 0 ? static_cast<uid_t>(-1) : kUids[Below(3)];
    static constexpr gid_t kGids[] = {0, 50, 1000, 1001, static_cast<gid_t>(-1)};
    operation.gid = Pick(kGids);
    // Mostly permissive, or nothing would ever be reached.
    operation.mode = Below(3) == 0 ? Below(07777 + 1) : (Below(2) ? 0777 : 01777);
    switch (operation.kind) {
      case Operation::kMknod: {
        static constexpr unsigned kTypes[] = {S_IFREG, S_IFREG, S_IFIFO, S_IFSOCK, 0, S_IFCHR, S_IFDIR, S_IFLNK};
        operation.mode |= Pick(kTypes);
        break;
      }
      case Operation::kOpen: {
        operation.flags = static_cast<int>(Below(4)) | O_NONBLOCK;
        for (int flag : {O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW}) operation.flags |= Below(3) == 0 ? flag : 0;
        for (int flag : {O_DIRECTORY, O_PATH, O_NOATIME, O_APPEND}) operation.flags |= Below(8) == 0 ? flag : 0;
        if (Below(16) == 0) operation.flags |= O_TMPFILE;
        break;
      }
      case Operation::kRename: operation.flags = Below(2) ? 0 : static_cast<int>(Below(5)); break;
      case Operation::kLink: operation.flags = Below(3) ? 0 : AT_SYMLINK_FOLLOW; break;
      case Operation::kAccess: operation.flags = static_cast<int>(Below(8)); break;
      default: break;
    }
    return operation;
  }

 private:
  unsigned Below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  template <typename T, size_t N>
  T Pick(const T (&choices)[N]) {
    return choices[Below(N)];
  }
  std::string RandomPath() {
    static constexpr const char* kNames[] = {"a", "b", "c", "d", "a", "b", "c", "d", "a", "b", ".", ".."};
    std::string path = Below(4) ? "" : "/";
    static constexpr unsigned kDepths[] = {1, 1, 1, 1, 2, 2, 3, 4};
    const unsigned depth = Pick(kDepths);
    for (unsigned i = 0; i < depth; ++i) {
      if (i > 0) path += Below(16) ? "/" : "//";
      path += Pick(kNames);
    }
    if (Below(8) == 0) path += '/';
    return path;
  }
  std::mt19937 random_;
};

// Runs the operations natively; in a thread that has unshared its root directory. Raw calls: the C library would change
// the user of all threads.
class Native {
 public:
  static void StartRound(const std::string& directory) {
    ::umask(0);
    EXPECT_EQ(::chown("/", 0, 0), 0);
    EXPECT_EQ(::chmod("/", 0777), 0);
    EXPECT_EQ(::mkdir(directory.c_str(), 0777), 0);
    EXPECT_EQ(::chdir(directory.c_str()), 0);
  }
  static int Run(const Operation& operation) {
    ::umask(operation.umask);
    SetUser(operation.user);
    const int error = Call(operation) < 0 ? errno : 0;
    SetUser(0);
    return error;
  }

 private:
  static void SetUser(int user) {
    if (user == 0) {
      ::syscall(SYS_setresuid, -1, 0, -1);
      ::syscall(SYS_setresgid, -1, 0, -1);
      ::syscall(SYS_setgroups, 0, nullptr);
      return;
    }
    ::syscall(SYS_setgroups, 2, kGroups[user]);
    ::syscall(SYS_setresgid, -1, kGroups[user][0], -1);
    ::syscall(SYS_setresuid, -1, kUids[user], -1);
  }
  // Vfs takes set-id bits when a file is opened for writing, Linux at the write (README.md, differences). A truncation
  // to the size that the file has makes Linux do it here and changes nothing else, so that the trees stay comparable.
  static int OpenAndClose(const Operation& operation) {
    struct stat before, status;
    const bool existed = ::stat(operation.path.c_str(), &before) == 0;
    const int fd = ::open(operation.path.c_str(), operation.flags | O_CLOEXEC, operation.mode);
    if (fd < 0) return fd;
    const int access = operation.flags & O_ACCMODE;
    const bool writes = (access == O_WRONLY || access == O_RDWR) && !(operation.flags & O_PATH);
    if (existed && writes && S_ISREG(before.st_mode) && ::fstat(fd, &status) == 0) {
      EXPECT_EQ(::ftruncate(fd, status.st_size), 0);
    }
    ::close(fd);
    return 0;
  }
  static long Call(const Operation& operation) {
    const char* path = operation.path.c_str();
    const char* other = operation.other.c_str();
    struct stat status;
    char text[4096];
    switch (operation.kind) {
      case Operation::kMkdir: return ::mkdir(path, operation.mode);
      case Operation::kMknod: return ::mknod(path, operation.mode, S_ISCHR(operation.mode) ? makedev(1, 3) : 0);
      case Operation::kSymlink: return ::symlink(other, path);
      case Operation::kLink: return ::linkat(AT_FDCWD, path, AT_FDCWD, other, operation.flags);
      case Operation::kUnlink: return ::unlink(path);
      case Operation::kRmdir: return ::rmdir(path);
      case Operation::kRename: return ::syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, other, operation.flags);
      case Operation::kOpen: return OpenAndClose(operation);
      case Operation::kChmod: return ::chmod(path, operation.mode);
      case Operation::kChown: return ::lchown(path, operation.uid, operation.gid);
      case Operation::kTruncate: return ::truncate(path, operation.mode);
      case Operation::kAccess: return ::syscall(SYS_faccessat2, AT_FDCWD, path, operation.flags, AT_EACCESS);
      case Operation::kStat: return ::lstat(path, &status);
      case Operation::kReadLink: return ::readlink(path, text, sizeof text);
      default: return 0;
    }
  }
};

// One line for each name: type, mode, owner, links, target.
std::string Line(const std::string& path, const struct stat& status, const std::string& target) {
  const bool directory = S_ISDIR(status.st_mode);
  return format("{} {:o} {}:{} links {} size {} {}\n", path, status.st_mode, status.st_uid, status.st_gid,
                directory ? 0 : status.st_nlink, S_ISREG(status.st_mode) ? status.st_size : 0, target);
}

class DifferentialTest : public VfsFixture {
 protected:
  void StartRound(const std::string& directory) {
    umask_ = 0;
    Own("/", 0777, 0, 0);
    EXPECT_THAT(vfs_->MakeDirectory(As(super_), At(directory), 0777), Succeeds());
    cwd_ = PathAt(directory);
  }
  int RunVirtual(const Operation& operation) {
    umask_ = operation.umask;
    const cred::Credentials& who = operation.user == 0 ? super_ : operation.user == 1 ? alice_ : bob_;
    auto code = [](const auto& result) { return result ? 0 : result.error().code(); };
    const Context context = As(who);
    const Location path = At(operation.path), other = At(operation.other);
    auto on_path = [&](unsigned flags, auto function) {
      auto found = vfs_->Walk(context, path, flags);
      if (!found) return found.error().code();
      return code(function(FileIdentity{*found, found->dentry->inode()}));
    };
    switch (operation.kind) {
      case Operation::kMkdir: return code(vfs_->MakeDirectory(context, path, operation.mode));
      case Operation::kMknod:
        return code(vfs_->MakeNode(context, path, operation.mode, S_ISCHR(operation.mode) ? makedev(1, 3) : 0));
      case Operation::kSymlink: return code(vfs_->MakeSymlink(context, path, operation.other));
      case Operation::kLink: return code(vfs_->Link(context, path, other, operation.flags));
      case Operation::kUnlink: return code(vfs_->Unlink(context, path));
      case Operation::kRmdir: return code(vfs_->RemoveDirectory(context, path));
      case Operation::kRename: return code(vfs_->Rename(context, path, other, static_cast<unsigned>(operation.flags)));
      case Operation::kOpen: return code(vfs_->Open(context, path, {operation.flags, operation.mode, 0}));
      case Operation::kChmod:
        return on_path(0, [&](const FileIdentity& file) { return vfs_->ChangeMode(context, file, operation.mode); });
      case Operation::kChown:
        return on_path(Vfs::kNoFollow, [&](const FileIdentity& file) {
          return vfs_->ChangeOwner(context, file, operation.uid, operation.gid);
        });
      case Operation::kTruncate:
        return on_path(0, [&](const FileIdentity& file) { return vfs_->Truncate(context, file, operation.mode); });
      case Operation::kAccess:
        return on_path(
            0, [&](const FileIdentity& file) { return vfs_->Access(context, file.path, operation.flags, true); });
      case Operation::kStat:
        return on_path(Vfs::kNoFollow, [&](const FileIdentity& file) { return vfs_->Stat(file.path); });
      case Operation::kReadLink:
        return on_path(Vfs::kNoFollow, [&](const FileIdentity& file) { return vfs_->ReadLink(context, file.path); });
      default: return 0;
    }
  }

  static void ListNative(const std::string& host, const std::string& path, std::string& text) {
    std::vector<std::string> names;
    for (auto& entry : std::filesystem::directory_iterator(host + path)) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    for (auto& name : names) {
      const std::string child = path + "/" + name;
      struct stat status {};
      EXPECT_EQ(::lstat((host + child).c_str(), &status), 0) << child;
      text += Line(child, status, S_ISLNK(status.st_mode) ? std::filesystem::read_symlink(host + child) : "");
      if (S_ISDIR(status.st_mode)) ListNative(host, child, text);
    }
  }
  void ListVirtual(TestInode& directory, const std::string& path, std::string& text) {
    for (auto& [name, inode] : directory.children) {
      const std::string child = path + "/" + name;
      const Attributes attributes = *inode->GetAttributes();
      struct stat status {};
      status.st_mode = attributes.mode;
      status.st_uid = attributes.uid;
      status.st_gid = attributes.gid;
      status.st_nlink = attributes.nlink;
      status.st_size = static_cast<off_t>(attributes.size);
      text += Line(child, status, inode->target);
      if (inode->IsDirectory()) ListVirtual(*inode, child, text);
    }
  }
};

int HostSetting(std::string_view name) {
  int value = 0;
  std::ifstream(format("/proc/sys/fs/protected_{}", name)) >> value;
  return value;
}

TEST_F(DifferentialTest, RandomOperationsGiveLinuxsErrnos) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  vfs_->protection() = {.symlinks = HostSetting("symlinks"),
                        .hardlinks = HostSetting("hardlinks"),
                        .fifos = HostSetting("fifos"),
                        .regular = HostSetting("regular")};
  const char* seed_text = ::getenv("USL_SEED");
  const char* count_text = ::getenv("USL_OPERATIONS");
  const unsigned seed = seed_text ? static_cast<unsigned>(::atol(seed_text)) : std::random_device()();
  const int count = count_text ? ::atoi(count_text) : 5000;
  SCOPED_TRACE(format("USL_SEED={}", seed));
  Generator generator(seed);
  std::vector<Operation> operations;
  for (int i = 0; i < count; ++i) operations.push_back(generator.Next());

  const std::string scratch = runtime_ + "/native";
  ASSERT_EQ(::mkdir(scratch.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(scratch.c_str(), 0777), 0);
  std::vector<int> expected;
  bool ready = false;
  std::thread native([&] {
    ready = ::unshare(CLONE_FS) == 0 && ::chroot(scratch.c_str()) == 0 && ::chdir("/") == 0;
    if (!ready) return;
    for (size_t i = 0; i < operations.size(); ++i) {
      if (i % kRound == 0) Native::StartRound(RoundDirectory(i));
      expected.push_back(Native::Run(operations[i]));
    }
  });
  native.join();
  if (!ready) GTEST_SKIP() << "may not change the root directory";

  vfs_->devices().Register(S_IFCHR, makedev(1, 3), [](const Path&, int, const Context&) -> Result<UniqueFd> {
    return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  });
  int mismatches = 0, successes = 0;
  for (size_t i = 0; i < operations.size() && mismatches < 10; ++i) {
    if (i % kRound == 0) StartRound(RoundDirectory(i));
    const int got = RunVirtual(operations[i]);
    successes += got == 0;
    if (got == expected[i]) continue;
    ++mismatches;
    ADD_FAILURE() << "operation " << i << ": " << operations[i].Text() << ": Linux " << expected[i] << ", here " << got;
  }
  EXPECT_GT(successes, count / 10) << "the run reaches something";
  RecordProperty("successes", successes);
  std::string linux_tree, our_tree;
  ListNative(scratch, "", linux_tree);
  ListVirtual(tests_->root_inode(), "", our_tree);
  if (linux_tree != our_tree) {
    const size_t at = static_cast<size_t>(std::ranges::mismatch(linux_tree, our_tree).in1 - linux_tree.begin());
    const size_t line = at == 0 ? 0 : linux_tree.rfind('\n', at - 1) + 1;
    ADD_FAILURE() << "Linux: " << linux_tree.substr(line, 80) << "\nhere: " << our_tree.substr(line, 80);
  }
}

}  // namespace
}  // namespace usl::vfs
