#include "protocol/control.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <random>

#include "protocol/control_socket.h"

namespace usl::protocol {
namespace {

LaunchRequest Example() {
  return {.uid = 1000,
          .gid = 100,
          .umask = 027,
          .flags = kLaunchControllingTerminal,
          .groups = {4, 27},
          .cwd = "/home/u",
          .argv = {"bash", "-c", ""},
          .env = {"A=1", "PATH=/bin"}};
}

TEST(ControlMessage, SurvivesTheWire) {
  const ControlMessage sent{MessageType::kExited, 7, 0x8B00 >> 8, 0};
  const auto received = DecodeMessage(EncodeMessage(sent));
  ASSERT_TRUE(received);
  EXPECT_EQ(received->type, sent.type);
  EXPECT_EQ(received->session, sent.session);
  EXPECT_EQ(received->value, sent.value);
}

TEST(ControlMessage, RefusesWhatIsOutOfRange) {
  for (const ControlMessage& bad : {ControlMessage{MessageType::kSignal, 1, 0, 0},
                                    {MessageType::kSignal, 1, 65, 0},
                                    {MessageType::kSignal, 0, 15, 0},
                                    {MessageType::kExited, 1, -1, 0},
                                    {MessageType::kExited, 1, 0x10000, 0},
                                    {MessageType::kShutdown, 0, 0, 1},
                                    {MessageType::kLaunch, 1, 0, kMaxLaunchPayload + 1},
                                    {static_cast<MessageType>(99), 1, 0, 0}}) {
    EXPECT_EQ(DecodeMessage(EncodeMessage(bad)).error().code(), EBADMSG) << static_cast<int>(bad.type);
  }
}

TEST(ControlMessage, RefusesEverySingleByteOfMagicAndVersionChanged) {
  for (size_t i = 0; i < 6; ++i) {
    auto packet = EncodeMessage({MessageType::kShutdown, 0, 0, 0});
    packet[i] ^= std::byte{0x40};
    EXPECT_FALSE(DecodeMessage(packet)) << i;
  }
  EXPECT_FALSE(DecodeMessage({}));
}

TEST(Launch, SurvivesTheWire) {
  const auto payload = EncodeLaunch(Example());
  ASSERT_TRUE(payload);
  const auto request = DecodeLaunch(*payload);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->uid, 1000u);
  EXPECT_EQ(request->gid, 100u);
  EXPECT_EQ(request->umask, 027u);
  EXPECT_EQ(request->groups, Example().groups);
  EXPECT_EQ(request->cwd, "/home/u");
  EXPECT_EQ(request->argv, Example().argv);
  EXPECT_EQ(request->env, Example().env);
}

TEST(Launch, RefusesEveryTruncationAndEveryExtraByte) {
  auto payload = *EncodeLaunch(Example());
  for (size_t size = 0; size < payload.size(); ++size) {
    EXPECT_FALSE(DecodeLaunch(std::span(payload).first(size))) << size;
  }
  payload.push_back(std::byte{0});
  EXPECT_FALSE(DecodeLaunch(payload));
}

TEST(Launch, CountsThatLieAllocateNothing) {
  auto payload = *EncodeLaunch(Example());
  for (size_t field : {16u, 20u, 24u}) {  // group_count, argc, envc
    auto lie = payload;
    memset(lie.data() + field, 0xFF, 4);
    EXPECT_EQ(DecodeLaunch(lie).error().code(), EBADMSG) << field;
  }
}

TEST(Launch, RandomBytesNeverCrash) {
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    auto payload = *EncodeLaunch(Example());
    for (int i = 0; i < 3; ++i) payload[random() % payload.size()] = static_cast<std::byte>(random());
    (void)DecodeLaunch(payload);
  }
}

TEST(Launch, RefusesWhatExecveCouldNotTake) {
  auto request = Example();
  request.argv.clear();
  EXPECT_EQ(EncodeLaunch(request).error().code(), EINVAL);
  request = Example();
  request.env.emplace_back("A=\0B", 4);
  EXPECT_EQ(EncodeLaunch(request).error().code(), EINVAL);
  request = Example();
  request.env.emplace_back(kMaxLaunchPayload, 'x');
  EXPECT_EQ(EncodeLaunch(request).error().code(), E2BIG);
}

TEST(ControlSocket, CarriesDescriptorsOfALaunchOnly) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd left(pair[0]), right(pair[1]);
  const int fds[] = {0, 1, 2, 2};
  ASSERT_TRUE(SendControl(left.get(), {MessageType::kLaunch, 1, 0, 100}, fds));
  auto received = ReceiveControl(right.get());
  ASSERT_TRUE(received);
  ASSERT_EQ(received->fds.size(), DescriptorsOf(MessageType::kLaunch));
  EXPECT_TRUE(fcntl(received->fds[0].get(), F_GETFD) & FD_CLOEXEC);

  ASSERT_TRUE(SendControl(left.get(), {MessageType::kShutdown, 0, 0, 0}, std::span(fds).first(1)));
  EXPECT_EQ(ReceiveControl(right.get()).error().code(), EBADMSG);
  ASSERT_TRUE(SendControl(left.get(), {MessageType::kLaunch, 1, 0, 100}, {}));
  EXPECT_EQ(ReceiveControl(right.get()).error().code(), EBADMSG);
}

TEST(ControlSocket, SeesLongPacketsAndTheEnd) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  UniqueFd left(pair[0]);
  const UniqueFd right(pair[1]);
  const char longer[kControlMessageSize + 5] = {};
  ASSERT_GT(write(left.get(), longer, sizeof longer), 0);
  EXPECT_EQ(ReceiveControl(right.get()).error().code(), EBADMSG);
  left.Reset();
  EXPECT_EQ(ReceiveControl(right.get()).error().code(), ECONNRESET);
}

}  // namespace
}  // namespace usl::protocol
