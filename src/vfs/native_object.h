// Objects that the host gives and that have no place in the guest's tree: pipes, sockets, memfds of the guest, files
// handed in from outside. An inode of this kind lives as long as one call: it holds a duplicate of the guest's
// descriptor.
#pragma once

#include <string>

#include "cred/credentials.h"
#include "vfs/file_system.h"

namespace usl::vfs {

class NativeFileSystem : public FileSystem {
 public:
  NativeFileSystem();
  Ref<Inode> root() override { return root_; }
  Result<struct statfs> StatFs() override;

 private:
  Ref<Inode> root_;
};

class NativeInode : public Inode {
 public:
  // `type` is the S_IFMT part of the fstat of `fd`.
  NativeInode(FileSystem& file_system, uint32_t type, UniqueFd fd, uid_t uid, gid_t gid)
      : Inode(file_system, type), fd_(std::move(fd)), uid_(uid), gid_(gid) {}

  Result<Attributes> GetAttributes() override;
  // Opens the object anew. For what may be a file of the host, EACCES beyond the access that the descriptor has: the
  // host would judge by the owner of the file, who is not the guest.
  Result<UniqueFd> Open(int flags, const Context& context) override;
  bool HasFileCapabilities() override { return false; }

 private:
  UniqueFd fd_;
  uid_t uid_;
  gid_t gid_;
};

// open(2) of an open file through the host's /proc/self/fd, which gives a description of its own.
Result<UniqueFd> ReopenHostFile(int fd, int flags);

}  // namespace usl::vfs
