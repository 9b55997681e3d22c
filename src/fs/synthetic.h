// The shared base of procfs, sysfs and devpts: files whose content the kernel makes up.
//
// A synthetic file that is opened becomes a memfd, filled, sealed and donated reopened with the guest's access mode, so
// reading it is native. The memfd's name carries a secret of the instance, the file system's number and the file's path
// in it; that is how a guest's fd is recognised later without any state. The guest never sees the name: readlink of
// /proc/PID/fd and /proc/PID/maps are synthetic themselves. Some files are the host's own (host_file), donated as such.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/synthetic_write.h"
#include "vfs/context.h"
#include "vfs/file_system.h"

namespace usl::fs {

class SyntheticInode;
class SyntheticDirectory;

// What the synthetic file systems of one instance share.
struct SyntheticInstance {
  std::string secret = MakeSecret();  // 128 random bits in hexadecimal
  WriteWatcher* watcher = nullptr;    // null: files cannot be opened for writing (EACCES)

  static std::string MakeSecret();
};

// A stable inode number for a path within a file system: no table is needed to give the same file the same number.
uint64_t SyntheticIno(std::string_view path);

class SyntheticFileSystem : public vfs::FileSystem {
 public:
  // `magic` is f_type of statfs(2). `instance` outlives the file system.
  SyntheticFileSystem(std::string type_name, int64_t magic, const SyntheticInstance& instance);

  Ref<vfs::Inode> root() override;
  Result<struct statfs> StatFs() override;
  Ref<vfs::Inode> FindByHostFile(int fd, const struct stat& status) override;
  std::vector<dev_t> HostDevices() const override;
  Result<std::string> FindPath(int fd, vfs::Inode& inode) override;

  // The path within this file system of an open host file of it; empty when it is not one.
  std::string PathOfHostFile(int fd, const struct stat& status) const;
  // The live inode of a path, or null when nobody holds it. Paths start with '/'.
  Ref<SyntheticInode> FindLive(const std::string& path) const;
  // Looks a path up with root's credentials, for FindByHostFile; null when it is gone.
  virtual Ref<vfs::Inode> WalkPath(std::string_view path);

  // A memfd that stands for the file `path`, holding `content`, reopened with the access mode and status flags of
  // `flags`. Sealed against writing when `flags` asks for no write access.
  Result<UniqueFd> MakeContentFd(const std::string& path, std::string_view content, int flags) const;

  const SyntheticInstance& instance() const { return instance_; }
  timespec created() const { return created_; }

 protected:
  void SetRoot(Ref<SyntheticDirectory> root);
  // For file systems that donate host files (procfs): the path within this file system of the host path that readlink
  // of the fd shows, or empty.
  virtual std::string PathOfHostPath(std::string_view, const struct stat&) const { return {}; }

 private:
  friend class SyntheticInode;
  const SyntheticInstance& instance_;
  std::string prefix_;  // of the memfd names, up to the path
  int64_t magic_;
  dev_t memfd_device_ = 0;
  timespec created_;
  // Inodes that somebody holds: a look-up gives the same object again. They leave it when they die, root_'s tree too,
  // so this stands before it.
  std::unordered_map<std::string_view, SyntheticInode*> live_;
  Ref<SyntheticDirectory> root_;
};

// An inode of a synthetic file system. Permissions are constant, times are those of the file system's birth.
class SyntheticInode : public vfs::Inode {
 public:
  // `path` within the file system, from '/'; `mode` with its type.
  SyntheticInode(SyntheticFileSystem& file_system, std::string path, uint32_t mode);
  ~SyntheticInode() override;

  const std::string& path() const { return path_; }
  uint32_t mode() const { return mode_; }
  SyntheticFileSystem& synthetic() const { return synthetic_; }
  // "/proc/self/fd" + "3": the path of a child.
  std::string ChildPath(std::string_view name) const;

  Result<vfs::Attributes> GetAttributes() override;
  // Nothing can be changed (EPERM), but truncation does nothing, as in /proc.
  Result<void> SetAttributes(const vfs::AttributeChange& change) override;
  bool CacheableNames() const override { return true; }

 protected:
  // Owner shown; root by default.
  virtual void FillOwner(vfs::Attributes&) {}

 private:
  SyntheticFileSystem& synthetic_;
  const std::string path_;
  const uint32_t mode_;
};

// A regular file with content made at open.
class SyntheticFile : public SyntheticInode {
 public:
  using SyntheticInode::SyntheticInode;

  Result<UniqueFd> Open(int flags, const vfs::Context& context) override;
  Result<UniqueFd> OpenForKernel() override;

  // May the file be opened so? Checks beyond the mode bits, which Vfs has checked. `flags` as Open's.
  virtual Result<void> CheckOpen(int flags, const vfs::Context& context);
  virtual Result<std::string> Read(const vfs::Context& context) = 0;
  // Takes what a guest wrote in one write(2) (usually). Errors cannot reach the writer any more; they are logged.
  virtual Result<void> Write(const WriterContext& writer, std::string_view data);
  // Files that take no writes answer EACCES to open for writing, whoever asks.
  virtual bool IsWritable() const { return false; }
};

// A file with functions for its content.
class GeneratedFile final : public SyntheticFile {
 public:
  using Reader = std::function<Result<std::string>(const vfs::Context&)>;
  using Writer = std::function<Result<void>(const WriterContext&, std::string_view)>;
  GeneratedFile(SyntheticFileSystem& file_system, std::string path, uint32_t permissions, Reader reader,
                Writer writer = nullptr)
      : SyntheticFile(file_system, std::move(path), S_IFREG | permissions),
        reader_(std::move(reader)),
        writer_(std::move(writer)) {}

  Result<std::string> Read(const vfs::Context& context) override { return reader_(context); }
  Result<void> Write(const WriterContext& writer, std::string_view data) override;
  bool IsWritable() const override { return writer_ != nullptr; }

 private:
  Reader reader_;
  Writer writer_;
};

// A file of the host, donated as it is, read-only: content stays live for programs that keep it open (top, htop). Only
// for files that no write, ioctl or reader-dependent content makes unsafe. The file system recognises it by its host
// path.
class HostFile final : public SyntheticInode {
 public:
  HostFile(SyntheticFileSystem& file_system, std::string path, uint32_t permissions, std::string host_path)
      : SyntheticInode(file_system, std::move(path), S_IFREG | permissions), host_path_(std::move(host_path)) {}

  Result<UniqueFd> Open(int flags, const vfs::Context& context) override;
  Result<UniqueFd> OpenForKernel() override;

 private:
  std::string host_path_;
};

class SyntheticSymlink : public SyntheticInode {
 public:
  using Target = std::function<Result<std::string>(const vfs::Context&)>;
  SyntheticSymlink(SyntheticFileSystem& file_system, std::string path, Target target)
      : SyntheticInode(file_system, std::move(path), S_IFLNK | 0777), target_(std::move(target)) {}

  Result<std::string> ReadLink(const vfs::Context& context) override { return target_(context); }

 private:
  Target target_;
};

// Reads a whole host file relative to `directory` (AT_FDCWD with absolute paths); at most `limit` bytes.
Result<std::string> ReadHostFile(int directory, const char* path, size_t limit = size_t{64} << 20);
// readlink of a host path relative to `directory`.
Result<std::string> ReadHostLink(int directory, const char* path);

}  // namespace usl::fs
