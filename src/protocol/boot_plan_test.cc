#include "protocol/boot_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace usl::protocol {
namespace {

BootPlan Example() {
  return {
      .command = "mount -a",
      .scripts = {"ssh", "cron"},
      .services = {{"web", "python3 -m http.server", "www-data", Restart::kAlways}, {"x@1", "", "", Restart::kNever}},
      .default_user = "ann",
      .umask = 027,
      .idle_milliseconds = -1,
      .keep_alive = true};
}

TEST(BootPlan, SurvivesTheWire) {
  const auto payload = EncodeBootPlan(Example());
  ASSERT_TRUE(payload);
  const auto plan = DecodeBootPlan(*payload);
  ASSERT_TRUE(plan);
  EXPECT_EQ(*plan, Example());
}

TEST(BootPlan, RefusesNamesThatLeadAway) {
  for (const std::string name : {"", ".", "..", "../x", "a/b", "-\n", "a b"}) {
    BootPlan plan;
    plan.scripts = {name};
    EXPECT_EQ(EncodeBootPlan(plan).error().code(), EINVAL) << name;
    EXPECT_FALSE(IsServiceName(name));
  }
}

TEST(BootPlan, RefusesEveryTruncation) {
  const auto payload = *EncodeBootPlan(Example());
  for (size_t size = 0; size < payload.size(); ++size) {
    EXPECT_FALSE(DecodeBootPlan(std::span(payload).first(size))) << size;
  }
}

TEST(BootPlan, WhatIsDecodedEncodesToTheSame) {
  std::mt19937 random(1);
  const auto payload = *EncodeBootPlan(Example());
  for (int i = 0; i < 20000; ++i) {
    auto bad = payload;
    for (int changes = 0; changes < 3; ++changes) bad[random() % bad.size()] = static_cast<std::byte>(random());
    const auto plan = DecodeBootPlan(bad);
    if (!plan) continue;
    const auto again = EncodeBootPlan(*plan);
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, bad);
  }
}

}  // namespace
}  // namespace usl::protocol
