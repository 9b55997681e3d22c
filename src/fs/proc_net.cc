// /proc/PID/net: with the host's network, the host's own files (what WSL 1 shows), but of sockets the instance's only;
// without a network, empty tables.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/format.h"
#include "fs/proc_pid.h"
#include "fs/proc_text.h"

namespace usl::fs {
namespace {

enum class NetKind {
  kHost,     // the host's file, live
  kSockets,  // the instance's sockets only: the host's are none of the guest's business
  kUnix,     // the same, with the guest's names for the host's
  kHeader,   // always without entries: the host's would name host processes
};
struct NetEntry {
  std::string_view name;
  std::string_view header;  // shown alone without a network
  NetKind kind = NetKind::kHost;
};

constexpr std::string_view kTcp =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    "                                                     \n";
constexpr std::string_view kTcp6 =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr "
    "tm->when retrnsmt   uid  timeout inode\n";
constexpr std::string_view kUdp =
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
    "drops             \n";
constexpr std::string_view kUdp6 =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr "
    "tm->when retrnsmt   uid  timeout inode ref pointer drops\n";

constexpr NetEntry kNetEntries[] = {
    {"dev",
     "Inter-|   Receive                                                |  Transmit\n"
     " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier "
     "compressed\n"},
    {"tcp", kTcp, NetKind::kSockets},
    {"tcp6", kTcp6, NetKind::kSockets},
    {"udp", kUdp, NetKind::kSockets},
    {"udp6", kUdp6, NetKind::kSockets},
    {"udplite", kUdp, NetKind::kSockets},
    {"udplite6", kUdp6, NetKind::kSockets},
    {"raw", kUdp, NetKind::kSockets},
    {"raw6", kUdp6, NetKind::kSockets},
    {"icmp", kUdp, NetKind::kSockets},
    {"icmp6", kUdp6, NetKind::kSockets},
    {"unix", "Num       RefCount Protocol Flags    Type St Inode Path\n", NetKind::kUnix},
    {"route",
     "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
     "                                                       \n"},
    {"ipv6_route", ""},
    {"rt6_stats", ""},
    {"if_inet6", ""},
    {"snmp", ""},
    {"snmp6", ""},
    {"netstat", ""},
    {"sockstat", "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\n"},
    {"sockstat6", ""},
    {"arp", "IP address       HW type     Flags       HW address            Mask     Device\n"},
    {"igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"},
    {"igmp6", ""},
    {"mcfilter", ""},
    {"mcfilter6", ""},
    {"dev_mcast", ""},
    {"protocols", ""},
    {"softnet_stat", ""},
    {"wireless", ""},
    {"psched", "000003e8 00000040 000f4240 3b9aca00\n"},
    {"fib_trie", ""},
    {"fib_triestat", ""},
    {"netlink", "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
     NetKind::kHeader},
    {"packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n", NetKind::kHeader},
};

class NetFile final : public SyntheticFile, public ProcBound {
 public:
  NetFile(ProcFs& proc, std::string path, const ProcId& id, const NetEntry& entry)
      : SyntheticFile(proc, std::move(path), S_IFREG | 0444), ProcBound(proc, id), entry_(entry) {}

  Result<UniqueFd> Open(int flags, const vfs::Context& context) override {
    const bool native = entry_.kind == NetKind::kHost && proc().guests().HasNetwork();
    if (!native || (flags & O_PATH)) return SyntheticFile::Open(flags, context);
    if ((flags & O_ACCMODE) != O_RDONLY) return Fail(EACCES);
    const ProcTarget target = USL_TRY(Target());
    UniqueFd fd(openat(target.host.get(), format("net/{}", entry_.name).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return FailErrno();
    return fd;
  }
  Result<std::string> Read(const vfs::Context&) override {
    // AF_UNIX needs no network.
    const bool shown = entry_.kind == NetKind::kUnix || proc().guests().HasNetwork();
    if (entry_.kind == NetKind::kHeader || !shown) return std::string(entry_.header);
    const ProcTarget target = USL_TRY(Target());
    const std::string host = USL_TRY(ReadHostFile(target.host.get(), format("net/{}", entry_.name).c_str()));
    const std::map<ino_t, uid_t> sockets = proc().guests().Sockets();
    if (entry_.kind == NetKind::kSockets) return FilterSocketTable(host, sockets);
    return FilterUnixTable(host, sockets,
                           [this](std::string_view name) { return proc().guests().UnixSocketName(name); });
  }

 private:
  const NetEntry& entry_;
};

class NetDirectory final : public SyntheticDirectory, public ProcBound {
 public:
  NetDirectory(ProcFs& proc, std::string path, const ProcId& id)
      : SyntheticDirectory(proc, std::move(path)), ProcBound(proc, id) {}

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context&) override {
    const auto found = std::ranges::find(kNetEntries, name, &NetEntry::name);
    if (found == std::end(kNetEntries) || !Exists(*found, USL_TRY(Target()))) return Fail(ENOENT);
    const std::string child = ChildPath(name);
    return ReuseOrMake(proc(), child, id(), [&] { return MakeRef<NetFile>(proc(), child, id(), *found); });
  }
  bool CacheableNames() const override { return false; }

 protected:
  Result<std::vector<SyntheticEntry>> List() override {
    const ProcTarget target = USL_TRY(Target());
    std::vector<SyntheticEntry> entries;
    int64_t position = kFirstPosition;
    for (const NetEntry& entry : kNetEntries) {
      if (Exists(entry, target)) entries.push_back({std::string(entry.name), DT_REG, position});
      ++position;
    }
    return entries;
  }

 private:
  // The host's kernel may be built without IPv6 or others.
  static bool Exists(const NetEntry& entry, const ProcTarget& target) {
    const bool always = entry.kind == NetKind::kHeader || entry.kind == NetKind::kUnix;
    return always || faccessat(target.host.get(), format("net/{}", entry.name).c_str(), F_OK, 0) == 0;
  }
};

}  // namespace

Ref<vfs::Inode> MakeNetDirectory(ProcFs& proc, const std::string& path, const ProcId& id) {
  return MakeRef<NetDirectory>(proc, path, id);
}

}  // namespace usl::fs
