#include "net/netlink_relay.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "base/unique_fd.h"

#ifndef RTM_GETNEXTHOP
#define RTM_GETNEXTHOP 106
#endif

namespace usl::net {
namespace {

// NLMSG_GOODSIZE of Linux: programs with a buffer of a page get every message of a dump.
constexpr size_t kDatagram = 3776;
constexpr size_t kHostBuffer = 64 * 1024;
constexpr size_t kMaxAnswer = 16 << 20;

// The message at the front of `rest`, which is made shorter by it. nullopt: nothing whole is left.
std::optional<std::string_view> TakeMessage(std::string_view& rest) {
  nlmsghdr header;
  if (rest.size() < sizeof header) return std::nullopt;
  memcpy(&header, rest.data(), sizeof header);
  if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) return std::nullopt;
  const std::string_view message = rest.substr(0, header.nlmsg_len);
  rest.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
  return message;
}

nlmsghdr HeaderOf(std::string_view message) {
  nlmsghdr header;
  memcpy(&header, message.data(), sizeof header);
  return header;
}

bool IsRelayed(uint16_t type) {
  switch (type) {
    case RTM_GETLINK:
    case RTM_GETADDR:
    case RTM_GETROUTE:
    case RTM_GETNEIGH:
    case RTM_GETRULE:
    case RTM_GETMULTICAST:
    case RTM_GETANYCAST:
    case RTM_GETADDRLABEL:
    case RTM_GETNETCONF:
    case RTM_GETNEXTHOP: return true;
    default: return false;
  }
}

std::string ErrorMessage(std::string_view request, int error, const NetlinkRequester& requester) {
  const nlmsghdr cause = HeaderOf(request);
  const bool whole = error != 0 && !requester.short_acks;
  const size_t copied = whole ? request.size() : sizeof(nlmsghdr);
  nlmsghdr header{};
  header.nlmsg_len = static_cast<uint32_t>(sizeof header + sizeof(int) + copied);
  header.nlmsg_type = NLMSG_ERROR;
  header.nlmsg_flags = requester.short_acks ? NLM_F_CAPPED : 0;
  header.nlmsg_seq = cause.nlmsg_seq;
  header.nlmsg_pid = requester.port;
  const int code = -error;
  std::string message(NLMSG_ALIGN(header.nlmsg_len), '\0');
  memcpy(message.data(), &header, sizeof header);
  memcpy(message.data() + sizeof header, &code, sizeof code);
  memcpy(message.data() + sizeof header + sizeof code, request.data(), copied);
  return message;
}

std::string EmptyDump(const nlmsghdr& cause, const NetlinkRequester& requester) {
  nlmsghdr header{};
  const int result = 0;
  header.nlmsg_len = sizeof header + sizeof result;
  header.nlmsg_type = NLMSG_DONE;
  header.nlmsg_flags = NLM_F_MULTI;
  header.nlmsg_seq = cause.nlmsg_seq;
  header.nlmsg_pid = requester.port;
  std::string message(header.nlmsg_len, '\0');
  memcpy(message.data(), &header, sizeof header);
  return message;
}

// Whether the answer to a dump is complete.
bool HasEnd(std::string_view messages) {
  while (auto message = TakeMessage(messages)) {
    const uint16_t type = HeaderOf(*message).nlmsg_type;
    if (type == NLMSG_DONE || type == NLMSG_ERROR) return true;
  }
  return false;
}

// Asks the host. Returns an errno, or 0 with its answers added.
int AskHost(std::string_view request, const NetlinkRequester& requester, std::vector<std::string>& answers) {
  UniqueFd host(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!host) return errno;
  const int on = 1;
  if (requester.strict_check) setsockopt(host.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  if (requester.short_acks) setsockopt(host.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (sendto(host.get(), request.data(), request.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0) {
    return errno;
  }
  // The host answers while it is sent to, and goes on with a dump while it is read: so the first EAGAIN is the end.
  auto buffer = std::make_unique<char[]>(kHostBuffer);
  size_t total = 0;
  while (total < kMaxAnswer) {
    const ssize_t got = recv(host.get(), buffer.get(), kHostBuffer, 0);
    if (got <= 0) break;
    const std::string_view messages(buffer.get(), static_cast<size_t>(got));
    AppendAnswers(messages, requester.port, answers);
    total += messages.size();
    if (HasEnd(messages)) break;
  }
  return 0;
}

void AnswerMessage(std::string_view message, const NetlinkRequester& requester, std::vector<std::string>& answers) {
  const nlmsghdr header = HeaderOf(message);
  // As in netlink_rcv_skb(): only requests are looked at, and control messages are not.
  if (!(header.nlmsg_flags & NLM_F_REQUEST) || header.nlmsg_type < NLMSG_MIN_TYPE) {
    if ((header.nlmsg_flags & NLM_F_REQUEST) && (header.nlmsg_flags & NLM_F_ACK)) {
      answers.push_back(ErrorMessage(message, 0, requester));
    }
    return;
  }
  const bool is_get = header.nlmsg_type >= RTM_BASE && (header.nlmsg_type & 3) == 2;
  int error = 0;
  if (!is_get) {
    error = EPERM;
  } else if (!IsRelayed(header.nlmsg_type)) {
    error = EOPNOTSUPP;
  } else if (!requester.network) {
    if ((header.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP) {
      answers.push_back(EmptyDump(header, requester));
      return;
    }
    error = ENODEV;
  } else {
    error = AskHost(message, requester, answers);
  }
  if (error != 0) answers.push_back(ErrorMessage(message, error, requester));
}

}  // namespace

void AppendAnswers(std::string_view messages, uint32_t port, std::vector<std::string>& answers) {
  std::string datagram;
  while (auto message = TakeMessage(messages)) {
    std::string copy(*message);
    memcpy(copy.data() + offsetof(nlmsghdr, nlmsg_pid), &port, sizeof port);
    copy.resize(NLMSG_ALIGN(copy.size()));
    if (!datagram.empty() && datagram.size() + copy.size() > kDatagram) {
      answers.push_back(std::exchange(datagram, {}));
    }
    datagram += copy;
  }
  if (!datagram.empty()) answers.push_back(std::move(datagram));
}

std::vector<std::string> AnswerDiagnosticRequest(std::string_view request, const NetlinkRequester& requester) {
  std::vector<std::string> answers;
  while (auto message = TakeMessage(request)) {
    const nlmsghdr header = HeaderOf(*message);
    if (!(header.nlmsg_flags & NLM_F_REQUEST)) continue;
    const int error = header.nlmsg_type < NLMSG_MIN_TYPE ? 0 : ENOENT;
    if (error != 0 || (header.nlmsg_flags & NLM_F_ACK)) answers.push_back(ErrorMessage(*message, error, requester));
  }
  return answers;
}

std::vector<std::string> AnswerRouteRequest(std::string_view request, const NetlinkRequester& requester) {
  std::vector<std::string> answers;
  while (auto message = TakeMessage(request)) AnswerMessage(*message, requester, answers);
  return answers;
}

}  // namespace usl::net
