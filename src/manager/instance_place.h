// Where an instance that can be joined is found: instances/KEY below the run-time root ($XDG_RUNTIME_DIR/usl, else
// /tmp/usl-UID), with its control socket and two locks.
//
// The *life lock* (flock of the directory) is held by the supervisor and the kernel process until the instance is gone
// altogether. The *start lock* (flock of the file "start") is held by whoever starts it until it can be joined. Order:
// start lock, life lock.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::manager {

class InstancePlace {
 public:
  // `key` is IsValidName. With `make` the directory is made where it is missing. On failure `why` has a line for
  // people. ENOENT: no such instance; EPERM: somebody else could put things there.
  static Result<InstancePlace> Open(const std::string& key, bool make, std::string* why);
  // The keys of all places, of dead instances too.
  static std::vector<std::string> Keys();

  // A connection to the supervisor, which is checked to be this user's. ENOENT, ECONNREFUSED: nobody listens.
  Result<UniqueFd> Connect() const;
  // The listening socket, in the place of a dead one. Non-blocking.
  Result<UniqueFd> Listen() const;
  // Waits for the start lock; it is free again when the descriptor is closed.
  Result<UniqueFd> LockStart() const;
  // Waits for the life lock; it is held as long as this object or that of a forked child lives.
  Result<void> LockLife() const;
  // Is the life lock held by nobody?
  bool IsDead() const;
  // Did a dying instance remove the directory, so that it must be opened anew?
  bool IsRemoved() const;
  // Removes what is there. For the holder of the life lock.
  void Remove() const;

  const std::string& key() const { return key_; }
  int fd() const { return directory_.get(); }

 private:
  InstancePlace(std::string key, std::string path, UniqueFd directory)
      : key_(std::move(key)), path_(std::move(path)), directory_(std::move(directory)) {}

  std::string key_;
  std::string path_;
  UniqueFd directory_;
};

// The file to which the instance's supervisor, kernel process, init and detached sessions write: logs/KEY.log below
// the data directory, whose predecessor has ".1" behind it.
std::string InstanceLogPath(const std::string& key);

}  // namespace usl::manager
