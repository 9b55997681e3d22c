// Notes in the work directory: what a kernel is about to do in two host steps, so that the next one can complete it.
// A note is the target of a symlink, which is made in one step, and removed when the change is complete.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/format.h"
#include "base/log.h"
#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

constexpr size_t kMaxNote = 4000;
constexpr char kDirectoryNote = 'm';
constexpr char kWhiteoutNote = 'w';

std::string Hexadecimal(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

std::vector<std::byte> FromHexadecimal(std::string_view text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    unsigned value = 0;
    std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

// The directory at a path below `root`, without following anything.
Result<UniqueFd> OpenBelow(int root, std::string_view path) {
  if (path.ends_with('/')) return Fail(EIO);
  UniqueFd at = USL_TRY(OpenHost({root, "."}, O_PATH | O_DIRECTORY));
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string part(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part.empty() || part == "." || part == "..") return Fail(EIO);
    at = USL_TRY(OpenHost({at.get(), part.c_str()}, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  }
  return at;
}

// Removes what an earlier kernel left behind. Depth is bounded: the work directory holds files and directories of
// whiteouts, nothing deeper.
void RemoveLeftover(int directory, const char* name, int depth) {
  if (::unlinkat(directory, name, 0) == 0 || depth == 0) return;
  UniqueFd inner(::openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!inner) return;
  std::vector<std::string> names;
  (void)ForEachEntry(inner.get(), [&](const char* member, uint64_t, unsigned char) {
    names.emplace_back(member);
    return true;
  });
  for (const std::string& member : names) RemoveLeftover(inner.get(), member.c_str(), depth - 1);
  ::unlinkat(directory, name, AT_REMOVEDIR);
}

}  // namespace

bool IsWorkNote(std::string_view name) {
  return name.starts_with(kDirectoryNote) || name.starts_with(kWhiteoutNote);
}

std::string VolInode::PathInUpper(std::string_view name) const {
  std::string path(name);
  for (const HostDirectory* at = UpperDirectory(); at && at->parent(); at = at->parent().get()) {
    path.insert(0, at->name() + "/");
  }
  return path;
}

Result<std::string> VolFs::MakeNote(char kind, const std::string& text) {
  if (text.size() > kMaxNote) return Fail(EFBIG);
  Ref<OpenDirectory> work = USL_TRY(Work());
  for (;;) {
    std::string name = kind + TemporaryName();
    if (::symlinkat(text.c_str(), work->fd(), name.c_str()) == 0) return name;
    if (errno != EEXIST) return FailErrno();  // one of an earlier kernel that could not be carried out yet
  }
}

void VolFs::DropNote(const std::string& name) {
  if (auto work = Work()) ::unlinkat((*work)->fd(), name.c_str(), 0);
}

Result<void> VolInode::MakeDirectoryInPlace(const HostPlace& place, std::string_view name, const vfs::NewInode& spec,
                                            AttributeRecord& record) {
  // Too deep for a note: told as moved then.
  const std::string note =
      USL_TRY(volfs_.MakeNote(kDirectoryNote, Hexadecimal(EncodeRecord(record)) + ":" + PathInUpper(name)));
  auto made = MakeHostFile(place, spec, record, true);
  if (!made && made.error().code() != EEXIST) ::unlinkat(place.fd, place.name, AT_REMOVEDIR);
  volfs_.DropNote(note);
  return made;
}

Result<void> VolFs::CompleteDirectory(std::string_view note) {
  const size_t colon = note.find(':');
  if (colon == note.npos) return Fail(EIO);
  const AttributeRecord record = USL_TRY(DecodeRecord(FromHexadecimal(note.substr(0, colon))));
  // A directory that is not there was not made.
  UniqueFd at = USL_TRY(OpenBelow(upper()->root_fd(), note.substr(colon + 1)));
  struct stat status;
  if (::fstat(at.get(), &status) < 0) return FailErrno();
  // One that has a record was complete.
  if (USL_TRY(upper()->store().Load({at.get(), ""}, KeyOf(status)))) return {};
  return upper()->store().Save({at.get(), ""}, KeyOf(status), record);
}

Result<void> VolFs::MoveThenWhiteOut(const HostPlace& from, const HostPlace& to, const std::string& path) {
  Ref<OpenDirectory> work = USL_TRY(Work());
  const std::string temporary = TemporaryName();
  const HostPlace whiteout{work->fd(), temporary.c_str()};
  // Made beforehand: once the file has moved nothing may fail for want of space.
  USL_TRY_VOID(LinkWhiteout(whiteout));
  auto note = MakeNote(kWhiteoutNote, path);
  Result<void> done;
  if (!note && note.error().code() != EFBIG) done = Fail(note.error());
  if (done) done = Step();
  if (done) done = RenameHost(from, to, 0);
  const bool has_moved = done.has_value();
  if (done) done = Step();
  if (done) done = RenameHost(whiteout, from, 0);
  if (done) done = Step();
  if (crashed_) return done;
  if (!done) ::unlinkat(whiteout.fd, whiteout.name, 0);
  // What failed half way did not happen; where that is not to be had either, the next start completes it.
  const bool is_settled = done || !has_moved || RenameHost(to, from, RENAME_NOREPLACE);
  if (note && is_settled) DropNote(*note);
  return done;
}

Result<void> VolFs::CompleteWhiteout(std::string_view path) {
  const size_t slash = path.rfind('/');
  const std::string name(slash == path.npos ? path : path.substr(slash + 1));
  const ComponentName component(name);
  if (name.empty() || name == "." || name == ".." || !component.IsValid()) return Fail(EIO);
  UniqueFd at = USL_TRY(OpenBelow(upper()->root_fd(), slash == path.npos ? "" : path.substr(0, slash)));
  // The file was in the upper tree under this name: when it is gone from here it has arrived at its new one.
  auto found = Stat({at.get(), component.c_str()});
  if (found || found.error().code() != ENOENT) return {};
  return LinkWhiteout({at.get(), component.c_str()});
}

Result<void> VolFs::EmptyWork() {
  if (::faccessat(upper()->root_fd(), ".usl/work", F_OK, 0) < 0) return {};
  Ref<OpenDirectory> work = USL_TRY(Work());
  std::vector<std::string> notes;
  std::vector<std::string> names;
  USL_TRY_VOID(ForEachEntry(work->fd(), [&](const char* name, uint64_t, unsigned char) {
    (IsWorkNote(name) ? notes : names).emplace_back(name);
    return true;
  }));
  // First what may have the names that carrying out notes takes.
  for (const std::string& name : names) RemoveLeftover(work->fd(), name.c_str(), 2);
  for (const std::string& name : notes) {
    // Nothing that is wrong with a note itself helps anybody.
    if (auto note = ReadHostLink({work->fd(), name.c_str()})) {
      auto done = name[0] == kDirectoryNote ? CompleteDirectory(*note) : CompleteWhiteout(*note);
      if (!done && done.error().code() != ENOENT) {
        Log(LogLevel::kWarning, "a change of \"{}\" that a killed kernel began cannot be completed (errno {})", *note,
            done.error().code());
        // There may be room the next time.
        if (done.error().code() == ENOSPC || done.error().code() == EDQUOT) continue;
      }
    }
    RemoveLeftover(work->fd(), name.c_str(), 2);
  }
  return {};
}

}  // namespace usl::fs
