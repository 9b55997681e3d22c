#include "fs/host_remove.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/format.h"
#include "fs/host_file.h"

namespace usl::fs {
namespace {

constexpr const char* kPrefix = "usl-removing-";

// Empties `directory`: files go, its directories are moved up to `top`, so that nothing is ever more than one level
// deep.
Result<void> Flatten(int top, int directory, uint64_t& counter, std::vector<std::string>& pending) {
  std::vector<std::pair<std::string, unsigned char>> members;
  USL_TRY_VOID(ForEachEntry(directory, [&](const char* name, uint64_t, unsigned char type) {
    members.emplace_back(name, type);
    return true;
  }));
  for (const auto& [name, type] : members) {
    if (type != DT_DIR && ::unlinkat(directory, name.c_str(), 0) == 0) continue;
    if (type != DT_DIR && type != DT_UNKNOWN && errno != EISDIR) return FailErrno();
    if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0) continue;
    std::string up = format("{}{}", kPrefix, ++counter);
    USL_TRY_VOID(RenameHost({directory, name.c_str()}, {top, up.c_str()}, 0));
    pending.push_back(std::move(up));
  }
  return {};
}

}  // namespace

Result<void> RemoveHostTree(int parent, const char* name) {
  UniqueFd top = USL_TRY(OpenHost({parent, name}, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  uint64_t counter = 0;
  std::vector<std::string> pending;
  std::vector<std::pair<std::string, unsigned char>> members;
  USL_TRY_VOID(ForEachEntry(top.get(), [&](const char* member, uint64_t, unsigned char type) {
    members.emplace_back(member, type);
    return true;
  }));
  for (const auto& [member, type] : members) {
    if (type != DT_DIR && ::unlinkat(top.get(), member.c_str(), 0) == 0) continue;
    pending.push_back(member);
    // A member of an interrupted removal must not be mistaken for one of this.
    if (member.starts_with(kPrefix)) counter += 1'000'000'000;
  }
  while (!pending.empty()) {
    std::string next = std::move(pending.back());
    pending.pop_back();
    UniqueFd directory = USL_TRY(OpenHost({top.get(), next.c_str()}, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    USL_TRY_VOID(Flatten(top.get(), directory.get(), counter, pending));
    if (::unlinkat(top.get(), next.c_str(), AT_REMOVEDIR) < 0) return FailErrno();
  }
  if (::unlinkat(parent, name, AT_REMOVEDIR) < 0) return FailErrno();
  return {};
}

}  // namespace usl::fs
