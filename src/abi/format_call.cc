#include "abi/format_call.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "abi/format_struct.h"
#include "base/format.h"

namespace usl::abi {
namespace {

constexpr size_t kPathLimit = 4096, kStringLimit = 256;

std::string Pointer(uint64_t value) {
  return value == 0 ? "NULL" : format("{:#x}", value);
}

// Formats the arguments of one call; some need their neighbours.
class CallFormatter {
 public:
  CallFormatter(const SyscallRow& row, const uint64_t (&arguments)[6], const MemoryReader& memory,
                std::optional<int64_t> result)
      : row_(row), arguments_(arguments), memory_(memory), result_(result) {}

  std::string Format() const {
    std::string text = format("{}(", row_.name);
    const int count = UsedArguments();
    for (int i = 0; i < count; ++i) {
      if (i != 0) text += ", ";
      text += Argument(i);
    }
    return text + ")";
  }

 private:
  // Leaves out what the call does not look at: the mode of an open that creates nothing, the argument of F_GETFL.
  int UsedArguments() const {
    const int count = row_.ArgumentCount();
    if (count < 2) return count;
    const uint64_t before = arguments_[count - 2];
    const bool unused =
        (row_.arguments[count - 1] == ArgType::kMode && row_.arguments[count - 2] == ArgType::kOpenFlags &&
         !(before & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))) ||
        (row_.arguments[count - 1] == ArgType::kFcntlArgument && !FcntlTakesArgument(static_cast<uint32_t>(before)));
    return unused ? count - 1 : count;
  }

  static bool FcntlTakesArgument(uint32_t command) {
    switch (command) {
      case F_GETFD:
      case F_GETFL:
      case F_GETOWN:
      case F_GETSIG:
      case F_GETLEASE:
      case F_GETPIPE_SZ:
      case F_GET_SEALS: return false;
      default: return true;
    }
  }

  // Value of the argument behind `index`, where the table puts lengths and counts.
  uint64_t Next(int index) const { return index + 1 < 6 ? arguments_[index + 1] : 0; }
  bool Succeeded() const { return result_ && *result_ >= 0; }

  std::string Argument(int index) const {
    const ArgType type = row_.arguments[index];
    const uint64_t value = arguments_[index];
    if (auto name = FormatConstant(type, value); name && type != ArgType::kModeType) return *name;
    if (auto number = Number(type, value, index)) return *number;
    if (value == 0) return "NULL";
    return Memory(type, value, index).value_or(Pointer(value));
  }

  std::optional<std::string> Number(ArgType type, uint64_t value, int index) const {
    switch (type) {
      case ArgType::kInt:
      case ArgType::kPid:
      case ArgType::kUid:
      case ArgType::kGid:
      case ArgType::kFd: return format("{}", static_cast<int32_t>(value));
      case ArgType::kAtFd:
        return static_cast<int32_t>(value) == AT_FDCWD ? "AT_FDCWD" : format("{}", static_cast<int32_t>(value));
      case ArgType::kUint: return format("{}", static_cast<uint32_t>(value));
      case ArgType::kLong:
      case ArgType::kOffset: return format("{}", static_cast<int64_t>(value));
      case ArgType::kSize: return format("{}", value);
      case ArgType::kHex:
      case ArgType::kIpcKey:
      case ArgType::kDevice:
      case ArgType::kHexOffset: return value == 0 ? "0" : format("{:#x}", value);
      case ArgType::kMode: return FormatMode(static_cast<uint32_t>(value));
      case ArgType::kModeType: {
        const auto mode = static_cast<uint32_t>(value);
        const std::string permissions = FormatMode(mode & ~S_IFMT);
        if ((mode & S_IFMT) == 0) return permissions;
        return format("{}|{}", FormatConstant(type, mode & S_IFMT).value_or("0"), permissions);
      }
      case ArgType::kFcntlArgument: return FcntlArgument(value, arguments_[index - 1]);
      case ArgType::kSocketOption:
        return FormatSocketOption(static_cast<uint32_t>(arguments_[index - 1]), static_cast<uint32_t>(value));
      default: return std::nullopt;
    }
  }

  static std::string FcntlArgument(uint64_t value, uint64_t command) {
    switch (static_cast<uint32_t>(command)) {
      case F_SETFD: return (value & FD_CLOEXEC) ? "FD_CLOEXEC" : "0";
      case F_SETFL: return FormatConstant(ArgType::kOpenFlags, value).value_or("0");
      case F_SETSIG: return FormatSignal(static_cast<int>(value));
      case F_DUPFD:
      case F_DUPFD_CLOEXEC:
      case F_SETOWN:
      case F_SETPIPE_SZ: return format("{}", static_cast<int32_t>(value));
      default: return Pointer(value);
    }
  }

  std::optional<std::string> Memory(ArgType type, uint64_t address, int index) const {
    switch (type) {
      case ArgType::kPath: return FormatString(address, kPathLimit, memory_);
      case ArgType::kString: return FormatString(address, kStringLimit, memory_);
      case ArgType::kBufferIn: return FormatBuffer(address, Next(index), memory_);
      case ArgType::kBufferOut:
        if (!Succeeded()) return std::nullopt;
        return FormatBuffer(address, std::min<uint64_t>(*result_, Next(index)), memory_);
      case ArgType::kSockaddrIn: return FormatSockaddr(address, static_cast<uint32_t>(Next(index)), memory_);
      case ArgType::kSockaddrOut: {
        uint32_t length = 0;
        if (!Succeeded() || !memory_.Read(Next(index), &length, sizeof length)) return std::nullopt;
        return FormatSockaddr(address, length, memory_);
      }
      case ArgType::kIovecIn: return FormatIovec(address, Next(index), UINT64_MAX, memory_);
      case ArgType::kIovecOut:
        return FormatIovec(address, Next(index), Succeeded() ? std::optional<uint64_t>(*result_) : std::nullopt,
                           memory_);
      case ArgType::kArgv: return FormatArgv(address, memory_);
      case ArgType::kEnvp: return FormatEnvp(address, memory_);
      case ArgType::kPollFds: return FormatPollFds(address, static_cast<uint32_t>(Next(index)), memory_);
      case ArgType::kStatOut:
      case ArgType::kStatxOut:
      case ArgType::kFdPairOut:
      case ArgType::kIntOut:
      case ArgType::kTimespecOut:
      case ArgType::kTimevalOut:
      case ArgType::kRlimitOut:
      case ArgType::kSigSetOut:
      case ArgType::kSigactionOut:
        if (!Succeeded()) return std::nullopt;
        [[fallthrough]];
      default: return FormatStruct(type, address, memory_);
    }
  }

  const SyscallRow& row_;
  const uint64_t (&arguments_)[6];
  const MemoryReader& memory_;
  std::optional<int64_t> result_;
};

bool ReturnsAddress(std::string_view name) {
  return name == "mmap" || name == "brk" || name == "mremap" || name == "shmat";
}

}  // namespace

std::string FormatCall(const SyscallRow& row, const uint64_t (&arguments)[6], const MemoryReader& memory,
                       std::optional<int64_t> result) {
  return CallFormatter(row, arguments, memory, result).Format();
}

std::string FormatCall(const SyscallRow& row, const seccomp_data& call, const MemoryReader& memory,
                       std::optional<int64_t> result) {
  uint64_t arguments[6];
  std::copy(std::begin(call.args), std::end(call.args), arguments);
  return FormatCall(row, arguments, memory, result);
}

std::string FormatResult(const SyscallRow& row, int64_t result) {
  constexpr int64_t kMaxErrno = 4095;
  if (result < 0 && result >= -kMaxErrno) {
    const int error = static_cast<int>(-result);
    const std::string text = ErrnoText(error);
    return text.empty() ? format("-1 {}", ErrnoName(error)) : format("-1 {} ({})", ErrnoName(error), text);
  }
  if (ReturnsAddress(row.name)) return format("{:#x}", static_cast<uint64_t>(result));
  return format("{}", result);
}

}  // namespace usl::abi
