#include "fs/proc_binfmt.h"

#include <dirent.h>
#include <linux/capability.h>
#include <linux/magic.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <vector>

#include "base/format.h"

namespace usl::fs {
namespace {

constexpr size_t kHead = 256;            // BINPRM_BUF_SIZE
constexpr size_t kMaxRegister = 1920;    // MAX_REGISTER_LENGTH
constexpr size_t kMaxInterpreter = 127;  // what fits into a #! line was Linux's bound too
constexpr size_t kMaxEntries = 256;

// Magic and mask are written with \xHH for bytes that the line cannot hold.
Result<std::string> Unquote(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = static_cast<unsigned char>(text[i]);
    if (text.substr(i).starts_with("\\x")) {
      const std::string_view digits = text.substr(i + 2, 2);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
      if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2) return Fail(EINVAL);
      i += 3;
    }
    plain += static_cast<char>(byte);
  }
  return plain;
}

std::string Hexadecimal(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::string_view WithoutNewline(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

Result<void> ParseFlags(std::string_view flags, BinfmtEntry& entry) {
  for (const char flag : flags) {
    switch (flag) {
      case 'P': entry.preserve_argv0 = true; break;
      case 'O': entry.open_binary = true; break;
      case 'C': entry.credentials = entry.open_binary = true; break;
      case 'F': entry.fix_interpreter = true; break;
      default: return Fail(EINVAL);
    }
  }
  return {};
}

Result<void> ParseMagic(const std::string_view (&fields)[7], BinfmtEntry& entry) {
  if (!fields[2].empty()) {
    const char* end = fields[2].data() + fields[2].size();
    const auto [parsed, error] = std::from_chars(fields[2].data(), end, entry.offset);
    if (error != std::errc() || parsed != end) return Fail(EINVAL);
  }
  entry.magic = USL_TRY(Unquote(fields[3]));
  entry.mask = USL_TRY(Unquote(fields[4]));
  if (entry.magic.empty() || entry.offset > kHead || entry.magic.size() > kHead - entry.offset) return Fail(EINVAL);
  if (!entry.mask.empty() && entry.mask.size() != entry.magic.size()) return Fail(EINVAL);
  return {};
}

// One directory whose entries are the table's.
class BinfmtDirectory final : public StaticDirectory {
 public:
  explicit BinfmtDirectory(BinfmtMisc& binfmt) : StaticDirectory(binfmt, "/", 0755), binfmt_(binfmt) {
    AddFile(
        "register", 0200, [](const vfs::Context&) { return std::string(); },
        [&binfmt](const WriterContext& writer, std::string_view data) { return binfmt.Register(writer, data); });
    AddFile(
        "status", 0644,
        [&binfmt](const vfs::Context&) { return std::string(binfmt.enabled() ? "enabled\n" : "disabled\n"); },
        [&binfmt](const WriterContext& writer, std::string_view data) { return binfmt.Control(writer, "", data); });
  }
  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context& context) override {
    auto fixed = StaticDirectory::Lookup(name, context);
    if (fixed) return fixed;
    std::string entry(name);
    USL_TRY_VOID(binfmt_.Describe(entry));
    const std::string child = ChildPath(name);
    if (auto live = binfmt_.FindLive(child)) return Ref<vfs::Inode>(live);
    return Ref<vfs::Inode>(MakeRef<GeneratedFile>(
        binfmt_, child, 0644, [&table = binfmt_, entry](const vfs::Context&) { return table.Describe(entry); },
        [&table = binfmt_, entry](const WriterContext& writer, std::string_view data) {
          return table.Control(writer, entry, data);
        }));
  }
  bool CacheableNames() const override { return false; }

 protected:
  Result<std::vector<SyntheticEntry>> List() override {
    std::vector<SyntheticEntry> entries{{"register", DT_REG, 0}, {"status", DT_REG, 0}};
    for (const BinfmtEntry& entry : binfmt_.entries()) entries.push_back({entry.name, DT_REG, 0});
    SortByHash(entries);
    return entries;
  }

 private:
  BinfmtMisc& binfmt_;
};

}  // namespace

Result<BinfmtEntry> ParseBinfmt(std::string_view line) {
  line = WithoutNewline(line);
  if (line.size() < 11 || line.size() > kMaxRegister) return Fail(EINVAL);
  const char delimiter = line.front();
  line.remove_prefix(1);
  // name, type, offset, magic, mask, interpreter, flags
  std::string_view fields[7];
  for (int i = 0; i < 6; ++i) {
    const size_t end = line.find(delimiter);
    if (end == std::string_view::npos) return Fail(EINVAL);
    fields[i] = line.substr(0, end);
    line.remove_prefix(end + 1);
  }
  fields[6] = line;
  BinfmtEntry entry;
  entry.name = fields[0];
  if (entry.name.empty() || entry.name == "." || entry.name == ".." || entry.name == "register" ||
      entry.name == "status" || entry.name.find('/') != std::string::npos || entry.name.size() > NAME_MAX) {
    return Fail(EINVAL);
  }
  if (fields[1] == "E") {
    entry.by_extension = true;
    entry.magic = fields[3];
    if (entry.magic.empty() || entry.magic.find('/') != std::string::npos) return Fail(EINVAL);
  } else if (fields[1] == "M") {
    USL_TRY_VOID(ParseMagic(fields, entry));
  } else {
    return Fail(EINVAL);
  }
  entry.interpreter = fields[5];
  if (entry.interpreter.empty() || entry.interpreter.size() > kMaxInterpreter) return Fail(EINVAL);
  if (entry.interpreter.find('\0') != std::string::npos) return Fail(EINVAL);
  USL_TRY_VOID(ParseFlags(fields[6], entry));
  return entry;
}

BinfmtMisc::BinfmtMisc(const SyntheticInstance& instance, Resolver resolver)
    : SyntheticFileSystem("binfmt_misc", BINFMTFS_MAGIC, instance), resolver_(std::move(resolver)) {}

Ref<BinfmtMisc> BinfmtMisc::Create(const SyntheticInstance& instance, Resolver resolver) {
  auto binfmt = MakeRef<BinfmtMisc>(instance, std::move(resolver));
  binfmt->SetRoot(MakeRef<BinfmtDirectory>(*binfmt));
  return binfmt;
}

const BinfmtEntry* BinfmtMisc::Match(std::span<const std::byte> head, std::string_view path) const {
  if (!enabled_) return nullptr;
  const std::string_view bytes(reinterpret_cast<const char*>(head.data()), std::min(head.size(), kHead));
  const size_t dot = path.rfind('.');
  const std::string_view extension = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  for (const BinfmtEntry& entry : entries_) {
    if (!entry.enabled) continue;
    if (entry.by_extension) {
      if (!extension.empty() && extension == entry.magic) return &entry;
      continue;
    }
    bool same = true;
    for (size_t i = 0; same && i < entry.magic.size(); ++i) {
      const char byte = entry.offset + i < bytes.size() ? bytes[entry.offset + i] : '\0';
      const char difference = static_cast<char>(byte ^ entry.magic[i]);
      same = (difference & (entry.mask.empty() ? '\xff' : entry.mask[i])) == 0;
    }
    if (same) return &entry;
  }
  return nullptr;
}

Result<void> BinfmtMisc::Register(const WriterContext& writer, std::string_view line) {
  if (!writer.credentials.Has(CAP_SYS_ADMIN)) return Fail(EPERM);
  BinfmtEntry entry = USL_TRY(ParseBinfmt(line));
  if (std::ranges::count(entries_, entry.name, &BinfmtEntry::name) != 0) return Fail(EEXIST);
  if (entries_.size() >= kMaxEntries) return Fail(ENOSPC);
  if (entry.fix_interpreter) {
    if (!resolver_) return Fail(EINVAL);
    entry.fixed = USL_TRY(resolver_(writer, entry.interpreter));
  }
  entries_.push_front(std::move(entry));
  return {};
}

Result<void> BinfmtMisc::Control(const WriterContext& writer, const std::string& name, std::string_view command) {
  if (!writer.credentials.Has(CAP_SYS_ADMIN)) return Fail(EPERM);
  command = WithoutNewline(command);
  if (command != "0" && command != "1" && command != "-1") return Fail(EINVAL);
  if (name.empty()) {
    if (command == "-1") {
      entries_.clear();
    } else {
      enabled_ = command == "1";
    }
    return {};
  }
  const auto entry = std::ranges::find(entries_, name, &BinfmtEntry::name);
  if (entry == entries_.end()) return Fail(ENOENT);
  if (command == "-1") {
    entries_.erase(entry);
  } else {
    entry->enabled = command == "1";
  }
  return {};
}

Result<std::string> BinfmtMisc::Describe(const std::string& name) const {
  const auto entry = std::ranges::find(entries_, name, &BinfmtEntry::name);
  if (entry == entries_.end()) return Fail(ENOENT);
  std::string flags;
  if (entry->preserve_argv0) flags += 'P';
  if (entry->open_binary) flags += 'O';
  if (entry->credentials) flags += 'C';
  if (entry->fix_interpreter) flags += 'F';
  std::string text =
      format("{}\ninterpreter {}\nflags: {}\n", entry->enabled ? "enabled" : "disabled", entry->interpreter, flags);
  if (entry->by_extension) return text + format("extension .{}\n", entry->magic);
  text += format("offset {}\nmagic {}\n", entry->offset, Hexadecimal(entry->magic));
  if (!entry->mask.empty()) text += format("mask {}\n", Hexadecimal(entry->mask));
  return text;
}

}  // namespace usl::fs
