// A file that is downloaded: PATH.part until it is whole.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/sha256.h"
#include "base/unique_fd.h"

namespace usl::fetch {

class PartialFile {
 public:
  // Opens or makes PATH.part and locks it. `waiting` is called before waiting for somebody else's lock. Errors of
  // open(2); EINVAL where something else than a regular file is there.
  static Result<PartialFile> Open(const std::string& path, const std::function<void()>& waiting);

  uint64_t size() const { return size_; }
  // SHA-256 of what is there.
  std::string Digest() const;

  // What must be the same on the server for going on to make sense, where no digest decides: the URL and its ETag or
  // date. `Validator` is empty when nothing was noted for that URL.
  std::string Validator(const std::string& url) const;
  Result<void> SetValidator(const std::string& url, const std::string& validator);

  // Errors of write(2), ftruncate(2).
  Result<void> Append(const char* data, size_t size);
  Result<void> StartAnew();
  // Syncs it and gives it its name, replacing what has that.
  Result<void> Finish();
  // Removes it.
  void Discard();

 private:
  PartialFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string PartPath() const { return path_ + ".part"; }
  std::string NotePath() const { return path_ + ".part.json"; }
  Result<void> ReadWhatIsThere();

  std::string path_;
  UniqueFd fd_;
  uint64_t size_ = 0;
  Sha256 hash_;
};

}  // namespace usl::fetch
