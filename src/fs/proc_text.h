// Rewriting the host's /proc texts for guests: pure functions, so that they can be tested on samples.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cred/credentials.h"

namespace usl::fs {

// A process number as a name in /proc: digits without leading zero, positive.
std::optional<pid_t> ParseProcNumber(std::string_view name);
// The first number behind `name` (with its colon) at the start of a line; 0 if there is none.
int64_t StatusNumber(std::string_view status, std::string_view name);
// Calls `line` for each line, without its newline.
void ForEachLine(std::string_view text, const std::function<void(std::string_view line)>& line);
// `text` with the characters of `special` written as \ooo (mangle_path() of Linux).
std::string EscapeOctal(std::string_view text, std::string_view special);
std::string UnescapeOctal(std::string_view text);

// What /proc/PID/status says of identity.
struct StatusFacts {
  pid_t tgid = 0, pid = 0, parent = 0, tracer = 0, group = 0, session = 0;
  mode_t umask = 022;
  const cred::Credentials* credentials = nullptr;
  int seccomp_mode = 0;
  unsigned seccomp_filters = 0;
  bool running = false;  // the reader itself: natively it sleeps until its call is served
};
std::string RewriteStatus(std::string_view host, const StatusFacts& facts);

// What /proc/PID/stat says of identity; with `permitted` false addresses are hidden as Linux does.
struct StatFacts {
  pid_t pid = 0, parent = 0;
  std::function<pid_t(pid_t)> shown_group;
  bool permitted = false;
  bool running = false;
};
std::string RewriteStat(std::string_view host, const StatFacts& facts);

// A line of maps, and the header lines of smaps.
struct MapsLine {
  uint64_t start = 0, end = 0;
  std::string_view permissions, offset;
  dev_t device = 0;
  ino_t inode = 0;
  std::string path;  // unescaped; empty for anonymous memory
};
// nullopt for lines of another form (smaps' details).
std::optional<MapsLine> ParseMapsLine(std::string_view line);
std::string FormatMapsLine(const MapsLine& line);
// maps, smaps, smaps_rollup: `rename` changes the path, device and inode of each mapping.
std::string RewriteMaps(std::string_view host, const std::function<void(MapsLine&)>& rename);
// numa_maps: `rename` gives the guest's path for an address's file, or empty to drop it.
std::string RewriteNumaMaps(std::string_view host,
                            const std::function<std::string(uint64_t address, std::string_view path)>& rename);

// /proc/net/tcp and its like: the lines of these sockets, by inode, each with the user given. Header lines stay.
std::string FilterSocketTable(std::string_view host, const std::map<ino_t, uid_t>& sockets);
// /proc/net/unix in the same way; `name` gives the guest's name for the host's.
std::string FilterUnixTable(std::string_view host, const std::map<ino_t, uid_t>& sockets,
                            const std::function<std::string(std::string_view host_name)>& name);

}  // namespace usl::fs
