#include "net/netlink_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstring>

namespace usl::net {
namespace {

std::string Request(uint16_t type, uint16_t flags, uint32_t sequence,
                    std::string_view payload = std::string_view("\0\0\0\0", 4)) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(payload.size()));
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = sequence;
  std::string message(reinterpret_cast<const char*>(&header), sizeof header);
  message += payload;
  message.resize(NLMSG_ALIGN(message.size()));
  return message;
}

std::vector<nlmsghdr> Headers(const std::vector<std::string>& answers) {
  std::vector<nlmsghdr> headers;
  for (const std::string& answer : answers) {
    for (size_t at = 0; at + sizeof(nlmsghdr) <= answer.size();) {
      nlmsghdr header;
      memcpy(&header, answer.data() + at, sizeof header);
      headers.push_back(header);
      at += NLMSG_ALIGN(header.nlmsg_len);
    }
  }
  return headers;
}

int ErrorOf(const std::vector<std::string>& answers) {
  if (answers.size() != 1 || Headers(answers)[0].nlmsg_type != NLMSG_ERROR) return 1;
  int error;
  memcpy(&error, answers[0].data() + sizeof(nlmsghdr), sizeof error);
  return error;
}

constexpr NetlinkRequester kRequester{.port = 4711};

TEST(NetlinkRelayTest, RelaysADump) {
  auto answers = AnswerRouteRequest(Request(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 42), kRequester);
  auto headers = Headers(answers);
  ASSERT_GE(headers.size(), 2u);
  EXPECT_EQ(headers.back().nlmsg_type, NLMSG_DONE);
  EXPECT_EQ(headers.front().nlmsg_type, RTM_NEWLINK);
  for (const nlmsghdr& header : headers) {
    EXPECT_EQ(header.nlmsg_pid, 4711u);
    EXPECT_EQ(header.nlmsg_seq, 42u);
  }
}

TEST(NetlinkRelayTest, DiagnosticsAnswerAsAKernelWithoutThem) {
  constexpr uint16_t kByFamily = 20;  // SOCK_DIAG_BY_FAMILY
  EXPECT_EQ(ErrorOf(AnswerDiagnosticRequest(Request(kByFamily, NLM_F_REQUEST | NLM_F_DUMP, 7), kRequester)), -ENOENT);
  EXPECT_EQ(ErrorOf(AnswerDiagnosticRequest(Request(NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, 7), kRequester)), 0);
  EXPECT_TRUE(AnswerDiagnosticRequest(Request(kByFamily, 0, 7), kRequester).empty());
  EXPECT_TRUE(AnswerDiagnosticRequest("short", kRequester).empty());
}

TEST(NetlinkRelayTest, NothingIsChanged) {
  for (const uint16_t type : {RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_DELROUTE}) {
    EXPECT_EQ(ErrorOf(AnswerRouteRequest(Request(type, NLM_F_REQUEST | NLM_F_ACK, 1), kRequester)), -EPERM) << type;
  }
  EXPECT_EQ(ErrorOf(AnswerRouteRequest(Request(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, 1), kRequester)), -EOPNOTSUPP);
  EXPECT_EQ(ErrorOf(AnswerRouteRequest(Request(0xfffe, NLM_F_REQUEST, 1), kRequester)), -EOPNOTSUPP);
}

TEST(NetlinkRelayTest, WithoutANetworkThereIsNothing) {
  NetlinkRequester requester = kRequester;
  requester.network = false;
  auto headers = Headers(AnswerRouteRequest(Request(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 9), requester));
  ASSERT_EQ(headers.size(), 1u);
  EXPECT_EQ(headers[0].nlmsg_type, NLMSG_DONE);
  EXPECT_EQ(ErrorOf(AnswerRouteRequest(Request(RTM_GETLINK, NLM_F_REQUEST, 9), requester)), -ENODEV);
}

TEST(NetlinkRelayTest, ErrorsQuoteTheRequest) {
  const std::string request = Request(RTM_NEWLINK, NLM_F_REQUEST, 3, "01234567");
  auto answers = AnswerRouteRequest(request, kRequester);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].size(), sizeof(nlmsghdr) + sizeof(int) + request.size());
  NetlinkRequester requester = kRequester;
  requester.short_acks = true;
  answers = AnswerRouteRequest(request, requester);
  EXPECT_EQ(answers[0].size(), sizeof(nlmsghdr) + sizeof(nlmsgerr));
}

TEST(NetlinkRelayTest, HostileRequests) {
  EXPECT_TRUE(AnswerRouteRequest("", kRequester).empty());
  EXPECT_TRUE(AnswerRouteRequest("x", kRequester).empty());
  EXPECT_TRUE(AnswerRouteRequest(std::string(5000, '\xff'), kRequester).empty());
  std::string request = Request(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1);
  for (const uint32_t length : {0u, 3u, 15u, 21u, 0x7fffffffu, 0xfffffffdu}) {
    memcpy(request.data(), &length, sizeof length);
    EXPECT_TRUE(AnswerRouteRequest(request, kRequester).empty()) << length;
  }
  // Not requests.
  EXPECT_TRUE(AnswerRouteRequest(Request(RTM_GETLINK, 0, 1), kRequester).empty());
  EXPECT_TRUE(AnswerRouteRequest(Request(NLMSG_DONE, NLM_F_REQUEST, 1), kRequester).empty());
}

TEST(NetlinkRelayTest, AnswersAreSplitIntoDatagrams) {
  std::string messages;
  for (int i = 0; i < 20; ++i) messages += Request(RTM_NEWLINK, NLM_F_MULTI, 1, std::string(1000, 'x'));
  messages += Request(RTM_NEWLINK, NLM_F_MULTI, 2, std::string(9000, 'y'));
  std::vector<std::string> answers;
  AppendAnswers(messages, 7, answers);
  EXPECT_EQ(Headers(answers).size(), 21u);
  for (size_t i = 0; i + 1 < answers.size(); ++i) EXPECT_LE(answers[i].size(), 3776u);
  EXPECT_GT(answers.back().size(), 9000u);
  answers.clear();
  AppendAnswers(messages.substr(0, 30), 7, answers);
  EXPECT_TRUE(answers.empty());
}

}  // namespace
}  // namespace usl::net
