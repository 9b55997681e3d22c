#include "net/control_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

namespace usl::net {
namespace {

std::string Header(size_t length, int level, int type) {
  cmsghdr header{};
  header.cmsg_len = length;
  header.cmsg_level = level;
  header.cmsg_type = type;
  return std::string(reinterpret_cast<const char*>(&header), sizeof header);
}

std::string Ints(const std::vector<int>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int));
}

TEST(ControlDataTest, WhatIsBuiltIsParsed) {
  const std::string control = BuildControl({{SOL_SOCKET, SCM_RIGHTS, Ints({1, 2, 3})}, {7, 8, "x"}});
  EXPECT_EQ(control.size(), CMSG_SPACE(12) + CMSG_SPACE(1));
  auto items = ParseControl(control);
  ASSERT_TRUE(items);
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ((*items)[1].data, "x");
  EXPECT_THAT(ParseUnixControl(*items)->rights, testing::ElementsAre(1, 2, 3));
}

TEST(ControlDataTest, HostileLengths) {
  for (const size_t length : {size_t{0}, size_t{15}, size_t{17}, size_t{1} << 40, ~size_t{0}, ~size_t{0} - 6}) {
    EXPECT_EQ(ParseControl(Header(length, SOL_SOCKET, SCM_RIGHTS)).error(), Error(EINVAL)) << length;
  }
  // The second element begins behind the end.
  EXPECT_EQ(ParseControl(BuildControl({{1, 1, "abc"}}) + Header(99, 1, 1)).error(), Error(EINVAL));
  // Too few bytes for another header end it.
  EXPECT_EQ(ParseControl(BuildControl({{1, 1, "abc"}}) + "1234567")->size(), 1u);
  EXPECT_TRUE(ParseControl("")->empty());
}

TEST(ControlDataTest, UnixKinds) {
  EXPECT_EQ(ParseUnixControl({{SOL_SOCKET, 0x77, ""}}).error(), Error(EINVAL));
  EXPECT_TRUE(ParseUnixControl({{IPPROTO_IP, 0x77, ""}}));
  EXPECT_EQ(ParseUnixControl({{SOL_SOCKET, SCM_CREDENTIALS, "short"}}).error(), Error(EINVAL));
  const ucred given{1, 2, 3};
  auto control =
      ParseUnixControl({{SOL_SOCKET, SCM_CREDENTIALS, {reinterpret_cast<const char*>(&given), sizeof given}}});
  ASSERT_TRUE(control && control->credentials);
  EXPECT_EQ(control->credentials->uid, 2u);
  EXPECT_TRUE(ParseUnixControl({{SOL_SOCKET, SCM_RIGHTS, Ints(std::vector<int>(253, 0))}}));
  EXPECT_EQ(ParseUnixControl({{SOL_SOCKET, SCM_RIGHTS, Ints(std::vector<int>(200, 0))},
                              {SOL_SOCKET, SCM_RIGHTS, Ints(std::vector<int>(54, 0))}})
                .error(),
            Error(EINVAL));
}

TEST(ControlDataTest, InetControlIsAnAllowList) {
  EXPECT_TRUE(CheckInetControl({{IPPROTO_IP, IP_PKTINFO, "x"}, {IPPROTO_IPV6, IPV6_TCLASS, "x"}}));
  EXPECT_EQ(CheckInetControl({{IPPROTO_IP, IP_RETOPTS, "x"}}).error(), Error(EINVAL));
  EXPECT_EQ(CheckInetControl({{IPPROTO_IPV6, IPV6_RTHDR, "x"}}).error(), Error(EINVAL));
  EXPECT_EQ(CheckInetControl({{SOL_SOCKET, SO_MARK, "x"}}).error(), Error(EPERM));
  EXPECT_TRUE(CheckInetControl({{SOL_SOCKET, SCM_RIGHTS, Ints({1})}})->empty());
}

TEST(ControlWriterTest, CutsWhatDoesNotFit) {
  ControlWriter none(0);
  none.Add(1, 2, "abc");
  EXPECT_TRUE(none.truncated());
  EXPECT_TRUE(none.bytes().empty());
  EXPECT_EQ(none.RoomForRights(), 0u);
  ControlWriter exact(CMSG_LEN(3));
  exact.Add(1, 2, "abc");
  EXPECT_FALSE(exact.truncated());
  EXPECT_EQ(exact.bytes().size(), CMSG_LEN(3));
  ControlWriter small(CMSG_LEN(2));
  small.Add(1, 2, "abc");
  EXPECT_TRUE(small.truncated());
  EXPECT_EQ(small.bytes().size(), CMSG_LEN(2));
  ControlWriter rights(CMSG_LEN(3 * sizeof(int)) + 3);
  EXPECT_EQ(rights.RoomForRights(), 3u);
  rights.Add(1, 2, "a");
  EXPECT_EQ(rights.RoomForRights(), 0u);
}

}  // namespace
}  // namespace usl::net
