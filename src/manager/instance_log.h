// The log of an instance: bounded, kept in the data directory over its end.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::manager {

class InstanceLog {
 public:
  // Opens or makes the file. Errors of mkdir(2), open(2).
  static Result<InstanceLog> Open(const std::string& path);
  // Appends; what cannot be written (a full disk) is dropped. A file that has become too large is renamed to PATH.1
  // first, and standard error follows to the new one.
  void Append(std::string_view text);
  int fd() const { return file_.get(); }

  // So large may a file become.
  static constexpr off_t kLimit = 4 << 20;

 private:
  InstanceLog(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  UniqueFd file_;
};

}  // namespace usl::manager
