// One run of the model test: random calls by several users below one directory, each with a line in the log.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <string>

#include "model/random.h"

namespace usl::model {

struct SessionOptions {
  std::string directory;  // exists, empty, is the working directory and owned by root
  uint64_t seed = 0;
  bool prepared = false;  // the rounds' directories are there (PrepareRound), perhaps in a lower layer
  bool devices = true;    // device nodes, which a mount may forbid
  bool whiteouts = true;  // RENAME_WHITEOUT and 0:0 nodes, which a tree of layers keeps for itself
};

// Makes the directory of a round with all kinds of files for a session with `prepared`. Everybody may read everything,
// as an ordinary user of the host must be able to copy it up.
void PrepareRound(const std::string& directory, unsigned number);

class Session {
 public:
  Session(const SessionOptions& options, FILE* log);
  ~Session();

  // Moves to a fresh directory: random modes and links sooner or later leave nothing that can be reached.
  void StartRound(unsigned number);
  // One operation by one user.
  void Step(unsigned number);
  // The tree of the round, into the log.
  void Dump();

 private:
  static constexpr int kSlots = 6;
  // Where a call is to work: a directory descriptor and a path.
  struct Where {
    int dirfd;
    std::string path;
  };

  // session.cc
  void BecomeUser();
  void BecomeRoot();
  void Say(const char* format, ...) __attribute__((format(printf, 2, 3)));
  // Writes the outcome of a call: its value, or the name of errno.
  long Outcome(long result);
  std::string RandomPath();
  Where RandomWhere();
  void SayWhere(const Where& where);
  mode_t RandomMode();
  int SlotFd(int slot) const { return fds_[slot] >= 0 ? fds_[slot] : 900 + slot; }
  std::string RandomXattrName();
  std::string RandomAcl();
  // A path to a descriptor's link in /proc, whose own attributes are not what is tested here.
  static bool IsMagic(const Where& where) { return where.path.starts_with("/proc/"); }
  // For calls that make, remove or replace the name itself.
  Where RandomName();
  bool IsFullRoot() const { return user_ == 0; }
  void Keep(int fd);

  // operations_names.cc
  void MakeDirectory();
  void MakeNode();
  void MakeSymlink();
  void MakeLink();
  void Unlink();
  void RemoveDirectory();
  void Rename();
  void ChangeDirectory();
  // operations_files.cc
  void Open();
  void Open2();
  void OpenUnnamed();
  void Truncate();
  void ChangeMode();
  void ChangeOwner();
  void ChangeTimes();
  void SetXattr();
  void GetXattr();
  void ListXattr();
  void RemoveXattr();
  void SetAcl();
  void Access();
  void Stat();
  void ReadLink();
  void ListDirectory();
  void AfterOpen(int fd, int flags);
  // operations_slots.cc
  void Slot();
  void SlotData(int slot);
  void SlotMetadata(int slot);
  void SlotNames(int slot);
  void ListOpenDirectory(int fd);
  void SayStat(int dirfd, const char* path, int flags);

  const SessionOptions options_;
  FILE* const log_;
  Random random_;
  std::string round_directory_;
  std::string line_;
  int user_ = 0;
  int fds_[kSlots];
};

}  // namespace usl::model
