#include "manager/archive_members.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <vector>

#include "base/format.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

constexpr size_t kMaxMembers = 100000;
constexpr uint64_t kSmall = 4 << 20;           // larger members are never kept in memory
constexpr uint64_t kKeptInMemory = 128 << 20;  // all of them together
constexpr int kMaxLinks = 40;
constexpr size_t kMaxName = 4096;  // longer ones name nothing that an image has

struct FreeArchive {
  void operator()(archive* one) const { archive_read_free(one); }
};
using Reader = std::unique_ptr<archive, FreeArchive>;

// "./a//b" to "a/b"; empty for what leaves the archive, as ".." of `directory` may do.
std::string Normal(const std::string& directory, const std::string& name) {
  std::vector<std::string> parts;
  const std::string whole = directory + "/" + name;
  for (size_t start = 0; start <= whole.size();) {
    const size_t end = std::min(whole.find('/', start), whole.size());
    const std::string part = whole.substr(start, end - start);
    start = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (parts.empty()) return {};
      parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : "/") + part;
  return out;
}

std::string DirectoryOf(const std::string& name) {
  const size_t slash = name.rfind('/');
  return slash == name.npos ? std::string() : name.substr(0, slash);
}

// Walks over an archive. `visit` gets each entry and may read its data; false ends the walk.
Result<void> Walk(const std::string& file, const std::function<Result<bool>(archive*, archive_entry*)>& visit,
                  std::string* why) {
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat status;
  if (!fd || fstat(fd.get(), &status) < 0) {
    const int error = errno;
    *why = format("cannot read \"{}\": {}", file, ErrorText(error));
    return Fail(error);
  }
  if (!S_ISREG(status.st_mode)) {
    *why = format("\"{}\" is no file", file);
    return Fail(EINVAL);
  }
  const Reader reader(archive_read_new());
  if (!reader) return Fail(ENOMEM);
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_filter_bzip2(reader.get());
  archive_read_support_filter_xz(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_format_tar(reader.get());
  const auto damaged = [&]() -> std::unexpected<Error> {
    const char* text = archive_error_string(reader.get());
    *why = format("\"{}\" is no tar archive, or it is damaged: {}", file, text ? text : "unknown error");
    return Fail(EINVAL);
  };
  if (archive_read_open_fd(reader.get(), fd.get(), 1 << 17) != ARCHIVE_OK) return damaged();
  while (true) {
    archive_entry* entry = nullptr;
    const int got = archive_read_next_header(reader.get(), &entry);
    if (got == ARCHIVE_EOF) return {};
    if (got < ARCHIVE_WARN) return damaged();
    const auto go_on = visit(reader.get(), entry);
    if (!go_on && go_on.error().code() == EINVAL) return damaged();
    if (!go_on) return Fail(go_on.error());
    if (!*go_on) return {};
  }
}

// Hands an entry's data over, piece by piece. EINVAL: libarchive says why.
Result<void> ReadData(archive* reader, const std::function<Result<void>(const char*, size_t)>& take) {
  std::vector<char> buffer(1 << 17);
  while (true) {
    const la_ssize_t size = archive_read_data(reader, buffer.data(), buffer.size());
    if (size < 0) return Fail(EINVAL);
    if (size == 0) return {};
    USL_TRY_VOID(take(buffer.data(), static_cast<size_t>(size)));
  }
}

std::string NameOf(archive_entry* entry) {
  const char* name = archive_entry_pathname(entry);
  return name ? Normal("", name) : std::string();
}

}  // namespace

Result<ArchiveMembers> ArchiveMembers::Open(const std::string& file, const std::string& scratch, std::string* why) {
  ArchiveMembers members(file, scratch);
  USL_TRY_VOID(members.List(why));
  return members;
}

Result<void> ArchiveMembers::List(std::string* why) {
  uint64_t kept = 0;
  const auto visit = [&](archive* reader, archive_entry* entry) -> Result<bool> {
    const std::string name = NameOf(entry);
    if (name.empty() || name.size() > kMaxName) return true;
    Member member;
    if (const char* hard = archive_entry_hardlink(entry)) {
      member.link = Normal("", hard);
    } else if (archive_entry_filetype(entry) == AE_IFLNK) {
      const char* target = archive_entry_symlink(entry);
      if (target && target[0] != '/') member.link = Normal(DirectoryOf(name), target);
    } else if (archive_entry_filetype(entry) == AE_IFREG) {
      member.size = static_cast<uint64_t>(std::max<int64_t>(0, archive_entry_size(entry)));
      member.is_kept = member.size <= kSmall && kept + member.size <= kKeptInMemory;
    } else {
      return true;
    }
    if (archive_entry_filetype(entry) != AE_IFREG && member.link.empty()) return true;
    if (member.link.size() > kMaxName) return true;
    if (members_.size() >= kMaxMembers) {
      *why = format("\"{}\" has more than {} members", file_, kMaxMembers);
      return Fail(E2BIG);
    }
    if (member.is_kept) {
      kept += member.size;
      USL_TRY_VOID(ReadData(reader, [&](const char* data, size_t size) -> Result<void> {
        // A sparse member can be larger than it says.
        if (member.content.size() + size > kSmall) return Fail(EINVAL);
        member.content.append(data, size);
        return {};
      }));
    }
    // A later one of the same name counts, as when a tar is unpacked.
    members_[name] = std::move(member);
    return true;
  };
  return Walk(file_, visit, why);
}

std::string ArchiveMembers::Resolve(const std::string& name) const {
  std::string at = Normal("", name);
  for (int links = 0; links < kMaxLinks; ++links) {
    const auto found = members_.find(at);
    if (found == members_.end()) return {};
    if (found->second.link.empty()) return at;
    at = found->second.link;
  }
  return {};
}

Result<std::string> ArchiveMembers::Read(const std::string& name, uint64_t limit, std::string* why) {
  const std::string resolved = Resolve(name);
  if (resolved.empty()) {
    *why = format("\"{}\" has no member \"{}\"", file_, name);
    return Fail(ENOENT);
  }
  const Member& member = members_[resolved];
  if (member.size > limit) {
    *why = format("\"{}\" of \"{}\" has {} bytes, more than the {} that are allowed", name, file_, member.size, limit);
    return Fail(EFBIG);
  }
  if (member.is_kept) return member.content;
  const UniqueFd fd = USL_TRY(Take(name, why));
  std::string content(member.size, '\0');
  const ssize_t size = pread(fd.get(), content.data(), content.size(), 0);
  if (size < 0) return FailErrno();
  content.resize(static_cast<size_t>(size));
  return content;
}

void ArchiveMembers::Want(const std::string& name) {
  const std::string resolved = Resolve(name);
  if (!resolved.empty()) wanted_.insert(resolved);
}

Result<UniqueFd> ArchiveMembers::MakeScratchFile(std::string* why) const {
  UniqueFd fd(open(scratch_.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (!fd && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string name = scratch_ + "/unpack-XXXXXX";
    fd.Reset(mkostemp(name.data(), O_CLOEXEC));
    if (fd) unlink(name.c_str());
  }
  if (fd) return fd;
  const int error = errno;
  *why = format("cannot make a file in \"{}\": {}", scratch_, ErrorText(error));
  return Fail(error);
}

Result<void> ArchiveMembers::Unpack(std::string* why) {
  const auto visit = [&](archive* reader, archive_entry* entry) -> Result<bool> {
    const std::string name = NameOf(entry);
    const bool is_plain = archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry);
    if (!is_plain || !wanted_.contains(name)) return true;
    UniqueFd fd = USL_TRY(MakeScratchFile(why));
    USL_TRY_VOID(ReadData(reader, [&](const char* data, size_t size) -> Result<void> {
      while (size > 0) {
        const ssize_t written = write(fd.get(), data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
          const int error = errno;
          *why = format("cannot unpack \"{}\" to \"{}\": {}", file_, scratch_, ErrorText(error));
          return Fail(error == EINVAL ? EIO : error);
        }
        data += written;
        size -= static_cast<size_t>(written);
      }
      return {};
    }));
    unpacked_[name] = std::move(fd);
    return true;
  };
  USL_TRY_VOID(Walk(file_, visit, why));
  wanted_.clear();
  return {};
}

Result<UniqueFd> ArchiveMembers::Take(const std::string& name, std::string* why) {
  Want(name);
  const std::string resolved = Resolve(name);
  if (!resolved.empty() && !unpacked_.contains(resolved)) USL_TRY_VOID(Unpack(why));
  const auto found = unpacked_.find(resolved);
  if (found == unpacked_.end()) {
    *why = format("\"{}\" has no member \"{}\"", file_, name);
    return Fail(ENOENT);
  }
  // A description of its own: each reader has its own position.
  UniqueFd fd(open(format("/proc/self/fd/{}", found->second.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno();
  return fd;
}

}  // namespace usl::manager
