// The parts of the check that tree_check.h offers. Internal.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/format.h"
#include "fs/attribute_record.h"
#include "fs/directory_cache.h"
#include "fs/layer.h"
#include "fs/record_log.h"
#include "fs/tree_check.h"

namespace usl::fs {

class TreeChecker {
 public:
  // `layer` is the tree, opened without looking at records.
  TreeChecker(Layer& layer, bool repair) : layer_(layer), repair_(repair) {}

  // The errors of what makes checking impossible (an unreadable root); all others are problems of the report.
  Result<TreeReport> Run();

 private:
  using Severity = TreeProblem::Severity;
  // A file that is looked at.
  struct File {
    HostDirectory* directory;  // null for the root itself
    HostPlace place;
    std::string name;
    struct statx status;
    uint32_t host_type() const { return status.stx_mode & S_IFMT; }
    uint32_t mode() const { return status.stx_mode & 07777; }
  };
  // Its record as it is stored.
  struct Stored {
    std::vector<std::byte> raw;  // where it is proper: in the attribute, the sidecar or the overflow file
    RecordReport report;
  };

  TreeProblem& Add(Severity severity, const char* kind, std::string path, std::string text);
  // Adds an error, and tells it repaired when `repair` works.
  template <typename Repair>
  void Mend(const char* kind, const std::string& path, std::string text, const Repair& repair);
  std::string PathOf(const File& file) const;
  std::string PathOf(const HostDirectory& directory, std::string_view name) const;

  // The private directory (tree_check_private.cc).
  void CheckPrivate();
  void CheckWork(int outer);
  void CheckIndex(int outer);
  void CheckLog(int outer, const char* name, std::unique_ptr<RecordLog>& log);
  Result<void> RepairLog(int outer, const char* name, const RecordLog::Condition& condition,
                         std::unique_ptr<RecordLog>& log);
  void CheckLogKeys(const char* name, RecordLog* log, const std::unordered_set<uint64_t>& used);
  // Puts `data` into a file of `.usl/lost`, or moves the file there, and notes in its list what it was.
  Result<void> SaveLost(const std::string& path, const char* what, std::span<const std::byte> data);
  Result<void> MoveToLost(const HostPlace& place, const std::string& path, const char* what);
  Result<UniqueFd> OpenLost();
  Result<void> ListLost(int lost, const std::string& name, const std::string& path, const char* what);

  // Files and their records (tree_check_record.cc).
  void CheckDirectory(HostDirectory& directory, std::vector<Ref<HostDirectory>>& pending);
  // True when a directory with this member has to be marked as annotated.
  bool CheckFile(File& file);
  void CheckMode(File& file, std::optional<AttributeRecord>& record, bool understood);
  void CheckLinkTarget(const File& file);
  std::optional<AttributeRecord> CheckRecord(const File& file, bool* understood);
  // What contradicts the host file, put right in `record`; empty when nothing does.
  std::string Contradictions(const File& file, AttributeRecord& record);
  void CheckRedirect(const File& file, const AttributeRecord& record);
  Result<std::optional<Stored>> LoadRecord(const File& file);
  Result<void> SaveRecord(const File& file, const AttributeRecord& record);
  bool IsKnown(const File& file, bool& is_first);

  Layer& layer_;
  DirectoryCache cache_;
  const bool repair_;
  TreeReport report_;
  uint32_t owner_ = 0;  // the host user whose tree it is
  bool records_readable_ = true;
  std::unique_ptr<RecordLog> sidecar_;
  std::unique_ptr<RecordLog> overflow_;
  std::unordered_set<uint64_t> numbers_;          // of files and directories that were seen, on the tree's device
  std::unordered_set<uint64_t> with_record_;      // those whose record in the sidecar is theirs
  std::unordered_set<uint64_t> overflow_used_;    // ids
  std::unordered_set<uint64_t> indexed_;          // numbers of the files in the index
  std::map<std::string, std::string> redirects_;  // to the directory that has it
};

template <typename Repair>
void TreeChecker::Mend(const char* kind, const std::string& path, std::string text, const Repair& repair) {
  TreeProblem& problem = Add(Severity::kError, kind, path, std::move(text));
  if (!repair_) return;
  // Not by reference: repairing may find more.
  size_t index = static_cast<size_t>(&problem - report_.problems.data());
  Result<void> done = repair();
  report_.problems[index].repaired = done.has_value();
  if (!done) report_.problems[index].text += format(" (cannot be repaired: errno {})", done.error().code());
}

}  // namespace usl::fs
