// status, stat, cmdline, limits and other small texts of /proc/PID.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/format.h"
#include "fs/proc_pid.h"
#include "fs/proc_text.h"

namespace usl::fs {
namespace {

constexpr size_t kMaxVirtualOomEntries = 4096;

// The rows of /proc/PID/limits in Linux's order of RLIMIT_*.
struct LimitRow {
  const char* name;
  const char* unit;
};
constexpr LimitRow kLimitRows[RLIM_NLIMITS] = {
    {"Max cpu time", "seconds"},    {"Max file size", "bytes"},      {"Max data size", "bytes"},
    {"Max stack size", "bytes"},    {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
    {"Max processes", "processes"}, {"Max open files", "files"},     {"Max locked memory", "bytes"},
    {"Max address space", "bytes"}, {"Max file locks", "locks"},     {"Max pending signals", "signals"},
    {"Max msgqueue size", "bytes"}, {"Max nice priority", nullptr},  {"Max realtime priority", nullptr},
    {"Max realtime timeout", "us"},
};

std::string LimitText(rlim_t value) {
  return value == RLIM_INFINITY ? "unlimited" : std::to_string(value);
}

Result<int> ParseDecimal(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return Fail(EINVAL);
  return value;
}

Result<int> OomScoreAdjustment(ProcFs& proc, const ProcTarget& target) {
  const auto found = proc.virtual_oom_adjustments().find(target.process.serial);
  if (found != proc.virtual_oom_adjustments().end()) return found->second;
  return ParseDecimal(USL_TRY(ReadHostFile(target.host.get(), "oom_score_adj")));
}

Result<void> SetOomScoreAdjustment(ProcFs& proc, const ProcTarget& target, const WriterContext& writer, int value) {
  if (value < -1000 || value > 1000) return Fail(EINVAL);
  if (!MayAccess(writer.credentials, writer.thread_group, target, ProcAccess::kRead)) return Fail(EACCES);
  const int before = USL_TRY(OomScoreAdjustment(proc, target));
  const UniqueFd fd(openat(target.host.get(), "oom_score_adj", O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(value);
  auto& adjustments = proc.virtual_oom_adjustments();
  if (fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    adjustments.erase(target.process.serial);
    return {};
  }
  // The host lets nobody without CAP_SYS_RESOURCE go lower; guest root sees its value, and the host does what it likes.
  if (value < before && !writer.credentials.Has(CAP_SYS_RESOURCE)) return Fail(EACCES);
  if (adjustments.size() >= kMaxVirtualOomEntries) adjustments.erase(adjustments.begin());
  adjustments[target.process.serial] = value;
  return {};
}

// The thread that traces, as the host names it; ptrace is native. USL's own short traces are nobody's business.
pid_t ShownTracer(const ProcFs& proc, pid_t tracer) {
  if (tracer <= 0) return 0;
  return proc.Resolve(tracer) ? proc.ShownPid(tracer) : 0;
}

}  // namespace

Result<std::string> ReadProcStatus(const ProcRead& read) {
  const std::string host = USL_TRY(ReadHostFile(read.target.host.get(), "status"));
  const ProcProcess& process = read.target.process;
  StatusFacts facts;
  facts.tgid = read.proc.ShownPid(read.target.id.pid);
  facts.pid = read.proc.ShownPid(read.target.id.tid);
  facts.parent = read.proc.ShownParent(read.target.id.pid, static_cast<pid_t>(StatusNumber(host, "PPid:")));
  facts.tracer = ShownTracer(read.proc, static_cast<pid_t>(StatusNumber(host, "TracerPid:")));
  facts.group = read.proc.ShownGroup(static_cast<pid_t>(StatusNumber(host, "NSpgid:")));
  facts.session = read.proc.ShownGroup(static_cast<pid_t>(StatusNumber(host, "NSsid:")));
  facts.umask = process.umask;
  facts.credentials = process.credentials.get();
  facts.seccomp_mode = process.seccomp_mode;
  facts.seccomp_filters = process.seccomp_filters;
  facts.running = read.context.thread == read.target.id.tid;
  return RewriteStatus(host, facts);
}

Result<std::string> ReadProcStat(const ProcRead& read) {
  const std::string host = USL_TRY(ReadHostFile(read.target.host.get(), "stat"));
  const size_t close = host.rfind(')');
  if (close == std::string::npos || close + 4 >= host.size()) return Fail(ESRCH);
  const pid_t host_parent = static_cast<pid_t>(strtol(host.c_str() + close + 4, nullptr, 10));
  StatFacts facts;
  facts.pid = read.proc.ShownPid(read.target.id.tid);
  facts.parent = read.proc.ShownParent(read.target.id.pid, host_parent);
  facts.shown_group = [&read](pid_t host_group) { return read.proc.ShownGroup(host_group); };
  facts.permitted = MayAccess(read.context.credentials, read.context.thread_group, read.target, ProcAccess::kRead);
  facts.running = read.context.thread == read.target.id.tid;
  return RewriteStat(host, facts);
}

Result<std::string> ReadProcSyscall(const ProcRead& read) {
  // The reader itself is shown in its open, on Linux in its read.
  return ReadHostFile(read.target.host.get(), "syscall");
}

Result<std::string> ReadProcCmdline(const ProcRead& read) {
  std::string line = USL_TRY(ReadHostFile(read.target.host.get(), "cmdline"));
  const ProcProcess& process = read.target.process;
  if (line.empty()) return line;  // a zombie
  for (size_t i = 0; i < process.command_drop; ++i) {
    const size_t end = line.find('\0');
    line.erase(0, end == std::string::npos ? end : end + 1);
  }
  std::string prefix;
  for (const std::string& argument : process.command_prefix) prefix.append(argument).push_back('\0');
  return prefix + line;
}

Result<std::string> ReadProcLimits(const ProcRead& read) {
  const std::string host = USL_TRY(ReadHostFile(read.target.host.get(), "limits"));
  std::string out;
  ForEachLine(host, [&](std::string_view line) {
    std::string replaced;
    for (int resource = 0; resource < static_cast<int>(RLIM_NLIMITS); ++resource) {
      const LimitRow& row = kLimitRows[resource];
      if (!line.starts_with(format("{:<25} ", row.name))) continue;
      auto limit = read.proc.guests().VirtualLimit(read.target.id.pid, resource);
      // Natively RLIMIT_LOCKS holds USL's token; Linux leaves it unlimited.
      if (!limit && resource == RLIMIT_LOCKS) limit = rlimit{RLIM_INFINITY, RLIM_INFINITY};
      if (!limit) continue;
      replaced = format("{:<25} {:<20} {:<20} ", row.name, LimitText(limit->rlim_cur), LimitText(limit->rlim_max));
      if (row.unit) replaced += format("{:<10}", row.unit);
    }
    out += replaced.empty() ? line : std::string_view(replaced);
    out += '\n';
  });
  return out;
}

Result<std::string> ReadProcChildren(const ProcRead& read) {
  // The kernel may be built without it; then Linux has no such file.
  const auto host = ReadHostFile(read.target.host.get(), "children");
  if (!host) return Fail(ENOENT);
  std::string out;
  const char* position = host->c_str();
  for (char* end = nullptr;; position = end) {
    const pid_t child = static_cast<pid_t>(strtol(position, &end, 10));
    if (end == position) break;
    if (read.proc.guests().HasProcess(child)) out += format("{} ", read.proc.ShownPid(child));
  }
  return out;
}

Result<std::string> ReadProcOomScoreAdj(const ProcRead& read) {
  return format("{}\n", USL_TRY(OomScoreAdjustment(read.proc, read.target)));
}

Result<std::string> ReadProcOomAdj(const ProcRead& read) {
  // oom_adj_read(): -17 to 15.
  const int score = USL_TRY(OomScoreAdjustment(read.proc, read.target));
  return format("{}\n", score == 1000 ? 15 : score * 17 / 1000);
}

Result<void> WriteProcOomScoreAdj(ProcFs& proc, const ProcTarget& target, const WriterContext& writer,
                                  std::string_view data) {
  return SetOomScoreAdjustment(proc, target, writer, USL_TRY(ParseDecimal(data)));
}

Result<void> WriteProcOomAdj(ProcFs& proc, const ProcTarget& target, const WriterContext& writer,
                             std::string_view data) {
  const int value = USL_TRY(ParseDecimal(data));
  if (value < -17 || value > 15) return Fail(EINVAL);
  return SetOomScoreAdjustment(proc, target, writer, value == 15 ? 1000 : value * 1000 / 17);
}

}  // namespace usl::fs
