// inotify(7).
#include <sys/inotify.h>
#include <sys/syscall.h>

#include <utility>
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

// The events of one watch in order, as text: "CREATE f", "DELETE_SELF".
std::vector<std::string> Names(const std::vector<Event>& events, int watch) {
  constexpr std::pair<uint32_t, const char*> kNames[] = {
      {IN_ACCESS, "ACCESS"},
      {IN_MODIFY, "MODIFY"},
      {IN_ATTRIB, "ATTRIB"},
      {IN_CLOSE_WRITE, "CLOSE_WRITE"},
      {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"},
      {IN_OPEN, "OPEN"},
      {IN_MOVED_FROM, "MOVED_FROM"},
      {IN_MOVED_TO, "MOVED_TO"},
      {IN_CREATE, "CREATE"},
      {IN_DELETE, "DELETE"},
      {IN_DELETE_SELF, "DELETE_SELF"},
      {IN_MOVE_SELF, "MOVE_SELF"},
      {IN_IGNORED, "IGNORED"},
      {IN_UNMOUNT, "UNMOUNT"},
  };
  std::vector<std::string> texts;
  for (const Event& event : events) {
    if (event.watch != watch) continue;
    std::string text;
    for (const auto& [mask, name] : kNames) {
      if (event.mask & mask) text += (text.empty() ? "" : "|") + std::string(name);
    }
    if (event.mask & IN_ISDIR) text += "|ISDIR";
    texts.push_back(event.name.empty() ? text : text + " " + event.name);
  }
  return texts;
}

constexpr uint32_t kNameEvents = IN_CREATE | IN_DELETE | IN_MOVE;

TEST(Inotify, TheLifeOfANameInOrder) {
  const TempDirectory dir;
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const int watch = inotify_add_watch(inotify.get(), dir.path().c_str(), kNameEvents | IN_CLOSE_WRITE | IN_MODIFY);
  dir.File("f", "x");
  ASSERT_THAT(link((dir / "f").c_str(), (dir / "l").c_str()), SyscallSucceeds());
  ASSERT_THAT(symlink("f", (dir / "s").c_str()), SyscallSucceeds());
  ASSERT_THAT(mkfifo((dir / "p").c_str(), 0600), SyscallSucceeds());
  ASSERT_THAT(mkdir((dir / "d").c_str(), 0700), SyscallSucceeds());
  ASSERT_THAT(rename((dir / "l").c_str(), (dir / "s").c_str()), SyscallSucceeds());
  ASSERT_THAT(rename((dir / "f").c_str(), (dir / "d/f").c_str()), SyscallSucceeds());
  ASSERT_THAT(rename((dir / "d/f").c_str(), (dir / "g").c_str()), SyscallSucceeds());
  ASSERT_THAT(unlink((dir / "g").c_str()), SyscallSucceeds());
  ASSERT_THAT(rmdir((dir / "d").c_str()), SyscallSucceeds());
  EXPECT_THAT(Names(Read(inotify), watch),
              ::testing::ElementsAre("CREATE f", "MODIFY f", "CLOSE_WRITE f", "CREATE l", "CREATE s", "CREATE p",
                                     "CREATE|ISDIR d", "MOVED_FROM l", "MOVED_TO s", "MOVED_FROM f", "MOVED_TO g",
                                     "DELETE g", "DELETE|ISDIR d"));
}

TEST(Inotify, ARenameHasOneCookie) {
  const TempDirectory dir;
  dir.File("a");
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  ASSERT_THAT(inotify_add_watch(inotify.get(), dir.path().c_str(), IN_MOVE), SyscallSucceeds());
  ASSERT_THAT(rename((dir / "a").c_str(), (dir / "b").c_str()), SyscallSucceeds());
  alignas(inotify_event) char buffer[4096];
  const ssize_t count = read(inotify.get(), buffer, sizeof buffer);
  ASSERT_GT(count, 0);
  const auto* from = reinterpret_cast<const inotify_event*>(buffer);
  const auto* to = reinterpret_cast<const inotify_event*>(buffer + sizeof *from + from->len);
  EXPECT_EQ(from->mask, uint32_t{IN_MOVED_FROM});
  EXPECT_EQ(to->mask, uint32_t{IN_MOVED_TO});
  EXPECT_NE(from->cookie, 0u);
  EXPECT_EQ(from->cookie, to->cookie);
}

TEST(Inotify, WhatAnotherUserMakesIsCreated) {
  const TempDirectory dir;
  ASSERT_THAT(chmod(dir.path().c_str(), 0777), SyscallSucceeds());
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const int watch = inotify_add_watch(inotify.get(), dir.path().c_str(), kNameEvents | IN_CLOSE_WRITE);
  EXPECT_EQ(ErrnoAs(kUser,
                    [&] {
                      const Fd fd(open((dir / "f").c_str(), O_CREAT | O_WRONLY, 0640));
                      return fd.get() < 0 || symlink("x", (dir / "s").c_str()) < 0 ? -1
                                                                                   : mkdir((dir / "d").c_str(), 0750);
                    }),
            0);
  EXPECT_THAT(Names(Read(inotify), watch),
              ::testing::ElementsAre("CREATE f", "CREATE s", "CREATE|ISDIR d", "CLOSE_WRITE f"));
}

TEST(Inotify, AFileTellsOfItsEnd) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const uint32_t mask = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
  const int watch = inotify_add_watch(inotify.get(), path.c_str(), mask);
  ASSERT_THAT(chmod(path.c_str(), 0600), SyscallSucceeds());
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("ATTRIB"));
  ASSERT_THAT(rename(path.c_str(), (dir / "g").c_str()), SyscallSucceeds());
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("MOVE_SELF"));
  ASSERT_THAT(link((dir / "g").c_str(), (dir / "h").c_str()), SyscallSucceeds());
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("ATTRIB"));
  ASSERT_THAT(unlink((dir / "g").c_str()), SyscallSucceeds());
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("ATTRIB"));
  ASSERT_THAT(unlink((dir / "h").c_str()), SyscallSucceeds());
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("ATTRIB", "DELETE_SELF", "IGNORED"));
}

TEST(Inotify, ADirectoryTellsOfItsEnd) {
  const TempDirectory dir;
  dir.Directory("d");
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const int parent = inotify_add_watch(inotify.get(), dir.path().c_str(), kNameEvents);
  const int watch = inotify_add_watch(inotify.get(), (dir / "d").c_str(), kNameEvents | IN_DELETE_SELF | IN_MOVE_SELF);
  ASSERT_THAT(rename((dir / "d").c_str(), (dir / "e").c_str()), SyscallSucceeds());
  ASSERT_THAT(rmdir((dir / "e").c_str()), SyscallSucceeds());
  const auto events = Read(inotify);
  EXPECT_THAT(Names(events, watch), ::testing::ElementsAre("MOVE_SELF", "DELETE_SELF", "IGNORED"));
  EXPECT_THAT(Names(events, parent),
              ::testing::ElementsAre("MOVED_FROM|ISDIR d", "MOVED_TO|ISDIR e", "DELETE|ISDIR e"));
}

TEST(Inotify, AFileThatIsReplacedEnds) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  dir.File("new");
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const int watch = inotify_add_watch(inotify.get(), path.c_str(), IN_DELETE_SELF | IN_MOVE_SELF);
  ASSERT_THAT(rename((dir / "new").c_str(), path.c_str()), SyscallSucceeds());
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("DELETE_SELF", "IGNORED"));
}

TEST(Inotify, MasksAreAddedOrReplaced) {
  const TempDirectory dir;
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const int watch = inotify_add_watch(inotify.get(), dir.path().c_str(), IN_CREATE);
  EXPECT_EQ(inotify_add_watch(inotify.get(), dir.path().c_str(), IN_DELETE | IN_MASK_ADD), watch);
  dir.File("f");
  unlink((dir / "f").c_str());
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("CREATE f", "DELETE f"));
  EXPECT_EQ(inotify_add_watch(inotify.get(), dir.path().c_str(), IN_DELETE), watch);
  dir.File("f");
  unlink((dir / "f").c_str());
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("DELETE f"));
  EXPECT_THAT(inotify_add_watch(inotify.get(), dir.path().c_str(), IN_DELETE | IN_MASK_ADD | IN_MASK_CREATE),
              SyscallFailsWithErrno(EINVAL));
}

TEST(Inotify, OneShot) {
  const TempDirectory dir;
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const int watch = inotify_add_watch(inotify.get(), dir.path().c_str(), IN_CREATE | IN_ONESHOT);
  dir.File("f");
  dir.File("g");
  EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("CREATE f", "IGNORED"));
}

TEST(Inotify, UnlinkedFilesMayBeExcluded) {
  for (const uint32_t flag : {uint32_t{0}, uint32_t{IN_EXCL_UNLINK}}) {
    const TempDirectory dir;
    const Fd file(open(dir.File("f").c_str(), O_RDWR));
    const Fd inotify(inotify_init1(IN_NONBLOCK));
    const int watch = inotify_add_watch(inotify.get(), dir.path().c_str(), IN_MODIFY | IN_DELETE | flag);
    ASSERT_THAT(unlink((dir / "f").c_str()), SyscallSucceeds());
    ASSERT_THAT(write(file.get(), "x", 1), SyscallSucceedsWithValue(1));
    if (flag) {
      EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("DELETE f"));
    } else {
      EXPECT_THAT(Names(Read(inotify), watch), ::testing::ElementsAre("DELETE f", "MODIFY f"));
    }
  }
}

TEST(Inotify, ASymlinkOrWhatItLeadsTo) {
  const TempDirectory dir;
  dir.Directory("d");
  ASSERT_THAT(symlink("d", (dir / "l").c_str()), SyscallSucceeds());
  const Fd inotify(inotify_init1(IN_NONBLOCK));
  const int target = inotify_add_watch(inotify.get(), (dir / "l").c_str(), IN_CREATE | IN_ONLYDIR);
  EXPECT_THAT(target, SyscallSucceeds());
  EXPECT_THAT(inotify_add_watch(inotify.get(), (dir / "l").c_str(), IN_CREATE | IN_ONLYDIR | IN_DONT_FOLLOW),
              SyscallFailsWithErrno(ENOTDIR));
  const int link = inotify_add_watch(inotify.get(), (dir / "l").c_str(), IN_DELETE_SELF | IN_ATTRIB | IN_DONT_FOLLOW);
  EXPECT_NE(link, target);
  dir.File("d/f");
  ASSERT_THAT(unlink((dir / "l").c_str()), SyscallSucceeds());
  const auto events = Read(inotify);
  EXPECT_THAT(Names(events, target), ::testing::ElementsAre("CREATE f"));
  EXPECT_THAT(Names(events, link), ::testing::ElementsAre("ATTRIB", "DELETE_SELF", "IGNORED"));
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
