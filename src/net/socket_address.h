// Socket addresses as guests give and receive them: copied once, checked, never trusted to be terminated.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "platform/guest_memory.h"

namespace usl::net {

inline constexpr size_t kMaxAddress = sizeof(sockaddr_storage);  // 128, as move_addr_to_kernel()
inline constexpr size_t kUnixHeader = offsetof(sockaddr_un, sun_path);

// `length` bytes of an address, the rest zero.
struct SocketAddress {
  alignas(8) std::array<char, kMaxAddress + 1> bytes{};
  socklen_t length = 0;

  // AF_UNSPEC when there are too few bytes for a family.
  sa_family_t family() const;
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(bytes.data()); }
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(bytes.data()); }
  std::string_view text() const { return {bytes.data(), length}; }
};

// Copies an address argument in. EINVAL: negative or over 128 bytes; EFAULT. A length of 0 reads nothing.
Result<SocketAddress> ReadAddress(const platform::GuestMemory& memory, platform::GuestAddress from, int length);

// Copies an address out as accept(2) and getsockname(2) do: at most as many bytes as *`length_at` says, where the whole
// length is stored then. EINVAL: that is negative; EFAULT.
Result<void> WriteAddress(const platform::GuestMemory& memory, platform::GuestAddress to,
                          platform::GuestAddress length_at, std::string_view address);

// A name in the AF_UNIX domain (unix(7)), in the bytes of sun_path that getsockname(2) shows: a path with its NUL, or a
// NUL and an abstract name; empty = unnamed.
struct UnixName {
  std::string bytes;

  bool IsUnnamed() const { return bytes.empty(); }
  bool IsAbstract() const { return !bytes.empty() && bytes[0] == '\0'; }
  // The path without its NUL.
  std::string_view path() const { return std::string_view(bytes).substr(0, bytes.size() - 1); }
  // The whole address.
  std::string Address() const;
};

// EINVAL: not AF_UNIX, longer than sockaddr_un, or nothing but a family (bind(2) takes that for autobind: see
// IsAutobind).
Result<UnixName> ParseUnixName(const SocketAddress& address);
bool IsAutobind(const SocketAddress& address);

// An address of AF_INET or AF_INET6, IPv4-mapped ones as IPv4.
struct InetEndpoint {
  bool is_ipv6 = false;
  std::array<uint8_t, 16> address{};  // the first 4 for IPv4
  uint16_t port = 0;                  // host byte order
  bool IsLoopback() const;
  bool IsAny() const;
};

// nullopt: not an inet address, or too short for one (the host then says which error that is).
std::optional<InetEndpoint> ParseInet(const SocketAddress& address);
// Replaces the port of an inet address that ParseInet takes.
void SetPort(SocketAddress& address, uint16_t port);

}  // namespace usl::net
