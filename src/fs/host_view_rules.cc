#include "fs/host_view_rules.h"

#include <algorithm>

namespace usl::fs {

const std::vector<HostViewRule>& HostViewRules() {
  using enum HostRule::Action;
  static const std::vector<HostViewRule> rules = {
      // Other file systems are mounted here in the guest, or they are the instance's own.
      {"proc", kEmpty},
      {"sys", kEmpty},
      {"dev", kEmpty},
      {"run", kEmpty},
      {"tmp", kEmpty},
      {"var/tmp", kEmpty},
      {"lost+found", kHidden},

      // Made up from passwd and group, also where USL is run by root; their backups and locks are absent, so that the
      // account tools of package scripts can make them.
      {"etc/shadow", kHidden},
      {"etc/gshadow", kHidden},
      {"etc/shadow-", kHidden},
      {"etc/gshadow-", kHidden},
      {"etc/.pwd.lock", kHidden},

      // The guest root's home.
      {"root", kEmptyIfUnreadable},

      // apt.
      {"var/lib/apt/lists/lock", kHiddenIfUnreadable},
      {"var/lib/apt/lists/partial", kEmptyIfUnreadable},
      {"var/lib/apt/lists/auxfiles", kEmptyIfUnreadable},
      {"var/lib/apt/mirrors/partial", kEmptyIfUnreadable},
      {"var/lib/apt/daily_lock", kHiddenIfUnreadable},
      {"var/cache/apt/archives/lock", kHiddenIfUnreadable},
      {"var/cache/apt/archives/partial", kEmptyIfUnreadable},
      {"var/log/apt/term.log", kHiddenIfUnreadable},
      {"var/log/apt/history.log", kHiddenIfUnreadable},
      {"var/log/apt/eipp.log.xz", kHiddenIfUnreadable},

      // dpkg, debconf and what maintainer scripts run.
      {"var/lib/dpkg/lock", kHiddenIfUnreadable},
      {"var/lib/dpkg/lock-frontend", kHiddenIfUnreadable},
      {"var/lib/dpkg/triggers/Lock", kHiddenIfUnreadable},
      {"var/log/dpkg.log", kHiddenIfUnreadable},
      {"var/log/alternatives.log", kHiddenIfUnreadable},
      {"var/cache/debconf/passwords.dat", kHiddenIfUnreadable},
      {"var/cache/debconf/passwords.dat-old", kHiddenIfUnreadable},
      {"var/cache/ldconfig", kEmptyIfUnreadable},
      {"var/cache/private", kEmptyIfUnreadable},
      {"var/cache/apparmor", kEmptyIfUnreadable},
      {"var/lib/private", kEmptyIfUnreadable},
      {"var/log/private", kEmptyIfUnreadable},
      {"var/lib/polkit-1", kEmptyIfUnreadable},
      {"var/lib/update-notifier/package-data-downloads/partial", kEmptyIfUnreadable},
      {"var/spool/cron/crontabs", kEmptyIfUnreadable},
      {"var/spool/rsyslog", kEmptyIfUnreadable},
      {"var/lib/systemd/random-seed", kHiddenIfUnreadable},
      {"etc/ssl/private", kEmptyIfUnreadable},
  };
  return rules;
}

bool IsSystemDirectory(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  for (std::string_view tree : {"/usr", "/bin", "/sbin", "/lib", "/etc"}) {
    if (path == tree || (path.starts_with(tree) && path[tree.size()] == '/')) return true;
  }
  static constexpr std::string_view kSingle[] = {"/",    "/home", "/var", "/var/lib", "/var/cache", "/var/spool",
                                                 "/opt", "/srv",  "/mnt", "/media",   "/boot",      "/nonexistent"};
  return path.empty() || std::ranges::find(kSingle, path) != std::end(kSingle);
}

}  // namespace usl::fs
