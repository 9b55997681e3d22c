// fsck: the files of a tree and their records.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "fs/sidecar_store.h"
#include "fs/tree_checker.h"

namespace usl::fs {
namespace {

constexpr const char* kPrivate = ".usl";

std::span<const std::byte> BytesOf(const std::vector<std::byte>& bytes) {
  return bytes;
}

void Append(std::string& text, const char* more) {
  if (!text.empty()) text += ", ";
  text += more;
}

}  // namespace

void TreeChecker::CheckDirectory(HostDirectory& directory, std::vector<Ref<HostDirectory>>& pending) {
  ++report_.directories;
  auto open = cache_.Get(directory);
  std::vector<std::string> names;
  auto listed = open ? ForEachEntry((*open)->fd(),
                                    [&](const char* name, uint64_t, unsigned char) {
                                      names.emplace_back(name);
                                      return true;
                                    })
                     : Fail(open.error());
  if (!listed) {
    Add(Severity::kError, "io", PathOf(directory, ""), format("cannot be listed (errno {})", listed.error().code()));
    return;
  }
  bool needs_mark = false;
  for (const std::string& name : names) {
    if (!directory.parent() && name == kPrivate) continue;
    File file{&directory, {(*open)->fd(), name.c_str()}, name, {}};
    auto status = Stat(file.place);
    if (!status) {
      Add(Severity::kError, "io", PathOf(file), format("cannot be looked at (errno {})", status.error().code()));
      continue;
    }
    file.status = *status;
    needs_mark |= CheckFile(file);
    if (file.host_type() == S_IFDIR) {
      pending.push_back(MakeRef<HostDirectory>(Ref<HostDirectory>(&directory), name, KeyOf(file.status)));
    } else {
      ++report_.files;
    }
  }
  if (!needs_mark) return;
  File self{directory.parent().get(), {(*open)->fd(), ""}, directory.name(), {}};
  auto status = Stat(self.place);
  if (!status) return;
  self.status = *status;
  auto stored = LoadRecord(self);
  // An unreadable record of the directory has been told already.
  if (!stored || (*stored && (*stored)->report.state != RecordReport::State::kGood)) return;
  AttributeRecord record = *stored ? (*stored)->report.salvaged : AttributeRecord{};
  if (record.flags & AttributeRecord::kAnnotated) return;
  Mend("mark", PathOf(directory, ""), "holds special or copied-up files without the mark that says so", [&] {
    record.flags |= AttributeRecord::kAnnotated;
    return SaveRecord(self, record);
  });
}

bool TreeChecker::IsKnown(const File& file, bool& is_first) {
  if (KeyOf(file.status).device != layer_.root()->key().device) {
    is_first = true;
    return false;
  }
  is_first = numbers_.insert(file.status.stx_ino).second;
  return true;
}

bool TreeChecker::CheckFile(File& file) {
  uint32_t type = file.host_type();
  if (type == S_IFLNK) return false;
  if (type != S_IFREG && type != S_IFDIR) {
    Add(Severity::kNote, "special", PathOf(file), "is a real special file of the host: its attributes cannot change");
    return false;
  }
  bool is_first = true;
  IsKnown(file, is_first);
  bool understood = true;
  // The record and the mode are the inode's: told once for all its names.
  if (!is_first) {
    auto stored = LoadRecord(file);
    return stored && *stored && ((*stored)->report.salvaged.type || (*stored)->report.salvaged.origin);
  }
  if (file.status.stx_uid != owner_) {
    Add(Severity::kError, "owner", PathOf(file),
        format("belongs to the host user {} and not, as the tree does, to {}: chown it", file.status.stx_uid, owner_));
    return false;
  }
  std::optional<AttributeRecord> record = CheckRecord(file, &understood);
  if (record) ++report_.records;
  CheckMode(file, record, understood);
  if (!record) return false;
  if (record->type == S_IFLNK) CheckLinkTarget(file);
  if (record->type && record->type != S_IFLNK && file.status.stx_size > 0) {
    Add(Severity::kNote, "content", PathOf(file), "stands for a special file and has content, which nobody sees");
  }
  CheckRedirect(file, *record);
  return record->type || record->origin;
}

// Inside the guest sees the record's mode, or the host's where the record has none.
void TreeChecker::CheckMode(File& file, std::optional<AttributeRecord>& record, bool understood) {
  bool is_directory = file.host_type() == S_IFDIR;
  uint32_t needed = is_directory ? 0700 : 0600;
  uint32_t mode = file.mode();
  if ((mode & needed) == needed && !(mode & 06000)) return;
  std::string text = format("has the host mode {:04o}: ", mode);
  text += (mode & 06000) ? "no set-id bits may be on the host" : "its owner must be able to read and write it";
  Mend("mode", PathOf(file), std::move(text), [&]() -> Result<void> {
    if (!understood) return Fail(EIO);
    // First the permission that attributes need, then the record that keeps the guest's mode, then the rest.
    if ((mode & needed) != needed) USL_TRY_VOID(ChangeHostMode(file.place, mode | needed));
    AttributeRecord changed = record.value_or(AttributeRecord{});
    if (!changed.mode) {
      changed.mode = mode;
      USL_TRY_VOID(SaveRecord(file, changed));
      record = changed;
    }
    uint32_t host_mode = (mode | needed) & (is_directory ? 01777 : 0777);
    USL_TRY_VOID(ChangeHostMode(file.place, host_mode));
    file.status.stx_mode = static_cast<uint16_t>(file.host_type() | host_mode);
    return {};
  });
}

void TreeChecker::CheckLinkTarget(const File& file) {
  auto target = ReadSmallFile(file.place, 4095);
  if (target && !target->empty() && target->find('\0') == target->npos) return;
  Mend("symlink", PathOf(file), "stands for a symlink and holds no path",
       [&] { return MoveToLost(file.place, PathOf(file), "symlink"); });
}

Result<std::optional<TreeChecker::Stored>> TreeChecker::LoadRecord(const File& file) {
  Stored stored;
  if (sidecar_) {
    HostKey key = KeyOf(file.status);
    if (key.device != layer_.root()->key().device || !sidecar_->Contains(key.ino)) return std::nullopt;
    RecordLog::Record record = USL_TRY(sidecar_->Get(key.ino));
    if (!record.stamp.Matches(SidecarStore::StampOf(file.place))) return std::nullopt;
    with_record_.insert(key.ino);
    stored.raw = std::move(record.data);
    stored.report = InspectRecord(stored.raw, kMaxLargeRecordSize);
    return stored;
  }
  auto value = GetHostXattr(file.place, XattrStore::kName);
  if (!value) {
    int code = value.error().code();
    if (code == ENODATA || code == EOPNOTSUPP) return std::nullopt;
    return Fail(code);
  }
  stored.raw = std::move(*value);
  stored.report = InspectRecord(stored.raw);
  uint64_t id = stored.report.salvaged.overflow;
  if (!id) return stored;
  auto record = overflow_ ? overflow_->Get(id) : Fail(ENOENT);
  if (!record) {
    stored.report = {};
    return stored;
  }
  overflow_used_.insert(id);
  stored.raw = std::move(record->data);
  stored.report = InspectRecord(stored.raw, kMaxLargeRecordSize);
  if (stored.report.salvaged.overflow) stored.report.state = RecordReport::State::kDamaged;
  return stored;
}

Result<void> TreeChecker::SaveRecord(const File& file, const AttributeRecord& record) {
  auto data = EncodeRecord(record);
  if (sidecar_) {
    HostKey key = KeyOf(file.status);
    if (key.device != layer_.root()->key().device) return Fail(EOPNOTSUPP);
    if (record.IsDefault()) {
      sidecar_->Drop(key.ino);
      return {};
    }
    USL_TRY_VOID(sidecar_->Put(key.ino, SidecarStore::StampOf(file.place), data));
    with_record_.insert(key.ino);
    return {};
  }
  if (!record.IsDefault()) {
    // One that does not fit must have been in the overflow file: it stays as it is then, and is told.
    return SetHostXattr(file.place, XattrStore::kName, data, 0);
  }
  auto removed = RemoveHostXattr(file.place, XattrStore::kName);
  if (!removed && removed.error().code() != ENODATA) return removed;
  return {};
}

std::optional<AttributeRecord> TreeChecker::CheckRecord(const File& file, bool* understood) {
  auto stored = LoadRecord(file);
  if (!stored && stored.error().code() == EACCES && (file.mode() & 0400) == 0) {
    // The host asks an ordinary user for permission to read. The mode is told by itself; to mend it, the record has to
    // be known first.
    if (!repair_) return std::nullopt;
    if (ChangeHostMode(file.place, file.mode() | 0600)) stored = LoadRecord(file);
  }
  if (!stored) {
    *understood = false;
    Add(Severity::kError, "io", PathOf(file), format("its record cannot be read (errno {})", stored.error().code()));
    return std::nullopt;
  }
  if (!*stored) return std::nullopt;
  RecordReport& report = (*stored)->report;
  if (report.state == RecordReport::State::kOtherVersion) {
    *understood = false;
    Add(Severity::kError, "version", PathOf(file),
        format("its record is of version {}, which this usl does not know: use a newer usl", report.version));
    return std::nullopt;
  }
  AttributeRecord record = std::move(report.salvaged);
  bool is_good = report.state == RecordReport::State::kGood;
  std::string wrong = Contradictions(file, record);
  if (is_good && wrong.empty()) return record;
  std::string text = is_good ? format("its record {}", wrong) : "its record is damaged";
  size_t before = report_.problems.size();
  Mend("record", PathOf(file), std::move(text), [&]() -> Result<void> {
    USL_TRY_VOID(SaveLost(PathOf(file), "record", BytesOf((*stored)->raw)));
    return SaveRecord(file, record);
  });
  *understood = report_.problems[before].repaired;
  return record;
}

std::string TreeChecker::Contradictions(const File& file, AttributeRecord& record) {
  std::string wrong;
  bool is_directory = file.host_type() == S_IFDIR;
  if (record.type && (is_directory || record.type == S_IFREG || record.type == S_IFDIR)) {
    Append(wrong, "names a type that its host file cannot stand for");
    record.type = 0;
  }
  if (record.rdev && record.type != S_IFCHR && record.type != S_IFBLK) {
    Append(wrong, "has a device number and is no device");
    record.rdev = 0;
  }
  if (!is_directory && (record.flags || !record.redirect.empty())) {
    Append(wrong, "has the flags or the redirect of a directory and is none");
    record.flags = 0;
    record.redirect.clear();
  }
  if (!file.directory && file.name.empty() && !record.redirect.empty()) {
    Append(wrong, "redirects the root");
    record.redirect.clear();
  }
  if (record.links && (is_directory || !indexed_.contains(file.status.stx_ino))) {
    Append(wrong, "has a link count of its own and the file is not in the index");
    record.links = 0;
  }
  if (record.links && record.links < file.status.stx_nlink - 1) {
    Append(wrong, "has a link count below the number of its names");
    record.links = file.status.stx_nlink - 1;
  }
  return wrong;
}

void TreeChecker::CheckRedirect(const File& file, const AttributeRecord& record) {
  if (record.redirect.empty()) return;
  auto [known, is_new] = redirects_.try_emplace(record.redirect, PathOf(file));
  if (is_new) return;
  Add(Severity::kError, "redirect", PathOf(file),
      format("shows the lower directory \"{}\" as \"{}\" does: one of them was copied on the host", record.redirect,
             known->second));
}

}  // namespace usl::fs
