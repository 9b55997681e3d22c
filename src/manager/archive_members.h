// A tar, compressed or not, that is a container of named files (docker save, oci-archive) and not a tree: nothing of it
// gets a name on the host.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::manager {

class ArchiveMembers {
 public:
  // Lists the members of `file`. Unnamed files for the large ones are made in `scratch`, which exists. EINVAL: it is no
  // tar, or it is damaged; `why` says so, with the file's name.
  static Result<ArchiveMembers> Open(const std::string& file, const std::string& scratch, std::string* why);

  // The regular file that a name leads to, over symbolic and hard links inside the archive; empty when there is none.
  std::string Resolve(const std::string& name) const;
  // Bytes of a member. ENOENT; EFBIG beyond `limit`.
  Result<std::string> Read(const std::string& name, uint64_t limit, std::string* why);
  // A descriptor of a member's bytes, at its start, the caller's own. All that will be asked for is read at once, by
  // one pass over the archive: name it all by Want first. ENOENT, ENOSPC and the like, EINVAL as Open.
  void Want(const std::string& name);
  Result<UniqueFd> Take(const std::string& name, std::string* why);

 private:
  struct Member {
    uint64_t size = 0;
    std::string link;     // where it leads; empty: a regular file
    std::string content;  // of small ones
    bool is_kept = false;
  };
  ArchiveMembers(std::string file, std::string scratch) : file_(std::move(file)), scratch_(std::move(scratch)) {}
  Result<void> List(std::string* why);
  Result<void> Unpack(std::string* why);
  Result<UniqueFd> MakeScratchFile(std::string* why) const;

  std::string file_, scratch_;
  std::map<std::string, Member> members_;
  std::set<std::string> wanted_;
  std::map<std::string, UniqueFd> unpacked_;
};

}  // namespace usl::manager
