// binfmt_misc (Documentation/admin-guide/binfmt-misc.rst of Linux): interpreters for files by magic bytes or extension.
// The file system keeps the table; the kernel's exec asks Match(). Mounted on /proc/sys/fs/binfmt_misc.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "fs/synthetic_directory.h"
#include "vfs/path.h"

namespace usl::fs {

// The interpreter of an F entry: the file itself, whatever has its name later.
struct FixedInterpreter {
  vfs::Path path;                        // for /proc/PID/exe
  std::shared_ptr<const UniqueFd> file;  // the host file, readable
};

// A line written to `register`, parsed: ":name:type:offset:magic:mask:interpreter:flags".
struct BinfmtEntry {
  std::string name;
  bool by_extension = false;  // type E: `magic` is the extension without its dot
  size_t offset = 0;
  std::string magic, mask;  // mask is empty or as long as magic
  std::string interpreter;
  bool preserve_argv0 = false;   // P
  bool open_binary = false;      // O: the interpreter gets a descriptor (AT_EXECFD)
  bool credentials = false;      // C: credentials come from the binary; implies O
  bool fix_interpreter = false;  // F: the interpreter is the file that had the name at registration
  bool enabled = true;
  FixedInterpreter fixed;  // F
};
// EINVAL for what Linux refuses.
Result<BinfmtEntry> ParseBinfmt(std::string_view line);

class BinfmtMisc final : public SyntheticFileSystem {
 public:
  // Finds the interpreter of an F entry in the tree of who registers it.
  using Resolver = std::function<Result<FixedInterpreter>(const WriterContext& writer, const std::string& path)>;

  // `instance` outlives the file system.
  static Ref<BinfmtMisc> Create(const SyntheticInstance& instance, Resolver resolver);

  // The entry for a file whose first bytes (up to 256; what is missing counts as zeros, as on Linux) are `head` and
  // whose name is `path`; null when there is none. Valid until the table changes. The newest matching entry counts.
  const BinfmtEntry* Match(std::span<const std::byte> head, std::string_view path) const;

  bool enabled() const { return enabled_; }
  const std::list<BinfmtEntry>& entries() const { return entries_; }
  // EEXIST for a name that is there, EPERM without CAP_SYS_ADMIN, the resolver's errors for an F entry.
  Result<void> Register(const WriterContext& writer, std::string_view line);
  // What is written to `status` (empty name) or to an entry: "0" off, "1" on, "-1" removed. EINVAL otherwise.
  Result<void> Control(const WriterContext& writer, const std::string& name, std::string_view command);
  // What an entry's file shows; ENOENT.
  Result<std::string> Describe(const std::string& name) const;

 private:
  template <typename T, typename... Args>
  friend Ref<T> usl::MakeRef(Args&&...);
  BinfmtMisc(const SyntheticInstance& instance, Resolver resolver);

  Resolver resolver_;
  std::list<BinfmtEntry> entries_;  // newest first
  bool enabled_ = true;
};

}  // namespace usl::fs
