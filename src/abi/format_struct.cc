#include "abi/format_struct.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "abi/constant_names.h"
#include "abi/constants.h"
#include "base/format.h"

namespace usl::abi {
namespace {

constexpr size_t kShownBytes = 32, kShownItems = 16;

template <typename T>
std::optional<T> ReadOne(uint64_t address, const MemoryReader& memory) {
  T value;
  if (!memory.Read(address, &value, sizeof value)) return std::nullopt;
  return value;
}

std::string ModeAndType(uint32_t mode) {
  std::string type = FormatConstant(ArgType::kModeType, mode & S_IFMT).value_or("0");
  return format("{}|{}", type, FormatMode(mode & ~S_IFMT));
}

std::string Time(int64_t seconds, int64_t fraction, const char* unit) {
  return format("{{tv_sec={}, tv_{}sec={}}}", seconds, unit, fraction);
}
std::string Time(const timespec& time) {
  if (time.tv_nsec == UTIME_NOW) return "UTIME_NOW";
  if (time.tv_nsec == UTIME_OMIT) return "UTIME_OMIT";
  return Time(time.tv_sec, time.tv_nsec, "n");
}

std::string Limit(uint64_t value) {
  return value == RLIM_INFINITY ? "RLIM64_INFINITY" : format("{}", value);
}

// Signals of a kernel sigset (bit 0 is signal 1), e.g. [INT CHLD]; or ~[...] where most are in.
std::string SignalSet(uint64_t set) {
  constexpr int kSignals = 64;
  const bool inverted = __builtin_popcountll(set) > kSignals / 2;
  if (inverted) set = ~set;
  std::string text = inverted ? "~[" : "[";
  bool first = true;
  for (int signal = 1; signal <= kSignals; ++signal) {
    if (!(set >> (signal - 1) & 1)) continue;
    std::string name = FormatSignal(signal);
    if (!first) text += ' ';
    text += name.starts_with("SIG") ? name.substr(3) : name;
    first = false;
  }
  return text + "]";
}

// struct sigaction as the kernel has it on x86-64.
struct KernelSigaction {
  uint64_t handler, flags, restorer, mask;
};

std::string FormatSigaction(const KernelSigaction& action) {
  constexpr ConstantName kFlags[] = {{SA_NOCLDSTOP, "SA_NOCLDSTOP"}, {SA_NOCLDWAIT, "SA_NOCLDWAIT"},
                                     {SA_SIGINFO, "SA_SIGINFO"},     {SA_ONSTACK, "SA_ONSTACK"},
                                     {SA_RESTART, "SA_RESTART"},     {SA_NODEFER, "SA_NODEFER"},
                                     {SA_RESETHAND, "SA_RESETHAND"}, {0x04000000, "SA_RESTORER"}};
  std::string handler = action.handler == 0   ? "SIG_DFL"
                        : action.handler == 1 ? "SIG_IGN"
                                              : format("{:#x}", action.handler);
  return format("{{sa_handler={}, sa_mask={}, sa_flags={}}}", handler, SignalSet(action.mask),
                FormatFlags(action.flags & 0xffffffff, kFlags));
}

std::string FormatOpenHow(const open_how& how) {
  constexpr ConstantName kResolve[] = {
      {RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},         {RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
      {RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"}, {RESOLVE_BENEATH, "RESOLVE_BENEATH"},
      {RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},         {RESOLVE_CACHED, "RESOLVE_CACHED"}};
  return format("{{flags={}, mode={}, resolve={}}}", FormatConstant(ArgType::kOpenFlags, how.flags).value_or("0"),
                FormatMode(static_cast<uint32_t>(how.mode)), FormatFlags(how.resolve, kResolve));
}

std::string FormatMsghdr(const msghdr& message, const MemoryReader& memory) {
  const auto name = reinterpret_cast<uint64_t>(message.msg_name);
  const auto vectors = reinterpret_cast<uint64_t>(message.msg_iov);
  std::string name_text = name == 0 ? "NULL" : FormatSockaddr(name, message.msg_namelen, memory).value_or("?");
  std::string data = FormatIovec(vectors, message.msg_iovlen, std::nullopt, memory).value_or(format("{:#x}", vectors));
  return format("{{msg_name={}, msg_iov={}, msg_iovlen={}, msg_controllen={}, msg_flags={}}}", name_text, data,
                message.msg_iovlen, message.msg_controllen,
                FormatConstant(ArgType::kMsgFlags, static_cast<uint32_t>(message.msg_flags)).value_or("0"));
}

constexpr ConstantName kPollEvents[] = {{POLLIN, "POLLIN"},      {POLLPRI, "POLLPRI"}, {POLLOUT, "POLLOUT"},
                                        {POLLERR, "POLLERR"},    {POLLHUP, "POLLHUP"}, {POLLNVAL, "POLLNVAL"},
                                        {POLLRDHUP, "POLLRDHUP"}};
constexpr ConstantName kEpollEvents[] = {
    {EPOLLIN, "EPOLLIN"},        {EPOLLPRI, "EPOLLPRI"},         {EPOLLOUT, "EPOLLOUT"},
    {EPOLLERR, "EPOLLERR"},      {EPOLLHUP, "EPOLLHUP"},         {EPOLLRDHUP, "EPOLLRDHUP"},
    {EPOLLET, "EPOLLET"},        {EPOLLONESHOT, "EPOLLONESHOT"}, {EPOLLEXCLUSIVE, "EPOLLEXCLUSIVE"},
    {EPOLLWAKEUP, "EPOLLWAKEUP"}};

std::string FormatStatx(const struct statx& stat) {
  return format("{{stx_mask={}, stx_uid={}, stx_gid={}, stx_mode={}, stx_ino={}, stx_size={}}}",
                FormatConstant(ArgType::kStatxMask, stat.stx_mask).value_or("0"), stat.stx_uid, stat.stx_gid,
                ModeAndType(stat.stx_mode), stat.stx_ino, stat.stx_size);
}

}  // namespace

std::string Quote(std::string_view bytes) {
  std::string text = "\"";
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    const bool digit_follows = i + 1 < bytes.size() && bytes[i + 1] >= '0' && bytes[i + 1] <= '9';
    switch (c) {
      case '"': text += "\\\""; break;
      case '\\': text += "\\\\"; break;
      case '\n': text += "\\n"; break;
      case '\r': text += "\\r"; break;
      case '\t': text += "\\t"; break;
      default:
        if (c >= 0x20 && c < 0x7f) {
          text += static_cast<char>(c);
        } else {
          text += digit_follows ? format("\\{:03o}", c) : format("\\{:o}", c);
        }
    }
  }
  return text + '"';
}

std::string FormatMode(uint32_t mode) {
  return format("{:04o}", mode);
}

std::optional<std::string> FormatBuffer(uint64_t address, uint64_t size, const MemoryReader& memory) {
  char bytes[kShownBytes];
  const size_t shown = std::min<uint64_t>(size, kShownBytes);
  if (shown != 0 && !memory.Read(address, bytes, shown)) return std::nullopt;
  return Quote({bytes, shown}) + (size > shown ? "..." : "");
}

std::optional<std::string> FormatString(uint64_t address, size_t max, const MemoryReader& memory) {
  Result<std::string> text = memory.ReadString(address, max);
  if (!text) return std::nullopt;
  return Quote(*text) + (text->size() == max ? "..." : "");
}

std::optional<std::string> FormatSockaddr(uint64_t address, uint64_t length, const MemoryReader& memory) {
  sockaddr_storage storage{};
  length = std::min<uint64_t>(length, sizeof storage);
  if (length < sizeof(sa_family_t) || !memory.Read(address, &storage, length)) return std::nullopt;
  const std::string family = FormatValue(storage.ss_family, {});
  const std::string name = FormatConstant(ArgType::kSocketDomain, storage.ss_family).value_or(family);
  char ip[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_UNIX) {
    const auto* un = reinterpret_cast<const sockaddr_un*>(&storage);
    const size_t size = std::min<uint64_t>(length - offsetof(sockaddr_un, sun_path), sizeof un->sun_path);
    if (size == 0) return format("{{sa_family={}}}", name);
    if (un->sun_path[0] == 0)
      return format("{{sa_family={}, sun_path=@{}}}", name, Quote({un->sun_path + 1, size - 1}));
    return format("{{sa_family={}, sun_path={}}}", name, Quote({un->sun_path, strnlen(un->sun_path, size)}));
  }
  if (storage.ss_family == AF_INET && length >= sizeof(sockaddr_in)) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
    return format("{{sa_family={}, sin_port=htons({}), sin_addr={}}}", name, ntohs(in->sin_port), ip);
  }
  if (storage.ss_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(&storage);
    inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof ip);
    return format("{{sa_family={}, sin6_port=htons({}), sin6_addr={}, sin6_scope_id={}}}", name, ntohs(in->sin6_port),
                  ip, in->sin6_scope_id);
  }
  if (storage.ss_family == AF_NETLINK && length >= sizeof(sockaddr_nl)) {
    const auto* nl = reinterpret_cast<const sockaddr_nl*>(&storage);
    return format("{{sa_family={}, nl_pid={}, nl_groups={:#x}}}", name, nl->nl_pid, nl->nl_groups);
  }
  return format("{{sa_family={}, ...}}", name);
}

std::optional<std::string> FormatIovec(uint64_t address, uint64_t count, std::optional<uint64_t> data_limit,
                                       const MemoryReader& memory) {
  std::string text = "[";
  for (uint64_t i = 0; i < count; ++i) {
    if (i != 0) text += ", ";
    if (i == kShownItems) {
      text += "...";
      break;
    }
    auto vector = ReadOne<iovec>(address + i * sizeof(iovec), memory);
    if (!vector) return std::nullopt;
    const auto base = reinterpret_cast<uint64_t>(vector->iov_base);
    std::optional<std::string> data;
    if (data_limit) {
      const uint64_t size = std::min<uint64_t>(vector->iov_len, *data_limit);
      *data_limit -= size;
      data = FormatBuffer(base, size, memory);
    }
    text += format("{{iov_base={}, iov_len={}}}", data.value_or(format("{:#x}", base)), vector->iov_len);
  }
  return text + "]";
}

std::optional<std::string> FormatArgv(uint64_t address, const MemoryReader& memory) {
  std::string text = "[";
  for (uint64_t i = 0;; ++i) {
    auto pointer = ReadOne<uint64_t>(address + i * sizeof(uint64_t), memory);
    if (!pointer) return std::nullopt;
    if (*pointer == 0) return text + "]";
    if (i != 0) text += ", ";
    if (i == kShownItems) return text + "...]";
    text += FormatString(*pointer, 256, memory).value_or(format("{:#x}", *pointer));
  }
}

std::optional<std::string> FormatEnvp(uint64_t address, const MemoryReader& memory) {
  constexpr uint64_t kLimit = 4096;
  for (uint64_t i = 0; i < kLimit; ++i) {
    auto pointer = ReadOne<uint64_t>(address + i * sizeof(uint64_t), memory);
    if (!pointer) return std::nullopt;
    if (*pointer == 0) return format("{:#x} /* {} vars */", address, i);
  }
  return std::nullopt;
}

std::optional<std::string> FormatPollFds(uint64_t address, uint64_t count, const MemoryReader& memory) {
  std::string text = "[";
  for (uint64_t i = 0; i < count; ++i) {
    if (i != 0) text += ", ";
    if (i == kShownItems) {
      text += "...";
      break;
    }
    auto fd = ReadOne<pollfd>(address + i * sizeof(pollfd), memory);
    if (!fd) return std::nullopt;
    text += format("{{fd={}, events={}}}", fd->fd, FormatFlags(static_cast<uint16_t>(fd->events), kPollEvents));
  }
  return text + "]";
}

std::optional<std::string> FormatStruct(ArgType type, uint64_t address, const MemoryReader& memory) {
  // Reads a T and formats it with `body`.
  auto with = [&]<typename T>(T*, auto body) -> std::optional<std::string> {
    auto value = ReadOne<T>(address, memory);
    if (!value) return std::nullopt;
    return body(*value);
  };
  switch (type) {
    case ArgType::kStatOut:
      return with(static_cast<struct stat*>(nullptr), [](const struct stat& stat) {
        return format("{{st_mode={}, st_uid={}, st_gid={}, st_size={}, ...}}", ModeAndType(stat.st_mode), stat.st_uid,
                      stat.st_gid, stat.st_size);
      });
    case ArgType::kStatxOut: return with(static_cast<struct statx*>(nullptr), FormatStatx);
    case ArgType::kTimespec:
    case ArgType::kTimespecOut:
      return with(static_cast<timespec*>(nullptr), [](const timespec& time) { return Time(time); });
    case ArgType::kTimeval:
    case ArgType::kTimevalOut:
      return with(static_cast<timeval*>(nullptr),
                  [](const timeval& time) { return Time(time.tv_sec, time.tv_usec, "u"); });
    case ArgType::kTimespecPair: {
      struct Pair {
        timespec first, second;
      };
      return with(static_cast<Pair*>(nullptr),
                  [](const Pair& pair) { return format("[{}, {}]", Time(pair.first), Time(pair.second)); });
    }
    case ArgType::kItimerspec:
      return with(static_cast<itimerspec*>(nullptr), [](const itimerspec& timer) {
        return format("{{it_interval={}, it_value={}}}", Time(timer.it_interval), Time(timer.it_value));
      });
    case ArgType::kRlimit:
    case ArgType::kRlimitOut:
      return with(static_cast<rlimit*>(nullptr), [](const rlimit& limit) {
        return format("{{rlim_cur={}, rlim_max={}}}", Limit(limit.rlim_cur), Limit(limit.rlim_max));
      });
    case ArgType::kSigSet:
    case ArgType::kSigSetOut: return with(static_cast<uint64_t*>(nullptr), SignalSet);
    case ArgType::kSigaction:
    case ArgType::kSigactionOut: return with(static_cast<KernelSigaction*>(nullptr), FormatSigaction);
    case ArgType::kFdPairOut: {
      struct Pair {
        int first, second;
      };
      return with(static_cast<Pair*>(nullptr),
                  [](const Pair& pair) { return format("[{}, {}]", pair.first, pair.second); });
    }
    case ArgType::kIntOut: return with(static_cast<int*>(nullptr), [](int value) { return format("[{}]", value); });
    case ArgType::kOpenHow: return with(static_cast<open_how*>(nullptr), FormatOpenHow);
    case ArgType::kMsghdr:
      return with(static_cast<msghdr*>(nullptr), [&](const msghdr& message) { return FormatMsghdr(message, memory); });
    case ArgType::kEpollEvent:
      return with(static_cast<epoll_event*>(nullptr), [](const epoll_event& event) {
        return format("{{events={}, data={:#x}}}", FormatFlags(event.events, kEpollEvents), uint64_t{event.data.u64});
      });
    default: return std::nullopt;
  }
}

}  // namespace usl::abi
