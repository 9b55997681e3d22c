// inotify(7).
#include <sys/inotify.h>
#include <sys/syscall.h>

#include <vector>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

struct Event {
  int watch;
  uint32_t mask;
  std::string name;
};

std::vector<Event> Read(const Fd& inotify) {
  std::vector<Event> events;
  alignas(inotify_event) char buffer[4096];
  for (ssize_t count; (count = read(inotify.get(), buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < count;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      events.push_back({event->wd, event->mask, event->len ? event->name : ""});
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
  }
  return events;
}

bool Has(const std::vector<Event>& events, int watch, uint32_t mask, const std::string& name) {
  for (const Event& event : events) {
    if (event.watch == watch && (event.mask & mask) == mask && event.name == name) return true;
  }
  return false;
}

TEST(Inotify, TellsOfNamesInADirectory) {
  const TempDirectory dir;
  const Fd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  const int watch =
      inotify_add_watch(inotify.get(), dir.path().c_str(), IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE);
  ASSERT_THAT(watch, SyscallSucceeds());
  dir.File("f", "x");
  dir.Directory("d");
  ASSERT_THAT(rename((dir / "f").c_str(), (dir / "g").c_str()), SyscallSucceeds());
  ASSERT_THAT(unlink((dir / "g").c_str()), SyscallSucceeds());
  const auto events = Read(inotify);
  EXPECT_TRUE(Has(events, watch, IN_CREATE, "f"));
  EXPECT_TRUE(Has(events, watch, IN_CLOSE_WRITE, "f"));
  EXPECT_TRUE(Has(events, watch, IN_CREATE | IN_ISDIR, "d"));
  EXPECT_TRUE(Has(events, watch, IN_MOVED_FROM, "f"));
  EXPECT_TRUE(Has(events, watch, IN_MOVED_TO, "g"));
  EXPECT_TRUE(Has(events, watch, IN_DELETE, "g"));
}

TEST(Inotify, TellsOfAFile) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const int watch = inotify_add_watch(inotify.get(), path.c_str(), IN_MODIFY | IN_OPEN);
  ASSERT_THAT(watch, SyscallSucceeds());
  {
    const Fd fd(open(path.c_str(), O_WRONLY));
    EXPECT_THAT(write(fd.get(), "x", 1), SyscallSucceedsWithValue(1));
  }
  const auto events = Read(inotify);
  EXPECT_TRUE(Has(events, watch, IN_OPEN, ""));
  EXPECT_TRUE(Has(events, watch, IN_MODIFY, ""));
  EXPECT_THAT(inotify_rm_watch(inotify.get(), watch), SyscallSucceeds());
  EXPECT_TRUE(Has(Read(inotify), watch, IN_IGNORED, ""));
  EXPECT_THAT(inotify_rm_watch(inotify.get(), watch), SyscallFailsWithErrno(EINVAL));
}

TEST(Inotify, TheSameFileIsTheSameWatch) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  ASSERT_THAT(symlink("f", (dir / "l").c_str()), SyscallSucceeds());
  const Fd inotify(inotify_init1(0));
  const int watch = inotify_add_watch(inotify.get(), path.c_str(), IN_OPEN);
  EXPECT_EQ(inotify_add_watch(inotify.get(), (dir / "l").c_str(), IN_CLOSE), watch);
  EXPECT_NE(inotify_add_watch(inotify.get(), (dir / "l").c_str(), IN_OPEN | IN_DONT_FOLLOW), watch);
  EXPECT_THAT(inotify_add_watch(inotify.get(), path.c_str(), IN_OPEN | IN_MASK_CREATE), SyscallFailsWithErrno(EEXIST));
}

TEST(Inotify, Errors) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0600);
  const Fd inotify(inotify_init1(0)), other(open(path.c_str(), O_RDONLY));
  EXPECT_THAT(inotify_add_watch(inotify.get(), (dir / "missing").c_str(), IN_OPEN), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(inotify_add_watch(inotify.get(), path.c_str(), 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(inotify_add_watch(inotify.get(), path.c_str(), IN_OPEN | IN_ONLYDIR), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(inotify_add_watch(other.get(), path.c_str(), IN_OPEN), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(inotify_add_watch(-1, path.c_str(), IN_OPEN), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(syscall(SYS_inotify_add_watch, inotify.get(), kWildPointer, IN_OPEN), SyscallFailsWithErrno(EFAULT));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return inotify_add_watch(inotify.get(), path.c_str(), IN_OPEN); }), EACCES);
}

}  // namespace
}  // namespace usl::conformance
