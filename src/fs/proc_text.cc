#include "fs/proc_text.h"

#include <sys/sysmacros.h>

#include <charconv>
#include <utility>

#include "base/format.h"

namespace usl::fs {
namespace {

// The next field of `text` up to a space, removed from it with the spaces behind it.
std::string_view TakeField(std::string_view& text) {
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view field = text.substr(0, end);
  text.remove_prefix(std::min(text.find_first_not_of(' ', end), text.size()));
  return field;
}

template <typename T>
std::optional<T> ParseNumber(std::string_view text, int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string StatusValue(std::string_view name, const StatusFacts& facts) {
  const cred::Credentials& c = *facts.credentials;
  if (name == "State:" && facts.running) return "R (running)";
  if (name == "Umask:") return format("{:04o}", facts.umask);
  if (name == "Tgid:" || name == "NStgid:") return std::to_string(facts.tgid);
  if (name == "Pid:" || name == "NSpid:") return std::to_string(facts.pid);
  if (name == "Ngid:") return "0";
  if (name == "PPid:") return std::to_string(facts.parent);
  if (name == "TracerPid:") return std::to_string(facts.tracer);
  if (name == "Uid:") return format("{}\t{}\t{}\t{}", c.uid, c.euid, c.suid, c.fsuid);
  if (name == "Gid:") return format("{}\t{}\t{}\t{}", c.gid, c.egid, c.sgid, c.fsgid);
  if (name == "NSpgid:") return std::to_string(facts.group);
  if (name == "NSsid:") return std::to_string(facts.session);
  if (name == "CapInh:") return format("{:016x}", c.inheritable);
  if (name == "CapPrm:") return format("{:016x}", c.permitted);
  if (name == "CapEff:") return format("{:016x}", c.effective);
  if (name == "CapBnd:") return format("{:016x}", c.bounding);
  if (name == "CapAmb:") return format("{:016x}", c.ambient);
  if (name == "NoNewPrivs:") return c.no_new_privs ? "1" : "0";
  if (name == "Seccomp:") return std::to_string(facts.seccomp_mode);
  if (name == "Seccomp_filters:") return std::to_string(facts.seccomp_filters);
  if (name == "Groups:") {
    std::string groups;  // Linux writes a space behind each
    for (const gid_t group : c.groups) groups += format("{} ", group);
    return groups.empty() ? " " : groups;
  }
  return {};
}

}  // namespace

std::optional<pid_t> ParseProcNumber(std::string_view name) {
  if (name.empty() || name.front() < '1' || name.front() > '9') return std::nullopt;
  return ParseNumber<pid_t>(name);
}

void ForEachLine(std::string_view text, const std::function<void(std::string_view line)>& line) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

int64_t StatusNumber(std::string_view status, std::string_view name) {
  int64_t number = 0;
  ForEachLine(status, [&](std::string_view line) {
    if (!line.starts_with(name)) return;
    line.remove_prefix(std::min(line.find_first_of("0123456789-"), line.size()));
    std::from_chars(line.data(), line.data() + line.size(), number);
  });
  return number;
}

std::string EscapeOctal(std::string_view text, std::string_view special) {
  std::string escaped;
  for (const char c : text) {
    if (special.find(c) == std::string_view::npos) {
      escaped += c;
    } else {
      escaped += format("\\{:03o}", static_cast<unsigned char>(c));
    }
  }
  return escaped;
}

std::string UnescapeOctal(std::string_view text) {
  std::string plain;
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) && octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string RewriteStatus(std::string_view host, const StatusFacts& facts) {
  std::string out;
  out.reserve(host.size() + 64);
  ForEachLine(host, [&](std::string_view line) {
    const std::string_view name = line.substr(0, line.find(':') + 1);
    const std::string value = StatusValue(name, facts);
    if (value.empty()) {
      out += line;
    } else {
      out += format("{}\t{}", name, value);
    }
    out += '\n';
  });
  return out;
}

std::string RewriteStat(std::string_view host, const StatFacts& facts) {
  const size_t open = host.find('(');
  const size_t close = host.rfind(')');  // the name may hold both
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return {};
  std::string out = format("{} {}", facts.pid, host.substr(open, close + 1 - open));
  std::string_view rest = host.substr(close + 1);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  // Numbered as in proc_pid_stat(5).
  for (int field = 3; !rest.empty(); ++field) {
    const std::string_view value = TakeField(rest);
    const bool address = (field >= 28 && field <= 30) || field == 35 || (field >= 45 && field <= 52);
    out += ' ';
    if (field == 3 && facts.running) {
      out += 'R';
    } else if (field == 4) {
      out += std::to_string(facts.parent);
    } else if (field == 5 || field == 6 || field == 8) {
      out += std::to_string(facts.shown_group(ParseNumber<pid_t>(value).value_or(0)));
    } else if (!facts.permitted && (field == 26 || field == 27)) {
      out += '1';
    } else if (!facts.permitted && address) {
      out += '0';
    } else {
      out += value;
    }
  }
  return out + '\n';
}

std::optional<MapsLine> ParseMapsLine(std::string_view line) {
  std::string_view rest = line;
  const std::string_view range = TakeField(rest);
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto start = ParseNumber<uint64_t>(range.substr(0, dash), 16);
  const auto end = ParseNumber<uint64_t>(range.substr(dash + 1), 16);
  MapsLine parsed;
  parsed.permissions = TakeField(rest);
  parsed.offset = TakeField(rest);
  const std::string_view device = TakeField(rest);
  const auto inode = ParseNumber<ino_t>(TakeField(rest));
  const size_t colon = device.find(':');
  if (!start || !end || !inode || parsed.permissions.size() != 4 || colon == std::string_view::npos) {
    return std::nullopt;
  }
  parsed.start = *start;
  parsed.end = *end;
  parsed.inode = *inode;
  parsed.device = makedev(ParseNumber<unsigned>(device.substr(0, colon), 16).value_or(0),
                          ParseNumber<unsigned>(device.substr(colon + 1), 16).value_or(0));
  parsed.path = UnescapeOctal(rest);
  return parsed;
}

std::string FormatMapsLine(const MapsLine& line) {
  std::string out = format("{:08x}-{:08x} {} {} {:02x}:{:02x} {} ", line.start, line.end, line.permissions, line.offset,
                           major(line.device), minor(line.device), line.inode);
  if (line.path.empty()) return out;
  if (out.size() < 73) out.resize(73, ' ');  // seq_pad() of Linux on 64 bits
  return out + EscapeOctal(line.path, "\n");
}

std::string RewriteMaps(std::string_view host, const std::function<void(MapsLine&)>& rename) {
  std::string out;
  out.reserve(host.size());
  ForEachLine(host, [&](std::string_view line) {
    auto parsed = ParseMapsLine(line);
    if (parsed) {
      rename(*parsed);
      out += FormatMapsLine(*parsed);
    } else {
      out += line;
    }
    out += '\n';
  });
  return out;
}

std::string FilterSocketTable(std::string_view host, const std::map<ino_t, uid_t>& sockets) {
  constexpr int kUser = 7,
                kInode = 9;  // fields of a line, from 0: "sl local remote st queues timer retransmits uid ..."
  std::string out;
  bool is_header = true;
  ForEachLine(host, [&](std::string_view line) {
    if (std::exchange(is_header, false)) {
      out.append(line).append("\n");
      return;
    }
    std::string_view rest = line;
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    std::string_view user;
    ino_t inode = 0;
    for (int field = 0; field <= kInode && !rest.empty(); ++field) {
      const std::string_view value = TakeField(rest);
      if (field == kUser) user = value;
      if (field == kInode) inode = ParseNumber<ino_t>(value).value_or(0);
    }
    const auto found = sockets.find(inode);
    if (inode == 0 || found == sockets.end()) return;
    // The user's number keeps its place: five columns, to the right.
    const auto before = static_cast<size_t>(user.data() - line.data());
    const size_t column = user.size() < 5 ? before + user.size() - 5 : before;
    out += format("{}{:5}{}\n", line.substr(0, column), found->second, line.substr(before + user.size()));
  });
  return out;
}

std::string FilterUnixTable(std::string_view host, const std::map<ino_t, uid_t>& sockets,
                            const std::function<std::string(std::string_view host_name)>& name) {
  constexpr int kInode = 6;  // "Num RefCount Protocol Flags Type St Inode Path"
  std::string out;
  bool is_header = true;
  ForEachLine(host, [&](std::string_view line) {
    if (std::exchange(is_header, false)) {
      out.append(line).append("\n");
      return;
    }
    std::string_view rest = line;
    std::string_view inode;
    for (int field = 0; field <= kInode && !rest.empty(); ++field) inode = TakeField(rest);
    if (!sockets.contains(ParseNumber<ino_t>(inode).value_or(0))) return;
    out += line.substr(0, static_cast<size_t>(inode.data() + inode.size() - line.data()));
    const std::string shown = rest.empty() ? std::string() : name(rest);
    if (!shown.empty()) out.append(" ").append(shown);
    out += '\n';
  });
  return out;
}

std::string RewriteNumaMaps(std::string_view host,
                            const std::function<std::string(uint64_t address, std::string_view path)>& rename) {
  static constexpr std::string_view kFile = "file=";
  std::string out;
  ForEachLine(host, [&](std::string_view line) {
    std::string_view rest = line;
    const std::string_view address = TakeField(rest);
    out += address;
    while (!rest.empty()) {
      const std::string_view field = TakeField(rest);
      if (field.starts_with(kFile)) {
        const std::string name =
            rename(ParseNumber<uint64_t>(address, 16).value_or(0), UnescapeOctal(field.substr(kFile.size())));
        if (!name.empty()) out += format(" file={}", EscapeOctal(name, "\n\t= "));
      } else {
        out += format(" {}", field);
      }
    }
    out += '\n';
  });
  return out;
}

}  // namespace usl::fs
