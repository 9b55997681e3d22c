#include "model/session.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "model/dump.h"

namespace usl::model {
namespace {

[[noreturn]] void Die(const char* what) {
  perror(what);
  exit(2);
}

// Users 0 to 2 are root and two ordinary ones, 3 is root without what overrides permissions, 4 and up are the first
// ordinary user with one capability.
constexpr uint64_t Bit(int capability) {
  return uint64_t{1} << capability;
}
constexpr int kSingle[] = {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_CHOWN, CAP_FSETID, CAP_SETFCAP};
constexpr uint64_t kOverriding =
    Bit(CAP_DAC_OVERRIDE) | Bit(CAP_DAC_READ_SEARCH) | Bit(CAP_FOWNER) | Bit(CAP_CHOWN) | Bit(CAP_FSETID);
constexpr int kUsers = 4 + static_cast<int>(std::size(kSingle));
constexpr gid_t kSharedGroup = 50;

// The effective set becomes `wanted` within what is permitted.
void SetEffective(uint64_t wanted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) < 0) Die("capget");
  for (int i = 0; i < 2; ++i) data[i].effective = data[i].permitted & static_cast<uint32_t>(wanted >> (32 * i));
  if (syscall(SYS_capset, &header, data) < 0) Die("capset");
}

}  // namespace

Session::Session(const SessionOptions& options, FILE* log) : options_(options), log_(log), random_(options.seed) {
  for (int& fd : fds_) fd = -1;
}

Session::~Session() {
  for (int fd : fds_) {
    if (fd >= 0) close(fd);
  }
}

void PrepareRound(const std::string& directory, unsigned number) {
  Random random(number);
  const std::string round = directory + "/round" + std::to_string(number);
  umask(0);
  if (mkdir(round.c_str(), 0777) < 0 || chdir(round.c_str()) < 0) Die(round.c_str());
  static constexpr uid_t kOwners[] = {0, 1000, 1001};
  static constexpr mode_t kModes[] = {0777, 0755, 0775, 01777, 02777};
  for (const char* path : {"a", "b", "c", "a/c", "a/d", "b/c", "b/d", "a/c/d", "a/c/e"}) {
    if (mkdir(path, 0777) < 0) Die(path);
    for (const char* name : {"a", "b"}) {
      const std::string file = std::string(path) + "/" + name;
      if (random.OneIn(4) || access(file.c_str(), F_OK) == 0) continue;
      const int fd = open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
      if (fd < 0 || pwrite(fd, "content", 7, random.OneIn(4) ? 100'000 : 0) != 7) Die(file.c_str());
      if (random.OneIn(3)) fsetxattr(fd, "user.a", "lower", 5, 0);
      if (fchown(fd, random.Pick(kOwners), random.Pick(kOwners)) < 0 || fchmod(fd, random.Pick(kModes)) < 0)
        Die("fchown");
      close(fd);
    }
  }
  for (const auto& [from, to] : {std::pair("a/c/a", "b/linked"), std::pair("a/b", "d"), std::pair("b/a", "b/d/d"),
                                 std::pair("c/a", "c/linked")}) {
    // Not all of the files are there.
    if (link(from, to) < 0 && errno != ENOENT && errno != EEXIST) Die("link");
  }
  for (const auto& [target, path] : {std::pair("a/c", "b/b"), std::pair("../b/a", "c/d"), std::pair("d", "a/c/c")}) {
    if (symlink(target, path) < 0 && errno != EEXIST) Die("symlink");
  }
  if (mkfifo("c/c", 0666) < 0 || chown("c/c", 1000, 1001) < 0) Die("mkfifo");
  for (const char* path : {"a", "b", "c", "a/c", "a/d", "b/c", "b/d", "a/c/d"}) {
    if (chown(path, random.Pick(kOwners), random.Pick(kOwners)) < 0 || chmod(path, random.Pick(kModes)) < 0) Die(path);
  }
  // Times of the past, so that it shows which of them change.
  const timespec times[2] = {{1000, 1}, {2000, 2}};
  for (const char* path :
       {"a", "b", "c", "a/c", "a/d", "b/c", "b/d", "a/c/d", "a/a", "a/b", "b/a", "c/b", "b/linked", "c/c"}) {
    utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
  }
}

void Session::StartRound(unsigned number) {
  for (int& fd : fds_) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  umask(0);
  round_directory_ = options_.directory + "/round" + std::to_string(number);
  if (!options_.prepared && mkdir(round_directory_.c_str(), 0777) < 0) Die(round_directory_.c_str());
  if (chdir(round_directory_.c_str()) < 0) Die("chdir");
  if (options_.prepared) return;
  // Something to begin with: two levels of directories with a file in each, and a descriptor of some of them.
  int slot = 0;
  for (const char* directory : {"a", "b", "a/c", "b/c", "a/c/d"}) {
    if (mkdir(directory, 0777) < 0) Die(directory);
    const std::string file = std::string(directory) + "/a";
    const int fd = open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, "content", 7) != 7) Die(file.c_str());
    static constexpr uid_t kOwners[] = {0, 1000, 1001};
    const uid_t owner = random_.Pick(kOwners);
    if (chown(directory, owner, owner) < 0 || fchown(fd, random_.Pick(kOwners), owner) < 0) Die(file.c_str());
    if (slot == kSlots) {
      close(fd);
      continue;
    }
    fds_[slot++] = fd;
    if (slot < kSlots) fds_[slot++] = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
}

void Session::Dump() {
  fprintf(log_, "-- %s\n%s--\n", round_directory_.c_str() + options_.directory.size(),
          DumpTree(round_directory_, !options_.prepared).c_str());
}

void Session::BecomeUser() {
  if (user_ == 0) return;
  if (user_ == 3) return SetEffective(~kOverriding);
  const uid_t id = user_ == 2 ? 1001 : 1000;
  const gid_t groups[] = {id, kSharedGroup};
  if (setgroups(user_ == 2 ? 1 : 2, groups) < 0) Die("setgroups");
  if (setresgid(-1, id, -1) < 0 || setresuid(-1, id, -1) < 0) Die("setresuid");
  if (user_ > 3) SetEffective(Bit(kSingle[user_ - 4]));
}

void Session::BecomeRoot() {
  if (setresuid(-1, 0, -1) < 0) Die("setresuid");
  SetEffective(~uint64_t{0});
  if (setresgid(-1, 0, -1) < 0 || setgroups(0, nullptr) < 0) Die("setgroups");
}

void Session::Say(const char* format, ...) {
  char text[8192];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  line_ += text;
}

long Session::Outcome(long result) {
  const int error = errno;
  if (result < 0) {
    Say(" = %s", strerrorname_np(error));
  } else {
    Say(" = %ld", result);
  }
  errno = error;
  return result;
}

std::string Session::RandomPath() {
  static constexpr const char* kNames[] = {"a", "b", "c", "d", "a", "b", "c", "d", "a", "b", "c", "d", "\xff\xfe x"};
  static constexpr const char* kDots[] = {".", ".."};
  static constexpr unsigned kDepths[] = {1, 1, 1, 1, 1, 2, 2, 2, 2, 3};
  std::string path;
  const unsigned start = random_.Below(40);
  if (start < 4) {
    path = round_directory_ + "/";
  } else if (start == 4) {
    path = "/proc/self/fd/" + std::to_string(SlotFd(static_cast<int>(random_.Below(kSlots))));
    if (random_.OneIn(2)) return path;
    path += "/";
  } else if (start == 5 && random_.OneIn(6)) {
    return "";
  }
  const unsigned depth = random_.Pick(kDepths);
  for (unsigned i = 0; i < depth; ++i) {
    if (i > 0) path += random_.OneIn(16) ? "//" : "/";
    if (random_.OneIn(25)) path += std::string(random_.Pick(kDots)) + "/";
    path += random_.OneIn(100) ? std::string(254 + random_.Below(3), 'n') : random_.Pick(kNames);
  }
  if (random_.OneIn(12)) path += '/';
  return path;
}

Session::Where Session::RandomWhere() {
  if (!random_.OneIn(6)) return {AT_FDCWD, RandomPath()};
  const int slot = static_cast<int>(random_.Below(kSlots));
  return {SlotFd(slot), RandomPath()};
}

Session::Where Session::RandomName() {
  Where where = RandomWhere();
  // In /proc/self/fd itself there is nothing to change.
  if (IsMagic(where) && where.path.find('/', strlen("/proc/self/fd/")) == std::string::npos) where.path += "/a";
  return where;
}

void Session::SayWhere(const Where& where) {
  std::string path = where.path;
  if (path.starts_with(options_.directory)) path.replace(0, options_.directory.size(), "@");
  for (int slot = 0; slot < kSlots; ++slot) {
    if (where.dirfd == SlotFd(slot)) Say(" slot%d", slot);
  }
  Say(" \"%s\"", Escaped(path).c_str());
}

// Mostly permissive, or nothing would ever be reached.
mode_t Session::RandomMode() {
  if (random_.OneIn(3)) return random_.Below(010000);
  static constexpr mode_t kModes[] = {0777, 0777, 0755, 01777, 02777, 06755, 0666};
  return random_.Pick(kModes);
}

std::string Session::RandomXattrName() {
  static constexpr const char* kNames[] = {"user.a",
                                           "user.b",
                                           "user.usl",
                                           "user.a",
                                           "trusted.a",
                                           "security.a",
                                           "security.capability",
                                           "system.a",
                                           "nonsense.a",
                                           "user.",
                                           "trusted.",
                                           "plain",
                                           "system.posix_acl_access",
                                           "user.b",
                                           "system.posix_acl_default"};
  return random_.Pick(kNames);
}

// A list of acl(5) in its binary form; now and then one that is wrong.
std::string Session::RandomAcl() {
  struct Entry {
    uint16_t tag, permissions;
    uint32_t id;
  };
  std::string blob(4, '\0');
  blob[0] = 2;  // the version
  const auto add = [&](uint16_t tag, uint32_t id) {
    const Entry entry{tag, static_cast<uint16_t>(random_.Below(8)), id};
    blob.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  };
  constexpr uint32_t kNoId = ~uint32_t{0};
  const bool named_user = random_.OneIn(2), named_group = random_.OneIn(2);
  add(0x01, kNoId);
  if (named_user) add(0x02, random_.OneIn(2) ? 1000 : 1001);
  add(0x04, kNoId);
  if (named_group) add(0x08, random_.OneIn(2) ? kSharedGroup : 1001);
  if ((named_user || named_group) != random_.OneIn(12)) add(0x10, kNoId);
  if (!random_.OneIn(12)) add(0x20, kNoId);
  if (random_.OneIn(20)) blob.resize(blob.size() - 1);
  return blob;
}

void Session::Keep(int fd) {
  int& slot = fds_[random_.Below(kSlots)];
  if (slot >= 0) close(slot);
  slot = fd;
}

void Session::Step(unsigned number) {
  using Operation = void (Session::*)();
  // Names are made more often than they are removed, and looked at now and then.
  static constexpr Operation kOperations[] = {
      &Session::MakeDirectory,
      &Session::MakeDirectory,
      &Session::MakeDirectory,
      &Session::MakeDirectory,
      &Session::MakeNode,
      &Session::MakeNode,
      &Session::MakeSymlink,
      &Session::MakeSymlink,
      &Session::MakeLink,
      &Session::MakeLink,
      &Session::MakeLink,
      &Session::Unlink,
      &Session::Unlink,
      &Session::RemoveDirectory,
      &Session::Rename,
      &Session::Rename,
      &Session::Rename,
      &Session::Rename,
      &Session::ChangeDirectory,
      &Session::Open,
      &Session::Open,
      &Session::Open,
      &Session::Open,
      &Session::Open,
      &Session::Open,
      &Session::Open2,
      &Session::OpenUnnamed,
      &Session::Truncate,
      &Session::MakeDirectory,
      &Session::ChangeMode,
      &Session::ChangeMode,
      &Session::ChangeMode,
      &Session::ChangeOwner,
      &Session::ChangeOwner,
      &Session::ChangeTimes,
      &Session::ChangeTimes,
      &Session::SetXattr,
      &Session::SetXattr,
      &Session::SetXattr,
      &Session::GetXattr,
      &Session::ListXattr,
      &Session::RemoveXattr,
      &Session::SetAcl,
      &Session::SetAcl,
      &Session::Access,
      &Session::Access,
      &Session::Stat,
      &Session::Stat,
      &Session::ReadLink,
      &Session::ListDirectory,
      &Session::Slot,
      &Session::Slot,
      &Session::Slot,
      &Session::Slot,
      &Session::Slot,
      &Session::Slot,
      &Session::Slot,
      &Session::Slot,
  };
  static constexpr int kWhom[] = {0, 0, 0, 1, 1, 1, 2, 2};
  // Anew for each operation, so that one that differs does not change all that follow.
  random_ = Random(options_.seed * 1'000'003 + number);
  user_ = random_.OneIn(4) ? static_cast<int>(random_.Below(kUsers)) : random_.Pick(kWhom);
  static constexpr mode_t kUmasks[] = {0, 022, 022, 077};
  const mode_t mask = random_.Pick(kUmasks);
  line_.clear();
  Say("%u user%d umask %o ", number, user_, mask);
  umask(mask);
  BecomeUser();
  (this->*random_.Pick(kOperations))();
  BecomeRoot();
  fprintf(log_, "%s\n", line_.c_str());
}

}  // namespace usl::model
