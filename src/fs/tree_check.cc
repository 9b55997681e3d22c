#include "fs/tree_check.h"

#include <algorithm>
#include <cstring>

#include "base/format.h"
#include "fs/tree_checker.h"
#include "fs/tree_lock.h"

namespace usl::fs {

int TreeReport::Status() const {
  int status = 0;
  for (const TreeProblem& problem : problems) {
    if (problem.severity == TreeProblem::Severity::kError) status |= problem.repaired ? 1 : 4;
  }
  return status;
}

Result<TreeReport> CheckTree(const std::string& path, bool repair, std::string* why) {
  auto fail = [&](Error error) {
    if (why->empty()) *why = format("cannot check \"{}\": {}", path, std::strerror(error.code()));
    return Fail(error);
  };
  auto lock = TreeLock::Take(path, why);
  if (!lock) return fail(lock.error());
  // The host's view of the tree: records are the checker's own business.
  auto layer = Layer::Open({.path = path, .owners = Owners::kHost}, std::make_unique<MemoryStore>());
  if (!layer) return fail(layer.error());
  auto version = ReadTreeFormat((*layer)->root_fd());
  if (version && *version > kTreeFormat) {
    *why = format("\"{}\" is a tree of format {}, and this usl knows those up to {}: use a newer usl", path, *version,
                  kTreeFormat);
    return Fail(EPROTONOSUPPORT);
  }
  auto report = TreeChecker(**layer, repair).Run();
  if (!report) return fail(report.error());
  return std::move(*report);
}

TreeProblem& TreeChecker::Add(Severity severity, const char* kind, std::string path, std::string text) {
  return report_.problems.emplace_back(TreeProblem{severity, kind, std::move(path), std::move(text), false});
}

std::string TreeChecker::PathOf(const HostDirectory& directory, std::string_view name) const {
  std::vector<std::string_view> parts;
  if (!name.empty()) parts.push_back(name);
  for (const HostDirectory* at = &directory; at->parent(); at = at->parent().get()) parts.push_back(at->name());
  std::string path;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!path.empty()) path += '/';
    path += *part;
  }
  return path;
}

std::string TreeChecker::PathOf(const File& file) const {
  return file.directory ? PathOf(*file.directory, file.name) : file.name;
}

Result<TreeReport> TreeChecker::Run() {
  // Opens it for reading: without that there is nothing to check.
  USL_TRY_VOID(ForEachEntry(layer_.root_fd(), [](const char*, uint64_t, unsigned char) { return false; }));
  File root{nullptr, {layer_.root_fd(), ""}, "", USL_TRY(Stat({layer_.root_fd(), ""}))};
  owner_ = root.status.stx_uid;
  CheckPrivate();
  if (!records_readable_) return std::move(report_);
  CheckFile(root);
  std::vector<Ref<HostDirectory>> pending{layer_.root()};
  while (!pending.empty()) {
    Ref<HostDirectory> next = std::move(pending.back());
    pending.pop_back();
    CheckDirectory(*next, pending);
  }
  if (sidecar_) CheckLogKeys("sidecar", sidecar_.get(), with_record_);
  if (overflow_) CheckLogKeys("overflow", overflow_.get(), overflow_used_);
  return std::move(report_);
}

}  // namespace usl::fs
