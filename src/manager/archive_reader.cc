#include "manager/archive_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/format.h"
#include "base/sha256.h"
#include "fs/tree_writer.h"
#include "manager/archive_acl.h"
#include "manager/archive_handle.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

constexpr size_t kBuffer = 256 << 10;
constexpr uint64_t kBlock = 512;  // of tar
constexpr uint64_t kFilesPerCall = 256;

// The compressed file, below the tar reader: hashes what comes out of the decompression.
class Source {
 public:
  // `go_on` is asked when a signal interrupts the reading of a pipe or terminal.
  Source(int fd, std::function<bool()> go_on) : fd_(fd), go_on_(std::move(go_on)), buffer_(kBuffer), plain_(kBuffer) {
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) total_ = static_cast<uint64_t>(status.st_size);
  }

  Result<void> Open() {
    handle_.reset(archive_read_new());
    if (!handle_) return Fail(ENOMEM);
    archive* handle = handle_.get();
    archive_read_support_filter_gzip(handle);
    archive_read_support_filter_bzip2(handle);
    archive_read_support_filter_xz(handle);
    archive_read_support_filter_zstd(handle);
    archive_read_support_format_raw(handle);
    archive_read_set_callback_data(handle, this);
    archive_read_set_read_callback(handle, [](archive*, void* self, const void** data) {
      return static_cast<Source*>(self)->ReadCompressed(data);
    });
    archive_entry* entry;
    if (archive_read_open1(handle) != ARCHIVE_OK || archive_read_next_header(handle, &entry) != ARCHIVE_OK) {
      return Fail(Trouble());
    }
    return {};
  }

  // For the tar reader: 0 at the end, -1 on an error.
  ssize_t ReadPlain(archive* reader, const void** data) {
    const ssize_t n = archive_read_data(handle_.get(), plain_.data(), plain_.size());
    if (n < 0) {
      trouble_ = Trouble();
      archive_set_error(reader, trouble_, "%s", text_.c_str());
      return -1;
    }
    *data = plain_.data();
    digest_.Update(plain_.data(), static_cast<size_t>(n));
    size_ += static_cast<uint64_t>(n);
    return n;
  }

  // The errno for what happened; text() says it.
  int Trouble() {
    if (read_error_) {
      text_ = ErrorText(read_error_);
      return read_error_;
    }
    text_ = ArchiveText(handle_.get());
    return EBADMSG;
  }

  uint64_t compressed() const { return compressed_; }
  uint64_t total() const { return total_; }
  uint64_t size() const { return size_; }
  int trouble() const { return trouble_; }
  const std::string& text() const { return text_; }
  std::string Digest() { return digest_.HexDigest(); }

 private:
  ssize_t ReadCompressed(const void** data) {
    ssize_t n;
    do n = read(fd_, buffer_.data(), buffer_.size());
    while (n < 0 && errno == EINTR && go_on_());
    if (n < 0) {
      read_error_ = errno == EINTR ? ECANCELED : errno;
      archive_set_error(handle_.get(), errno, "%s", ErrorText(errno).c_str());
      return -1;
    }
    *data = buffer_.data();
    compressed_ += static_cast<uint64_t>(n);
    return n;
  }

  int fd_;
  std::function<bool()> go_on_;
  std::vector<char> buffer_, plain_;
  ArchiveReadHandle handle_;
  Sha256 digest_;
  uint64_t compressed_ = 0, total_ = 0, size_ = 0;
  int read_error_ = 0;
  int trouble_ = 0;
  std::string text_;
};

class Extractor {
 public:
  Extractor(int fd, const ExtractOptions& options, std::string* why)
      : options_(options), why_(why), source_(fd, [this] { return GoesOn(); }) {}

  Result<ExtractedArchive> Run(const std::string& tree) {
    auto writer = fs::TreeWriter::Open(tree);
    if (!writer) {
      return Tell(writer.error().code(),
                  writer.error().code() == EOPNOTSUPP
                      ? format("cannot unpack into \"{}\": its file system has no user extended attributes and no "
                               "lasting inode numbers; use another one (ext4, xfs, btrfs, NFS)",
                               tree)
                      : format("cannot unpack into \"{}\": {}", tree, ErrorText(writer.error().code())));
    }
    writer_.emplace(std::move(*writer));
    USL_TRY_VOID(Open());
    USL_TRY_VOID(ReadEntries());
    USL_TRY_VOID(ReadToEnd());
    if (auto finished = writer_->Finish(); !finished) {
      return Tell(finished.error().code(), format("cannot write \"{}\": {}", tree, ErrorText(finished.error().code())));
    }
    result_.sha256 = source_.Digest();
    result_.size = source_.size();
    return result_;
  }

 private:
  std::unexpected<Error> Tell(int code, std::string text) {
    *why_ = std::move(text);
    return Fail(code);
  }
  std::unexpected<Error> TellBad(const std::string& text) {
    return Tell(EBADMSG, format("\"{}\" is damaged or no tar archive: {}", options_.what, text));
  }
  // What the tar reader or the decompression below it met.
  std::unexpected<Error> TellRead() {
    if (source_.trouble() == ECANCELED)
      return Tell(ECANCELED, format("unpacking \"{}\" was interrupted", options_.what));
    if (source_.trouble() && source_.trouble() != EBADMSG) {
      return Tell(source_.trouble(), format("cannot read \"{}\": {}", options_.what, source_.text()));
    }
    return TellBad(ArchiveText(reader_.get()));
  }
  std::unexpected<Error> TellMember(int code) {
    const std::string name = PrintableName(path_);
    const char* reason = code == EINVAL      ? "its name, target or owner cannot be"
                         : code == EPERM     ? "\".usl\" in the root is USL's own"
                         : code == ENOENT    ? "it is a link to something that is not in the archive before it"
                         : code == ENOTDIR   ? "a part of its path is no directory"
                         : code == ECANCELED ? "interrupted"
                                             : nullptr;
    return Tell(code, format("cannot unpack \"{}\" of \"{}\": {}", name, options_.what,
                             reason ? std::string(reason) : ErrorText(code)));
  }

  Result<void> Open() {
    if (!source_.Open()) {
      const int code = source_.Trouble();
      if (code == ECANCELED) return Tell(code, format("unpacking \"{}\" was interrupted", options_.what));
      if (code != EBADMSG) return Tell(code, format("cannot read \"{}\": {}", options_.what, source_.text()));
      return TellBad(source_.text());
    }
    reader_.reset(archive_read_new());
    if (!reader_) return Tell(ENOMEM, "out of memory");
    archive_read_support_format_tar(reader_.get());
    archive_read_set_callback_data(reader_.get(), this);
    archive_read_set_read_callback(reader_.get(), [](archive* reader, void* self, const void** data) {
      return static_cast<Extractor*>(self)->source_.ReadPlain(reader, data);
    });
    if (archive_read_open1(reader_.get()) != ARCHIVE_OK) return TellRead();
    return {};
  }

  Result<void> ReadEntries() {
    for (;;) {
      archive_entry* entry;
      const int status = archive_read_next_header(reader_.get(), &entry);
      if (status == ARCHIVE_EOF) break;
      // A warning is about the characters of a name; the bytes are there then.
      if (status < ARCHIVE_WARN || status == ARCHIVE_RETRY) return TellRead();
      USL_TRY_VOID(ReadEntry(entry));
      USL_TRY_VOID(SkipData());
      last_end_ = static_cast<uint64_t>(archive_filter_bytes(reader_.get(), 0));
      if (++result_.files % kFilesPerCall == 0) USL_TRY_VOID(Report());
    }
    // Layers that change nothing are common in images.
    if (result_.files == 0 && !options_.whiteouts) return TellBad("it has no files");
    return {};
  }

  // What follows belongs to the digest. An archive that was cut off at a file's end lacks the block of zeros behind it.
  Result<void> ReadToEnd() {
    for (;;) {
      const void* data;
      const ssize_t n = source_.ReadPlain(reader_.get(), &data);
      if (n < 0) return TellRead();
      if (n == 0) break;
      USL_TRY_VOID(Report());
    }
    if (source_.size() < (last_end_ + kBlock - 1) / kBlock * kBlock + kBlock) return TellBad("it is truncated");
    return {};
  }

  Result<void> SkipData() {
    const int status = archive_read_data_skip(reader_.get());
    if (status < ARCHIVE_WARN) return TellRead();
    return {};
  }

  bool GoesOn() {
    return !options_.progress || options_.progress({source_.compressed(), source_.total(), result_.files});
  }
  Result<void> Report() {
    if (GoesOn()) return {};
    return Tell(ECANCELED, format("unpacking \"{}\" was interrupted", options_.what));
  }

  Result<void> ReadEntry(archive_entry* entry) {
    const char* path = archive_entry_pathname(entry);
    path_ = path ? path : "";
    const size_t slash = path_.find_last_not_of('/') == path_.npos ? 0 : path_.rfind('/') + 1;
    const std::string name = path_.substr(slash), parent = path_.substr(0, slash);
    result_.has_whiteouts = result_.has_whiteouts || name.starts_with(".wh.");
    if (options_.whiteouts) {
      if (name == ".wh..wh..opq") return Check(writer_->MakeOpaque(parent));
      // Other names of this kind are aufs's own.
      if (name.starts_with(".wh..wh.")) return {};
      if (name.starts_with(".wh.") && name.size() > 4) return Check(writer_->AddWhiteout(parent + name.substr(4)));
    }
    if (const char* target = archive_entry_hardlink(entry)) return Check(writer_->Link(path_, target));
    const uint32_t type = archive_entry_filetype(entry);
    if (type == 0 || type == AE_IFSOCK) {
      ++result_.skipped;
      return {};
    }
    fs::NewFile file{.path = path_, .mode = type | archive_entry_perm(entry)};
    if (!TakeOwner(entry, file)) return TellMember(EINVAL);
    if (const char* target = archive_entry_symlink(entry); target && type == AE_IFLNK) file.target = target;
    if (type == AE_IFCHR || type == AE_IFBLK) file.rdev = archive_entry_rdev(entry);
    TakeTimes(entry, file);
    TakeXattrs(entry, file);
    auto made = writer_->Add(file, [&](int fd) { return CopyData(fd, archive_entry_size(entry)); });
    // CopyData has told already.
    if (!made && copy_failed_) return made;
    return Check(std::move(made));
  }

  Result<void> Check(Result<void> result) {
    if (result) return result;
    return TellMember(result.error().code());
  }

  static bool TakeOwner(archive_entry* entry, fs::NewFile& file) {
    const int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
    constexpr int64_t kLargest = 0xFFFFFFFE;  // 2^32-1 is no id
    if (uid < 0 || uid > kLargest || gid < 0 || gid > kLargest) return false;
    file.uid = static_cast<uid_t>(uid);
    file.gid = static_cast<gid_t>(gid);
    return true;
  }

  static void TakeTimes(archive_entry* entry, fs::NewFile& file) {
    const auto time = [](time_t seconds, long nanoseconds) {
      return timespec{seconds, std::clamp(nanoseconds, 0L, 999'999'999L)};
    };
    if (archive_entry_mtime_is_set(entry)) {
      file.mtime = time(archive_entry_mtime(entry), archive_entry_mtime_nsec(entry));
    }
    if (archive_entry_atime_is_set(entry)) {
      file.atime = time(archive_entry_atime(entry), archive_entry_atime_nsec(entry));
    }
  }

  static void TakeXattrs(archive_entry* entry, fs::NewFile& file) {
    archive_entry_xattr_reset(entry);
    const char* name;
    const void* value;
    size_t size;
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
      const auto* bytes = static_cast<const std::byte*>(value);
      const std::string key = name ? name : "";
      // Lists come as such; in this form they would go around the check.
      if (key == vfs::kAclAccess || key == vfs::kAclDefault) {
        if (!vfs::PosixAcl::Parse({bytes, size})) continue;
      }
      file.xattrs.emplace_back(key, std::vector<std::byte>(bytes, bytes + size));
    }
    if (const auto acl = AclFromEntry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS)) {
      file.mode = (file.mode & ~0777u) | acl->ModeBits();
      file.xattrs.emplace_back(vfs::kAclAccess, acl->Serialise());
    }
    if (const auto acl = AclFromEntry(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT)) {
      file.xattrs.emplace_back(vfs::kAclDefault, acl->Serialise());
    }
  }

  // Blocks come with their offsets; what lies between them is a hole.
  Result<void> CopyData(int fd, int64_t size) {
    copy_failed_ = true;
    off_t end = 0;
    for (;;) {
      const void* data;
      size_t length;
      int64_t offset;
      const int status = archive_read_data_block(reader_.get(), &data, &length, &offset);
      if (status == ARCHIVE_EOF) break;
      if (status < ARCHIVE_WARN) return TellRead();
      for (size_t done = 0; done < length;) {
        const ssize_t n =
            pwrite(fd, static_cast<const char*>(data) + done, length - done, offset + static_cast<int64_t>(done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return TellMember(errno);
        done += static_cast<size_t>(n);
      }
      end = offset + static_cast<int64_t>(length);
      USL_TRY_VOID(Report());
    }
    if (end != size && ftruncate(fd, size) < 0) return TellMember(errno);
    copy_failed_ = false;
    return {};
  }

  const ExtractOptions& options_;
  std::string* why_;
  Source source_;
  ArchiveReadHandle reader_;
  std::optional<fs::TreeWriter> writer_;
  ExtractedArchive result_;
  std::string path_;  // of the current member
  bool copy_failed_ = false;
  uint64_t last_end_ = 0;
};

}  // namespace

std::string PrintableName(const std::string& name) {
  std::string out;
  for (const unsigned char c : name) {
    out += c < 0x20 || c == 0x7F || c == '\\' ? format("\\x{:02x}", c) : std::string(1, static_cast<char>(c));
  }
  return out;
}

Result<ExtractedArchive> ExtractArchive(int fd, const std::string& tree, const ExtractOptions& options,
                                        std::string* why) {
  return Extractor(fd, options, why).Run(tree);
}

}  // namespace usl::manager
