// What the tests of mounts share: a private mount namespace for each test, mountinfo, a second process with a namespace
// of its own.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <functional>
#include <optional>
#include <sstream>
#include <string>

#include "conformance/helpers.h"

namespace usl::conformance {

// A line of mountinfo.
struct MountInfo {
  int id = 0, parent = 0, shared = 0, master = 0, from = 0;
  bool unbindable = false;
  std::string device, root, options, type, source, super_options;
};

// The topmost mount at `path`, or nothing.
inline std::optional<MountInfo> FindMount(const std::string& path) {
  std::istringstream lines(ReadFile("/proc/self/mountinfo"));
  std::optional<MountInfo> found;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    MountInfo info;
    std::string place, word;
    words >> info.id >> info.parent >> info.device >> info.root >> place >> info.options;
    if (place != path) continue;
    while (words >> word && word != "-") {
      const size_t colon = word.find(':');
      const int number = colon == word.npos ? 0 : atoi(word.c_str() + colon + 1);
      if (word.starts_with("shared:")) info.shared = number;
      if (word.starts_with("master:")) info.master = number;
      if (word.starts_with("propagate_from:")) info.from = number;
      if (word == "unbindable") info.unbindable = true;
    }
    words >> info.type >> info.source >> info.super_options;
    found = info;
  }
  return found;
}
inline bool IsMounted(const std::string& path) {
  return FindMount(path).has_value();
}
inline int Bind(const std::string& from, const std::string& to, unsigned long flags = 0) {
  return mount(from.c_str(), to.c_str(), nullptr, MS_BIND | flags, nullptr);
}
inline int SetPropagation(const std::string& path, unsigned long type) {
  return mount(nullptr, path.c_str(), nullptr, type, nullptr);
}

// A child process that does `start` and then lives, as the member of a namespace, until this object ends.
class Peer {
 public:
  explicit Peer(const std::function<bool()>& start) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_) < 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      close(ends_[0]);
      const bool started = start();
      bool end;
      if (write(ends_[1], &started, sizeof started) > 0) (void)!read(ends_[1], &end, sizeof end);
      _exit(0);
    }
    close(ends_[1]);
    bool answer = false;
    started_ = read(ends_[0], &answer, sizeof answer) == sizeof answer && answer;
  }
  ~Peer() {
    close(ends_[0]);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }
  bool started() const { return started_; }
  pid_t pid() const { return pid_; }
  // Asks in a process that enters the peer's mount namespace by setns(2).
  bool Ask(const std::function<bool()>& question) const {
    const std::string path = "/proc/" + std::to_string(pid_) + "/ns/mnt";
    return InChild([&] {
      const Fd fd(open(path.c_str(), O_RDONLY));
      return fd.ok() && setns(fd.get(), CLONE_NEWNS) == 0 && question();
    });
  }

 private:
  int ends_[2] = {-1, -1};
  pid_t pid_ = -1;
  bool started_ = false;
};

// A test runs in a mount namespace of its own, where all is private, on a tmpfs of its own with the directories a, b, c
// and the file f.
class MountFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = Fd(open("/proc/self/ns/mnt", O_RDONLY));
    ASSERT_TRUE(before_.ok());
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(chdir("/"), 0);
    for (const char* name : {"a", "b", "c"}) directory_.Directory(name);
    directory_.File("f", "content");
  }
  // Leaving the namespace takes all its mounts away.
  void TearDown() override { ASSERT_EQ(setns(before_.get(), CLONE_NEWNS), 0); }
  const std::string& Root() const { return directory_.path(); }
  std::string A() const { return directory_ / "a"; }
  std::string B() const { return directory_ / "b"; }
  std::string C() const { return directory_ / "c"; }
  std::string File() const { return directory_ / "f"; }
  static void Tmpfs(const std::string& path) {
    ASSERT_EQ(mount("t", path.c_str(), "tmpfs", 0, nullptr), 0) << path << " errno " << errno;
  }
  static MountInfo Info(const std::string& path) { return FindMount(path).value_or(MountInfo()); }

 private:
  TempDirectory directory_;
  Fd before_;
};

}  // namespace usl::conformance
