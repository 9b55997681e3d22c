#include "fs/tmpfs_options.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

namespace usl::fs {
namespace {

std::optional<uint64_t> ParseNumber(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

uint64_t HostMemory() {
  struct sysinfo info {};
  return sysinfo(&info) < 0 ? 0 : uint64_t{info.totalram} * info.mem_unit;
}

// A number with k, m, g, t or, of memory, %.
std::optional<uint64_t> ParseSize(std::string_view text) {
  if (text.ends_with('%')) {
    const auto percent = ParseNumber(text.substr(0, text.size() - 1), 10);
    if (!percent || *percent > 100) return std::nullopt;
    return HostMemory() / 100 * *percent;
  }
  int shift = 0;
  if (!text.empty()) {
    constexpr std::string_view kUnits = "kmgt";
    const size_t unit = kUnits.find(static_cast<char>(text.back() | 0x20));
    if (unit != kUnits.npos) {
      shift = 10 * (static_cast<int>(unit) + 1);
      text.remove_suffix(1);
    }
  }
  const auto number = ParseNumber(text, 10);
  if (!number || *number > (std::numeric_limits<uint64_t>::max() >> shift)) return std::nullopt;
  return *number << shift;
}

Result<void> Apply(TmpFsOptions& options, std::string_view name, std::string_view value) {
  constexpr std::string_view kIgnored[] = {"huge", "mpol", "inode32", "inode64", "noswap"};
  constexpr uint64_t kBlock = 4096, kNoId = 0xffffffff;
  if (name == "size" || name == "nr_blocks" || name == "nr_inodes") {
    auto number = ParseSize(value);
    if (!number) return Fail(EINVAL);
    if (name == "nr_blocks" && *number > std::numeric_limits<uint64_t>::max() / kBlock) return Fail(EINVAL);
    auto& limit = name == "nr_inodes" ? options.inodes : options.size;
    limit = *number == 0 ? std::nullopt : std::optional(name == "nr_blocks" ? *number * kBlock : *number);
  } else if (name == "mode") {
    const auto mode = ParseNumber(value, 8);
    if (!mode || *mode > 07777) return Fail(EINVAL);
    options.mode = static_cast<mode_t>(*mode);
  } else if (name == "uid" || name == "gid") {
    const auto id = ParseNumber(value, 10);
    if (!id || *id >= kNoId) return Fail(EINVAL);
    (name == "uid" ? options.uid : options.gid) = static_cast<uint32_t>(*id);
  } else if (std::ranges::find(kIgnored, name) == std::end(kIgnored)) {
    return Fail(ENOENT);
  }
  return {};
}

}  // namespace

Result<TmpFsOptions> ParseTmpFsOptions(std::string_view text, TmpFsOptions options) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view option = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (option.empty()) continue;
    const size_t equals = std::min(option.find('='), option.size());
    if (!Apply(options, option.substr(0, equals), option.substr(std::min(equals + 1, option.size())))) {
      return Fail(EINVAL);
    }
  }
  return options;
}

Result<void> CheckTmpFsOption(std::string_view option) {
  TmpFsOptions ignored;
  const size_t equals = std::min(option.find('='), option.size());
  return Apply(ignored, option.substr(0, equals), option.substr(std::min(equals + 1, option.size())));
}

}  // namespace usl::fs
