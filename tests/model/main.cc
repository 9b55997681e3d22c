// random_operations DIRECTORY SEED COUNT [--no-whiteouts] [--no-devices] [--protection
// SYMLINKS,HARDLINKS,FIFOS,REGULAR]
//                   [--prepare | --prepared]
//
// Does COUNT random operations on files below DIRECTORY, which it makes and removes, and prints what came of each and
// what the tree is now and then. The same seed gives the same operations, so the output of a native run and of a run
// inside can be compared. --prepare only makes a tree for --prepared to work on, which may be a lower layer by then.
// Must run as root. --protection sets fs.protected_* where it differs (inside only: the native run takes what the
// machine has).
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "model/session.h"

namespace {

constexpr unsigned kRound = 150;
constexpr unsigned kDumpEvery = 50;

bool Protect(const char* values) {
  static constexpr const char* kNames[] = {"symlinks", "hardlinks", "fifos", "regular"};
  for (const char* name : kNames) {
    const std::string path = std::string("/proc/sys/fs/protected_") + name;
    const int wanted = atoi(values);
    FILE* file = fopen(path.c_str(), "r+");
    int value = -1;
    if (!file || fscanf(file, "%d", &value) != 1) return false;
    if (value != wanted) {
      rewind(file);
      fprintf(file, "%d\n", wanted);
    }
    if (fclose(file) != 0) return false;
    values = strchr(values, ',');
    if (!values) break;
    ++values;
  }
  return true;
}

void RemoveRound(const std::string& directory, unsigned number) {
  std::error_code error;
  std::filesystem::remove_all(directory + "/round" + std::to_string(number), error);
  printf("round %u removed: %s\n", number, error.message().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || geteuid() != 0) {
    fprintf(stderr,
            "usage: random_operations DIRECTORY SEED COUNT [--no-whiteouts] [--no-devices] [--protection S,H,F,R] "
            "[--prepare | --prepared]; as root\n");
    return 2;
  }
  usl::model::SessionOptions options{.directory = argv[1], .seed = strtoull(argv[2], nullptr, 10)};
  const auto count = static_cast<unsigned>(strtoul(argv[3], nullptr, 10));
  // What was inherited would shift the numbers of descriptors, which are in paths to /proc.
  close_range(3, ~0u, 0);
  bool prepare = false;
  for (int i = 4; i < argc; ++i) {
    if (strcmp(argv[i], "--no-whiteouts") == 0) {
      options.whiteouts = false;
    } else if (strcmp(argv[i], "--no-devices") == 0) {
      options.devices = false;
    } else if (strcmp(argv[i], "--prepare") == 0) {
      prepare = true;
    } else if (strcmp(argv[i], "--prepared") == 0) {
      options.prepared = true;
    } else if (strcmp(argv[i], "--protection") == 0 && i + 1 < argc) {
      if (!Protect(argv[++i])) {
        perror("/proc/sys/fs/protected_*");
        return 2;
      }
    }
  }
  if (!options.prepared && (mkdir(argv[1], 0777) < 0 || chmod(argv[1], 0777) < 0)) {
    perror(argv[1]);
    return 2;
  }
  if (prepare) {
    for (unsigned i = 0; i * kRound < count; ++i) usl::model::PrepareRound(options.directory, i);
    return 0;
  }
  {
    usl::model::Session session(options, stdout);
    for (unsigned i = 0; i < count; ++i) {
      if (i % kRound == 0) {
        if (i > 0) RemoveRound(options.directory, i / kRound - 1);
        session.StartRound(i / kRound);
      }
      session.Step(i);
      if (i % kDumpEvery == kDumpEvery - 1) session.Dump();
    }
  }
  std::error_code error;
  if (chdir("/") < 0 || std::filesystem::remove_all(options.directory, error) == 0 || error) {
    fprintf(stderr, "%s: cannot be removed: %s\n", argv[1], error.message().c_str());
    return 2;
  }
  printf("removed\n");
  return 0;
}
