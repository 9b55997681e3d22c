// Answers requests of NETLINK_ROUTE (rtnetlink(7)): what asks for facts is relayed to the host, with a socket of the
// kernel's own, and its answers go back unchanged but for the port number; what would change something is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace usl::net {

struct NetlinkRequester {
  uint32_t port = 0;          // nl_pid of the guest's socket
  bool strict_check = false;  // NETLINK_GET_STRICT_CHK
  bool short_acks = false;    // NETLINK_CAP_ACK: errors carry the header of the request only
  bool network = true;        // false: there are no interfaces
};

// `request` is one datagram of a guest, of any content: messages that are cut short end it, as in the host. Returns the
// datagrams to answer with, none larger than what the smallest usual buffer holds unless a single message is.
std::vector<std::string> AnswerRouteRequest(std::string_view request, const NetlinkRequester& requester);
// The same for NETLINK_SOCK_DIAG (sock_diag(7)): what a kernel without it says (ENOENT); ss(8) then reads /proc/net.
std::vector<std::string> AnswerDiagnosticRequest(std::string_view request, const NetlinkRequester& requester);

// Splits `messages` (whole netlink messages) into datagrams and sets their port. Anything malformed is dropped.
void AppendAnswers(std::string_view messages, uint32_t port, std::vector<std::string>& answers);

}  // namespace usl::net
