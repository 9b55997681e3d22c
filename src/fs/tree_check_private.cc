// fsck: the private directory of a tree: what is being made, the index, the files of records, and what was found lost.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "fs/host_remove.h"
#include "fs/sidecar_store.h"
#include "fs/tree_checker.h"
#include "fs/tree_lock.h"
#include "fs/volfs.h"

namespace usl::fs {
namespace {

constexpr const char* kPrivate = ".usl";
constexpr std::array<std::string_view, 9> kMembers{"work",        "index",        "sidecar", "overflow", "lost",
                                                   "sidecar.new", "overflow.new", "lock",    "format"};

std::vector<std::string> NamesIn(int directory) {
  std::vector<std::string> names;
  (void)ForEachEntry(directory, [&](const char* name, uint64_t, unsigned char) {
    names.emplace_back(name);
    return true;
  });
  return names;
}

bool IsHexadecimal(std::string_view name) {
  return !name.empty() && name.size() <= 16 && name.find_first_not_of("0123456789abcdef") == name.npos;
}

// One line of the list of what was lost: a guest chose the name.
std::string Escape(std::string_view text) {
  std::string out;
  for (unsigned char c : text) out += c < 0x20 || c == 0x7F || c == '\\' ? format("\\x{:02x}", c) : std::string(1, c);
  return out;
}

Result<void> WriteWhole(int fd, std::span<const std::byte> data) {
  while (!data.empty()) {
    ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno();
    data = data.subspan(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

void TreeChecker::CheckPrivate() {
  UniqueFd probe(::openat(layer_.root_fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (probe && GetHostXattr({probe.get(), ""}, XattrStore::kProbeName)) {
    auto& problem =
        Add(Severity::kNote, "unfinished", "", "has the attribute by which usl tries whether there are any");
    problem.repaired = repair_ && RemoveHostXattr({probe.get(), ""}, XattrStore::kProbeName).has_value();
  }
  auto outer = OpenHost({layer_.root_fd(), kPrivate}, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (!outer) {
    if (outer.error().code() == ENOENT) return;
    records_readable_ = false;
    Add(Severity::kError, "private", kPrivate, "is no directory: rename it, it is usl's own name");
    return;
  }
  auto status = Stat({outer->get(), ""});
  if (status && (status->stx_mode & 07777) != 0700) {
    Mend("mode", kPrivate, format("has the host mode {:04o}, and nobody else may enter it", status->stx_mode & 07777),
         [&] {
           return ChangeHostMode({outer->get(), ""}, 0700);
         });
  }
  if (!ReadTreeFormat(layer_.root_fd())) {
    Mend("format", ".usl/format", "is no number: it is taken for the format of today", [&] {
      return MoveToLost({outer->get(), "format"}, ".usl/format", "format");
    });
  }
  for (const std::string& name : NamesIn(outer->get())) {
    if (std::ranges::find(kMembers, name) == kMembers.end()) {
      Add(Severity::kNote, "private", format("{}/{}", kPrivate, name), "is nothing that this usl knows");
    }
    if (!name.ends_with(".new")) continue;
    auto& problem = Add(Severity::kNote, "unfinished", format("{}/{}", kPrivate, name), "was being written");
    problem.repaired = repair_ && ::unlinkat(outer->get(), name.c_str(), 0) == 0;
  }
  CheckWork(outer->get());
  CheckLog(outer->get(), SidecarStore::kName, sidecar_);
  report_.has_sidecar = sidecar_ != nullptr;
  CheckLog(outer->get(), XattrStore::kOverflowName, overflow_);
  if (records_readable_) CheckIndex(outer->get());
}

void TreeChecker::CheckWork(int outer) {
  auto work = OpenHost({outer, "work"}, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (!work) return;
  for (const std::string& name : NamesIn(work->get())) {
    if (IsWorkNote(name)) {
      // To be carried out, which takes the layers.
      Add(Severity::kNote, "unfinished", format(".usl/work/{}", name),
          "a change that a kernel that ended had begun; the next one completes it");
      continue;
    }
    auto& problem = Add(Severity::kNote, "unfinished", format(".usl/work/{}", name),
                        "was being made or removed by a kernel that ended; the next one removes it");
    if (!repair_) continue;
    problem.repaired =
        ::unlinkat(work->get(), name.c_str(), 0) == 0 || RemoveHostTree(work->get(), name.c_str()).has_value();
  }
}

void TreeChecker::CheckIndex(int outer) {
  auto index = OpenHost({outer, "index"}, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (!index) return;
  auto status = Stat({index->get(), ""});
  if (!status) return;
  auto directory = MakeRef<HostDirectory>(layer_.root(), kPrivate, HostKey{});
  auto self = MakeRef<HostDirectory>(directory, "index", KeyOf(*status));
  for (const std::string& name : NamesIn(index->get())) {
    File file{self.get(), {index->get(), name.c_str()}, name, {}};
    auto found = Stat(file.place);
    if (!found) continue;
    file.status = *found;
    indexed_.insert(found->stx_ino);
    auto stored = LoadRecord(file);
    bool has_links = stored && *stored && (*stored)->report.salvaged.links;
    // A record that is damaged or of another version is told as that of any file.
    bool is_told = !stored || (*stored && (*stored)->report.state != RecordReport::State::kGood);
    if (IsHexadecimal(name) && file.host_type() == S_IFREG && (has_links || is_told)) {
      CheckFile(file);
      continue;
    }
    indexed_.erase(found->stx_ino);
    Mend("index", PathOf(file), "is no file that was copied up under several names",
         [&] { return MoveToLost(file.place, PathOf(file), "index"); });
  }
}

void TreeChecker::CheckLog(int outer, const char* name, std::unique_ptr<RecordLog>& log) {
  RecordLog::Condition condition;
  std::string path = format("{}/{}", kPrivate, name);
  uint64_t tree = name == std::string_view(SidecarStore::kName) ? layer_.root()->key().ino : 0;
  auto opened = RecordLog::Open(outer, name, RecordLog::Access::kCheck, tree, &condition);
  if (!opened) {
    if (opened.error().code() == ENOENT) return;
    records_readable_ = false;
    Add(Severity::kError, "io", path, format("cannot be read (errno {})", opened.error().code()));
    return;
  }
  log = std::move(*opened);
  if (condition.other_version) {
    records_readable_ = false;
    Add(Severity::kError, "version", path,
        format("is of version {}, which this usl does not know: use a newer usl", condition.other_version));
    return;
  }
  if (condition.foreign) {
    records_readable_ = false;
    Add(Severity::kError, "foreign", path,
        "was made for another tree: its records go by inode number, which copying does not keep; copy the tree from "
        "inside a guest (tar --xattrs --acls), or remove this file to give up owners, modes and special files");
    return;
  }
  auto repair = [&] { return RepairLog(outer, name, condition, log); };
  if (condition.bad_header) {
    Mend("damage", path, "is damaged: nothing of it can be read", repair);
  } else if (condition.damaged) {
    Mend("damage", path, format("is damaged: {} bytes of it cannot be read", condition.damaged), repair);
  } else {
    if (condition.unfinished) {
      auto& problem = Add(Severity::kNote, "unfinished", path, "ends in the middle of a change");
      problem.repaired = repair_;
    }
    // Opened to be written from here on.
    if (auto ready = repair_ ? log->Compact() : Result<void>{}; !ready) {
      records_readable_ = false;
      Add(Severity::kError, "io", path, format("cannot be written (errno {})", ready.error().code()));
    }
  }
}

Result<void> TreeChecker::RepairLog(int outer, const char* name, const RecordLog::Condition& condition,
                                    std::unique_ptr<RecordLog>& log) {
  std::string path = format("{}/{}", kPrivate, name);
  if (!condition.bad_header) {
    // The whole of the old one is kept: what is readable goes into a new file that takes its place.
    UniqueFd lost = USL_TRY(OpenLost());
    std::string kept = format("{}-{}", name, ::getpid());
    if (::linkat(outer, name, lost.get(), kept.c_str(), 0) < 0) return FailErrno();
    USL_TRY_VOID(ListLost(lost.get(), kept, path, "damaged"));
    return log->Compact();
  }
  USL_TRY_VOID(MoveToLost({outer, name}, path, "damaged"));
  RecordLog::Condition fresh;
  log = USL_TRY(RecordLog::Open(outer, name, RecordLog::Access::kWrite, layer_.root()->key().ino, &fresh));
  return {};
}

void TreeChecker::CheckLogKeys(const char* name, RecordLog* log, const std::unordered_set<uint64_t>& used) {
  uint64_t unused = 0;
  for (uint64_t key : log->Keys()) {
    if (used.contains(key)) continue;
    ++unused;
    if (repair_) log->Drop(key);
  }
  if (!unused) return;
  auto& problem = Add(Severity::kNote, "unused", format("{}/{}", kPrivate, name),
                      format("has {} records of files that are gone", unused));
  problem.repaired = repair_;
}

Result<UniqueFd> TreeChecker::OpenLost() {
  UniqueFd outer = USL_TRY(OpenHost({layer_.root_fd(), kPrivate}, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  if (::mkdirat(outer.get(), "lost", 0700) < 0 && errno != EEXIST) return FailErrno();
  return OpenHost({outer.get(), "lost"}, O_PATH | O_DIRECTORY | O_NOFOLLOW);
}

Result<void> TreeChecker::ListLost(int lost, const std::string& name, const std::string& path, const char* what) {
  UniqueFd list(::openat(lost, "list", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!list) return FailErrno();
  std::string line = format("{}\t{}\t{}\n", name, what, Escape(path));
  return WriteWhole(list.get(), std::as_bytes(std::span(line)));
}

Result<void> TreeChecker::SaveLost(const std::string& path, const char* what, std::span<const std::byte> data) {
  // A tree may have no private directory yet.
  if (::mkdirat(layer_.root_fd(), kPrivate, 0700) < 0 && errno != EEXIST) return FailErrno();
  UniqueFd lost = USL_TRY(OpenLost());
  for (unsigned number = 1;; ++number) {
    std::string name = format("{}.{}", what, number);
    auto file = CreateHost({lost.get(), name.c_str()}, O_WRONLY, 0600);
    if (!file && file.error().code() == EEXIST) continue;
    if (!file) return Fail(file.error());
    USL_TRY_VOID(WriteWhole(file->get(), data));
    return ListLost(lost.get(), name, path, what);
  }
}

Result<void> TreeChecker::MoveToLost(const HostPlace& place, const std::string& path, const char* what) {
  if (::mkdirat(layer_.root_fd(), kPrivate, 0700) < 0 && errno != EEXIST) return FailErrno();
  UniqueFd lost = USL_TRY(OpenLost());
  for (unsigned number = 1;; ++number) {
    std::string name = format("{}.{}", what, number);
    auto moved = RenameHost(place, {lost.get(), name.c_str()}, RENAME_NOREPLACE);
    if (!moved && moved.error().code() == EEXIST) continue;
    USL_TRY_VOID(moved);
    return ListLost(lost.get(), name, path, what);
  }
}

}  // namespace usl::fs
