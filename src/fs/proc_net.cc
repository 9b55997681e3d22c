// /proc/PID/net: with the host's network, the host's own files (what WSL 1 shows), less what tells of host processes;
// without a network, empty tables.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/format.h"
#include "fs/proc_pid.h"

namespace usl::fs {
namespace {

enum class NetKind {
  kHost,    // the host's file, live
  kUnix,    // the instance's sockets only: the host's paths are none of the guest's business
  kHeader,  // always without entries: the host's would name host processes
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
    {"tcp", kTcp},
    {"tcp6", kTcp6},
    {"udp", kUdp},
    {"udp6", kUdp6},
    {"udplite", kUdp},
    {"udplite6", kUdp6},
    {"raw", kUdp},
    {"raw6", kUdp6},
    {"icmp", kUdp},
    {"icmp6", kUdp6},
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
    std::string out(entry_.header);
    if (entry_.kind == NetKind::kUnix) {
      for (const std::string& line : proc().guests().UnixSockets()) out += line + "\n";
    }
    return out;
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
    return entry.kind != NetKind::kHost ||
           faccessat(target.host.get(), format("net/{}", entry.name).c_str(), F_OK, 0) == 0;
  }
};

}  // namespace

Ref<vfs::Inode> MakeNetDirectory(ProcFs& proc, const std::string& path, const ProcId& id) {
  return MakeRef<NetDirectory>(proc, path, id);
}

}  // namespace usl::fs
