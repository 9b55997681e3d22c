#include "kernel/exec/plan.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <memory>

namespace usl::kernel::exec {
namespace {

class PlanTest : public testing::Test {
 protected:
  PlanTest() { NewPlan(*plan_); }
  std::string At(uint32_t offset) const { return plan_->strings + offset; }
  std::unique_ptr<protocol::ExecPlan> plan_ = std::make_unique<protocol::ExecPlan>();
};

TEST_F(PlanTest, StringsStandBehindEachOther) {
  const std::string arguments[] = {"/bin/sh", "", "/x/script"};
  ASSERT_TRUE(SetExecfn(*plan_, "/x/script"));
  ASSERT_TRUE(SetPrefix(*plan_, arguments, 1));
  EXPECT_EQ(At(plan_->execfn_offset), "/x/script");
  EXPECT_EQ(plan_->prefix_count, 3u);
  EXPECT_EQ(plan_->drop_count, 1u);
  EXPECT_EQ(At(plan_->prefix_offsets[0]), "/bin/sh");
  EXPECT_EQ(At(plan_->prefix_offsets[1]), "");
  EXPECT_EQ(At(plan_->prefix_offsets[2]), "/x/script");
}

TEST_F(PlanTest, BoundsAreE2BIG) {
  const std::string most(protocol::kPlanStrings - 1, 'a');
  EXPECT_EQ(SetExecfn(*plan_, most + "a").error().code(), E2BIG);
  ASSERT_TRUE(SetExecfn(*plan_, most));
  EXPECT_EQ(SetExecfn(*plan_, "").error().code(), E2BIG);
  const std::vector<std::string> many(protocol::kMaxPrefixArgs + 1);
  EXPECT_EQ(SetPrefix(*plan_, many, 1).error().code(), E2BIG);
  for (int i = 0; i < protocol::kMaxAuxPatches; ++i) ASSERT_TRUE(AddAux(*plan_, AT_UID, 0));
  EXPECT_EQ(AddAux(*plan_, AT_UID, 0).error().code(), E2BIG);
}

TEST_F(PlanTest, CommIsTheLastPartCutTo15Bytes) {
  SetComm(*plan_, "/usr/bin/a-very-long-program-name");
  EXPECT_STREQ(plan_->comm, "a-very-long-pro");
  SetComm(*plan_, "sh");
  EXPECT_STREQ(plan_->comm, "sh");
}

}  // namespace
}  // namespace usl::kernel::exec
