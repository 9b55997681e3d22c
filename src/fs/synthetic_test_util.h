// Helpers of the tests of synthetic file systems.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "vfs/context.h"
#include "vfs/file_system.h"

namespace usl::fs {

// A context with credentials of its own.
class TestContext {
 public:
  explicit TestContext(cred::Credentials credentials = cred::RootCredentials())
      : credentials_(std::move(credentials)) {}
  vfs::Context get() const {
    return vfs::Context{
        .credentials = credentials_, .root = root, .cwd = root, .thread_group = process, .thread = process};
  }
  vfs::Path root;
  pid_t process = getpid();

 private:
  cred::Credentials credentials_;
};

inline std::string ReadFd(int fd) {
  std::string content;
  char buffer[4096];
  for (ssize_t count; (count = read(fd, buffer, sizeof buffer)) > 0;)
    content.append(buffer, static_cast<size_t>(count));
  return content;
}

// Takes at most `room` entries at a time.
class NameSink final : public vfs::DirectorySink {
 public:
  explicit NameSink(size_t room) : room_(room) {}
  bool Add(std::string_view name, uint64_t, unsigned char, int64_t) override {
    if (names.size() >= room_) return false;
    names.emplace_back(name);
    return true;
  }
  std::vector<std::string> names;

 private:
  size_t room_;
};

// An open directory that stands for the synthetic one, as Vfs's handles are: removed, empty.
class TestCursor {
 public:
  TestCursor() {
    char name[] = "/tmp/usl-cursor-XXXXXX";
    if (mkdtemp(name)) fd_ = UniqueFd(open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    rmdir(name);
  }
  std::vector<std::string> Read(vfs::Inode& directory, size_t room) {
    NameSink sink(room);
    if (!directory.ReadDirectory(fd_.get(), 1, sink)) return {"error"};
    return sink.names;
  }
  void Rewind() { lseek(fd_.get(), 0, SEEK_SET); }

 private:
  UniqueFd fd_;
};

inline std::vector<std::string> ListNames(vfs::Inode& directory) {
  return TestCursor().Read(directory, 100000);
}

}  // namespace usl::fs
