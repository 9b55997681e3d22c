#include "manager/archive_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "base/format.h"
#include "manager/archive_acl.h"
#include "manager/archive_handle.h"
#include "manager/host_paths.h"
#include "vfs/context.h"

namespace usl::manager {
namespace {

constexpr size_t kBuffer = 256 << 10;
constexpr uint64_t kFilesPerCall = 256;

class NameSink final : public vfs::DirectorySink {
 public:
  bool Add(std::string_view name, uint64_t, unsigned char, int64_t) override {
    ++added;
    if (name != "." && name != "..") names.emplace_back(name);
    return true;
  }
  std::vector<std::string> names;
  size_t added = 0;
};

// A directory on the way from the root to the current member.
struct Frame {
  Ref<vfs::Inode> directory;
  std::string path;  // with a slash behind it
  std::vector<std::string> names;
  size_t next = 0;
};

class Packer {
 public:
  Packer(vfs::FileSystem& tree, int fd, const PackOptions& options, std::string* why)
      : tree_(tree), fd_(fd), options_(options), why_(why), buffer_(kBuffer) {}

  Result<PackedArchive> Run() {
    USL_TRY_VOID(Open());
    USL_TRY_VOID(Pack(tree_.root(), "./"));
    USL_TRY_VOID(Enter(tree_.root(), "./"));
    while (!frames_.empty()) {
      if (frames_.back().next == frames_.back().names.size()) {
        frames_.pop_back();
        continue;
      }
      Frame& frame = frames_.back();
      const std::string& name = frame.names[frame.next++];
      const std::string path = frame.path + name;
      const auto inode = frame.directory->Lookup(name, context_);
      if (!inode) return TellMember(path, inode.error().code());
      USL_TRY_VOID(Pack(*inode, path));
      if ((*inode)->IsDirectory()) USL_TRY_VOID(Enter(*inode, path + "/"));
    }
    if (archive_write_close(handle_.get()) != ARCHIVE_OK) return TellWrite();
    return result_;
  }

 private:
  std::unexpected<Error> Tell(int code, std::string text) {
    *why_ = std::move(text);
    return Fail(code);
  }
  std::unexpected<Error> TellMember(const std::string& path, int code) {
    return Tell(code, format("cannot read \"{}\": {}", PrintableName(path.substr(1)), ErrorText(code)));
  }
  std::unexpected<Error> TellWrite() {
    if (write_error_)
      return Tell(write_error_, format("cannot write \"{}\": {}", options_.what, ErrorText(write_error_)));
    return Tell(EIO, format("cannot write \"{}\": {}", options_.what, ArchiveText(handle_.get())));
  }

  Result<void> Open() {
    handle_.reset(archive_write_new());
    archive* handle = handle_.get();
    if (!handle) return Tell(ENOMEM, "out of memory");
    archive_write_set_format_pax(handle);
    // GNU tar knows this form of the two, and no other.
    archive_write_set_options(handle, "xattrheader=SCHILY");
    switch (options_.compression) {
      case Compression::kNone: break;
      case Compression::kGzip: archive_write_add_filter_gzip(handle); break;
      case Compression::kXz: archive_write_add_filter_xz(handle); break;
      case Compression::kZstd: archive_write_add_filter_zstd(handle); break;
    }
    archive_write_set_bytes_per_block(handle, kBuffer);
    archive_write_set_bytes_in_last_block(handle, 1);
    const auto write_all = [](archive* self_handle, void* data, const void* buffer, size_t length) -> la_ssize_t {
      auto& self = *static_cast<Packer*>(data);
      for (size_t done = 0; done < length;) {
        const ssize_t n = write(self.fd_, static_cast<const char*>(buffer) + done, length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
          self.write_error_ = errno;
          archive_set_error(self_handle, errno, "write failed");
          return -1;
        }
        done += static_cast<size_t>(n);
      }
      self.written_ += length;
      return static_cast<la_ssize_t>(length);
    };
    if (archive_write_open(handle, this, nullptr, write_all, nullptr) != ARCHIVE_OK) return TellWrite();
    return {};
  }

  Result<void> Report() {
    if (!options_.progress || options_.progress({written_, 0, result_.files})) return {};
    return Tell(ECANCELED, format("writing \"{}\" was interrupted", options_.what));
  }

  Result<void> Enter(const Ref<vfs::Inode>& directory, const std::string& path) {
    const auto fd = directory->Open(O_RDONLY | O_DIRECTORY, context_);
    if (!fd) return TellMember(path, fd.error().code());
    NameSink sink;
    do {
      sink.added = 0;
      if (auto read = directory->ReadDirectory(fd->get(), 1, sink); !read) return TellMember(path, read.error().code());
    } while (sink.added > 0);
    std::ranges::sort(sink.names);
    frames_.push_back({directory, path, std::move(sink.names)});
    return {};
  }

  Result<void> Pack(const Ref<vfs::Inode>& inode, const std::string& path) {
    const auto attributes = inode->GetAttributes();
    if (!attributes) return TellMember(path, attributes.error().code());
    if (S_ISSOCK(attributes->mode)) {
      ++result_.sockets;
      return {};
    }
    ArchiveEntryHandle entry(archive_entry_new());
    if (!entry) return Tell(ENOMEM, "out of memory");
    archive_entry_set_pathname(entry.get(), path.c_str());
    archive_entry_set_mode(entry.get(), attributes->mode);
    archive_entry_set_uid(entry.get(), attributes->uid);
    archive_entry_set_gid(entry.get(), attributes->gid);
    archive_entry_set_mtime(entry.get(), attributes->mtime.tv_sec, attributes->mtime.tv_nsec);
    archive_entry_set_size(entry.get(), 0);
    if (attributes->nlink > 1 && !inode->IsDirectory()) {
      const auto [first, is_new] = names_.emplace(attributes->ino, path);
      if (!is_new) archive_entry_set_hardlink(entry.get(), first->second.c_str());
    }
    const bool is_link = archive_entry_hardlink(entry.get()) != nullptr;
    if (!is_link) {
      if (auto done = AddAttributes(*inode, entry.get()); !done) return TellMember(path, done.error().code());
    }
    if (inode->IsSymlink() && !is_link) {
      const auto target = inode->ReadLink(context_);
      if (!target) return TellMember(path, target.error().code());
      archive_entry_set_symlink(entry.get(), target->c_str());
    }
    if (S_ISCHR(attributes->mode) || S_ISBLK(attributes->mode)) archive_entry_set_rdev(entry.get(), attributes->rdev);
    UniqueFd data;
    if (inode->IsRegular() && !is_link) {
      archive_entry_set_size(entry.get(), static_cast<int64_t>(attributes->size));
      auto fd = inode->OpenForKernel();
      if (!fd) return TellMember(path, fd.error().code());
      data = std::move(*fd);
      FindHoles(data.get(), *attributes, entry.get());
    }
    // A warning is about the characters of a name; its bytes are written then.
    if (archive_write_header(handle_.get(), entry.get()) < ARCHIVE_WARN) return TellWrite();
    if (data) USL_TRY_VOID(CopyData(data.get(), attributes->size, path));
    if (++result_.files % kFilesPerCall == 0) return Report();
    return {};
  }

  static Result<void> AddAttributes(vfs::Inode& inode, archive_entry* entry) {
    const auto names = inode.ListXattr();
    if (!names && names.error().code() == EOPNOTSUPP) return {};
    if (!names) return Fail(names.error());
    for (const std::string& name : *names) {
      const auto value = USL_TRY(inode.GetXattr(name));
      if (name == vfs::kAclAccess) {
        AclToEntry(value, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, entry);
      } else if (name == vfs::kAclDefault) {
        AclToEntry(value, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, entry);
      } else {
        archive_entry_xattr_add_entry(entry, name.c_str(), value.data(), value.size());
      }
    }
    return {};
  }

  static void FindHoles(int fd, const vfs::Attributes& attributes, archive_entry* entry) {
    if (attributes.blocks * 512 >= attributes.size) return;
    const auto size = static_cast<off_t>(attributes.size);
    off_t end = 0;
    for (;;) {
      const off_t start = lseek(fd, end, SEEK_DATA);
      if (start < 0 || start >= size) break;
      end = std::min(lseek(fd, start, SEEK_HOLE), size);
      if (end <= start) break;
      archive_entry_sparse_add_entry(entry, start, end - start);
    }
    // Nothing but a hole.
    if (end == 0) archive_entry_sparse_add_entry(entry, size, 0);
    lseek(fd, 0, SEEK_SET);
  }

  Result<void> CopyData(int fd, uint64_t size, const std::string& path) {
    for (uint64_t left = size; left > 0;) {
      const ssize_t n = read(fd, buffer_.data(), std::min<uint64_t>(left, buffer_.size()));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return TellMember(path, errno);
      if (n == 0) return TellMember(path, EIO);
      if (archive_write_data(handle_.get(), buffer_.data(), static_cast<size_t>(n)) < 0) return TellWrite();
      left -= static_cast<uint64_t>(n);
      USL_TRY_VOID(Report());
    }
    return {};
  }

  vfs::FileSystem& tree_;
  int fd_;
  const PackOptions& options_;
  std::string* why_;
  std::vector<char> buffer_;
  const cred::Credentials credentials_ = cred::RootCredentials();
  const vfs::Context context_{credentials_, {}, {}};
  ArchiveWriteHandle handle_;
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, std::string> names_;  // of files with several
  PackedArchive result_;
  uint64_t written_ = 0;
  int write_error_ = 0;
};

}  // namespace

std::optional<Compression> CompressionByName(const std::string& name) {
  if (name == "none" || name == "tar") return Compression::kNone;
  if (name == "gzip" || name == "gz" || name == "tar.gz") return Compression::kGzip;
  if (name == "xz" || name == "tar.xz") return Compression::kXz;
  if (name == "zstd" || name == "zst" || name == "tar.zst") return Compression::kZstd;
  return std::nullopt;
}

Compression CompressionOf(const std::string& path) {
  const auto ends = [&](const char* end) { return path.ends_with(end); };
  if (ends(".gz") || ends(".tgz")) return Compression::kGzip;
  if (ends(".xz") || ends(".txz")) return Compression::kXz;
  if (ends(".zst") || ends(".tzst")) return Compression::kZstd;
  return Compression::kNone;
}

Result<PackedArchive> PackTree(vfs::FileSystem& tree, int fd, const PackOptions& options, std::string* why) {
  return Packer(tree, fd, options, why).Run();
}

}  // namespace usl::manager
