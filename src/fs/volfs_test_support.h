// What the tests of VolFs and its kin share: a scratch directory, and short names for file operations.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "fs/volfs.h"
#include "fs/volfs_inode.h"
#include "vfs/context.h"

namespace usl::fs {

// Matchers that read as sentences.
MATCHER(Succeeds, "") {
  if (arg.has_value()) return true;
  *result_listener << "errno " << arg.error().code() << " (" << strerror(arg.error().code()) << ")";
  return false;
}
MATCHER_P(FailsWith, code, "") {
  if (arg.has_value()) return false;
  *result_listener << "errno " << arg.error().code();
  return arg.error().code() == code;
}

struct ListedName {
  std::string name;
  uint64_t ino;
  unsigned char type;
  int64_t next;
};

class ListSink : public vfs::DirectorySink {
 public:
  explicit ListSink(size_t limit = SIZE_MAX) : limit_(limit) {}
  bool Add(std::string_view name, uint64_t ino, unsigned char type, int64_t next) override {
    if (names.size() == limit_) return false;
    names.push_back({std::string(name), ino, type, next});
    return true;
  }
  std::vector<ListedName> names;

 private:
  size_t limit_;
};

class ScratchTest : public ::testing::Test {
 protected:
  ScratchTest() {
    const char* base = std::getenv("TMPDIR");
    std::string text = std::string(base ? base : "/tmp") + "/usl-fs-XXXXXX";
    if (::mkdtemp(text.data())) scratch_ = text;
    // As on NFS, which knows no flags of renameat2(2).
    if (std::getenv("USL_TEST_PLAIN_RENAME")) PretendPlainRename(true);
  }
  ~ScratchTest() override {
    std::error_code error;
    std::filesystem::remove_all(scratch_, error);
  }
  std::string Path(const std::string& name) const { return scratch_ + "/" + name; }
  std::string MakeHostDirectory(const std::string& name) {
    std::filesystem::create_directories(Path(name));
    return Path(name);
  }
  // USL_TEST_SIDECAR=1 runs the tests on trees with a sidecar, wherever they are.
  static bool UsesSidecar() { return std::getenv("USL_TEST_SIDECAR") != nullptr; }
  std::string MakeTree(const std::string& name) {
    std::string path = MakeHostDirectory(name);
    if (UsesSidecar()) MakeSidecar(path);
    return path;
  }
  static void MakeSidecar(const std::string& tree) {
    if (::mkdir((tree + "/.usl").c_str(), 0700) == 0) std::ofstream(tree + "/.usl/sidecar").flush();
  }
  // Has the host file a record in an attribute of its own?
  bool HasRecord(const std::string& name) { return ::getxattr(Path(name).c_str(), "user.usl", nullptr, 0) >= 0; }
  void WriteHost(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  static std::string ReadHost(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  // The guest's side.
  static VolInode& At(const Ref<vfs::Inode>& inode) { return static_cast<VolInode&>(*inode); }
  Result<Ref<vfs::Inode>> Find(const Ref<VolFs>& fs, const std::string& path) {
    Ref<vfs::Inode> inode = fs->root();
    for (const auto& part : std::filesystem::path(path)) inode = USL_TRY(inode->Lookup(part.string(), context_));
    return inode;
  }
  Result<Ref<vfs::Inode>> Make(const Ref<vfs::Inode>& directory, const std::string& name, uint32_t mode, uid_t uid = 0,
                               gid_t gid = 0, dev_t rdev = 0, std::string target = {}) {
    vfs::NewInode spec{mode, uid, gid, rdev, target};
    return directory->Create(name, spec);
  }
  static std::string Read(const Ref<vfs::Inode>& inode) {
    auto fd = At(inode).OpenFlags(O_RDONLY);
    if (!fd) return "errno " + std::to_string(fd.error().code());
    char buffer[4096];
    ssize_t count = ::read(fd->get(), buffer, sizeof buffer);
    return std::string(buffer, count > 0 ? static_cast<size_t>(count) : 0);
  }
  static Result<void> Write(const Ref<vfs::Inode>& inode, const std::string& text, int flags = O_TRUNC) {
    UniqueFd fd = USL_TRY(At(inode).OpenFlags(O_WRONLY | flags));
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return FailErrno();
    return {};
  }
  // The whole listing by reads of `step` entries, without "." and "..".
  static std::vector<ListedName> List(const Ref<vfs::Inode>& directory, size_t step = SIZE_MAX) {
    std::vector<ListedName> all;
    auto fd = At(directory).OpenFlags(O_RDONLY | O_DIRECTORY);
    if (!fd) return {{"open failed", 0, 0, 0}};
    while (true) {
      ListSink sink(step);
      if (!directory->ReadDirectory(fd->get(), 1, sink)) return {{"read failed", 0, 0, 0}};
      if (sink.names.empty()) return all;
      for (auto& name : sink.names) {
        if (name.name != "." && name.name != "..") all.push_back(name);
      }
    }
  }
  static std::vector<std::string> Names(const std::vector<ListedName>& list) {
    std::vector<std::string> names;
    for (const auto& entry : list) names.push_back(entry.name);
    return names;
  }
  static std::vector<std::byte> Bytes(std::string_view text) {
    auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
  }

  std::string scratch_;
  cred::Credentials credentials_;
  vfs::Context context_{credentials_, {}, {}};
};

}  // namespace usl::fs
