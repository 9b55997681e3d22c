// What `usl run` was asked for, checked as far as that is possible without looking at the guest's tree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/drvfs.h"
#include "manager/config_file.h"
#include "net/policy.h"

namespace usl::manager {

// -v and --bind HOST:GUEST[:OPTIONS]: a directory or file of the host, seen in the guest through DrvFs.
struct Volume {
  std::string host_path;   // absolute, without symlinks
  std::string alias;       // the same as the user wrote it, where that is another absolute path; else empty
  std::string guest_path;  // absolute
  fs::DrvFsOptions options;
  unsigned mount_flags = 0;  // MS_* beside nosuid and nodev, which always hold
};

// --drvfs HOST[:ro]: what the guest may mount by `mount -t drvfs`.
struct Share {
  std::string host_path;
  std::string alias;
  bool read_only = false;
};

struct RunOptions {
  std::string rootfs;  // the guest's tree; empty = a copy-on-write view of the host's root
  // Read-only trees below it, the topmost first; absolute paths.
  std::vector<std::string> layers;
  std::string image;  // the image that they are of, for messages; empty: of none
  std::string keep;   // name under which the view's changes are kept; empty = thrown away
  std::string name = "usl";
  std::string host_name;                 // empty = the name
  std::string user;                      // NAME|UID[:GROUP|GID]; empty = root
  std::string working_directory;         // empty = the user's home, or the bound directory with `here`
  std::vector<std::string> environment;  // NAME=VALUE, or NAME for the host's value
  std::vector<Volume> volumes;
  std::vector<Share> shares;
  std::vector<std::string> publish;     // checked by CheckPublish
  bool make_working_directory = false;  // where it is not there, as an image may have it
  bool network = true;
  std::vector<net::AddressRule> allow_out, allow_in;
  bool restrict_out = false, restrict_in = false;  // to those
  std::optional<uint64_t> max_tasks, max_memory;   // bytes
  std::optional<unsigned> cpus;
  bool here = false;  // bind the current directory at the same path and start there
  // The host's, as the user's command has it: an instance that is detached leaves it. Absolute.
  std::string current_directory;
  // Descriptors that stay open as long as the instance runs: the locks of what it uses.
  std::vector<int> held;
  // The guest's /etc/wsl.conf and /etc/usl.conf count (never in the view of the host, which has the host's).
  bool guest_config = true;
  // What the host says of this distribution: config.toml and `usl set`. Empty for a tree that is none.
  std::vector<ConfigFile> host_config;
  bool terminal = false;  // a pty even where standard input or output is none
  bool trace = false;
  std::string trace_file;            // of `usl trace`; empty = standard error
  std::vector<std::string> command;  // empty = the user's shell as a login shell

  // Neither a tree nor an image, whose changes are thrown away: the files of this machine.
  bool IsHostView() const { return rootfs.empty() && layers.empty(); }
};

// Parses HOST:GUEST[:OPTIONS], OPTIONS being those of DrvFs and of mount(8): "ro,noatime,uid=1000,metadata". HOST may
// be a path with a drive of Wine ("C:", "D:\\Music"). A relative one is taken from the current directory. Options that
// are given already in `volume` are the defaults. On failure returns false and a line for people in `why`.
bool ParseVolume(const std::string& text, Volume* volume, std::string* why);
// The OPTIONS alone. On failure `bad` is the one that there is not, or that has no such value.
bool ParseVolumeOptions(std::string_view options, Volume* volume, std::string* bad);
// Parses HOST[:ro].
bool ParseShare(const std::string& text, Share* share, std::string* why);

// Checks [ADDRESS:]HOST:GUEST[/tcp|/udp] or PORT.
bool CheckPublish(const std::string& text, bool network, std::string* why);

// --allow-out and --allow-in RULE: what net::ParseAddressRules takes, and "dns[/tcp|/udp]" in front of everything: the
// host's name servers (/etc/resolv.conf), port 53. Adds to `rules`; on failure returns false and a line in `why`.
bool ParseAllow(const std::string& text, std::vector<net::AddressRule>* rules, std::string* why);

// --memory SIZE: bytes, or with k, m, g, t (also "KiB" and the like: powers of 1024); at least 16 MiB. --pids N, --cpus
// N: from 1 up. On failure false and a line in `why`.
bool ParseMemory(const std::string& text, std::optional<uint64_t>* bytes, std::string* why);
bool ParseTasks(const std::string& text, std::optional<uint64_t>* tasks, std::string* why);
bool ParseCpus(const std::string& text, std::optional<unsigned>* cpus, std::string* why);

// Names of instances and kept views: 1 to 64 of letters, digits, '.', '_', '-', not starting with a dot or dash.
bool IsValidName(const std::string& name);
// Host names: 1 to 64 of letters, digits, '.', '-' (hostname(7)).
bool IsValidHostName(const std::string& name);

}  // namespace usl::manager
