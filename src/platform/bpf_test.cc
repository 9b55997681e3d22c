#include "platform/bpf.h"

#include <gtest/gtest.h>
#include <linux/seccomp.h>

#include <cstddef>

#include "platform/bpf_evaluator.h"

namespace usl::platform {
namespace {

constexpr auto kNext = BpfAssembler::kNext;
constexpr uint32_t kNr = offsetof(seccomp_data, nr);

seccomp_data Call(int nr) {
  return {.nr = nr};
}

TEST(BpfAssembler, BranchesReachBothSides) {
  BpfAssembler bpf;
  auto yes = bpf.NewLabel(), no = bpf.NewLabel();
  bpf.Load(kNr);
  bpf.JumpIfEqual(5, yes, no);
  bpf.Bind(no);
  bpf.Return(1);
  bpf.Bind(yes);
  bpf.Return(2);
  auto program = bpf.Assemble().value();
  EXPECT_EQ(program.size(), 4u);
  EXPECT_EQ(RunBpf(program, Call(5)).value(), 2u);
  EXPECT_EQ(RunBpf(program, Call(6)).value(), 1u);
}

// Distances around the 8-bit limit, for each side and for both.
TEST(BpfAssembler, FarBranchesAreExtended) {
  for (int distance : {250, 253, 254, 255, 256, 257, 258, 300, 1000}) {
    for (int far : {1, 2, 3}) {
      BpfAssembler bpf;
      auto yes = bpf.NewLabel(), no = bpf.NewLabel();
      bpf.Load(kNr);
      bpf.JumpIfAtLeast(10, far & 1 ? yes : kNext, far & 2 ? no : kNext);
      for (int i = 0; i < distance; ++i) bpf.And(0xffffffff);
      bpf.Return(7);
      bpf.Bind(yes);
      bpf.Return(8);
      bpf.Bind(no);
      bpf.Return(9);
      auto program = bpf.Assemble().value();
      EXPECT_EQ(RunBpf(program, Call(10)).value(), far & 1 ? 8u : 7u) << distance << " " << far;
      EXPECT_EQ(RunBpf(program, Call(9)).value(), far & 2 ? 9u : 7u) << distance << " " << far;
    }
  }
}

TEST(BpfAssembler, RefusesWhatItCannotExpress) {
  BpfAssembler unbound;
  unbound.JumpIfEqual(0, unbound.NewLabel(), kNext);
  unbound.Return(0);
  EXPECT_EQ(unbound.Assemble().error().code(), EINVAL);

  BpfAssembler backward;
  auto label = backward.NewLabel();
  backward.Bind(label);
  backward.Load(kNr);
  backward.Jump(label);
  EXPECT_EQ(backward.Assemble().error().code(), EINVAL);

  BpfAssembler jump_at_end;
  jump_at_end.Load(kNr);
  jump_at_end.JumpIfEqual(0, kNext, kNext);
  EXPECT_EQ(jump_at_end.Assemble().error().code(), EINVAL);

  BpfAssembler endless;
  for (int i = 0; i < BPF_MAXINSNS; ++i) endless.Load(kNr);
  endless.Return(0);
  EXPECT_EQ(endless.Assemble().error().code(), E2BIG);
}

}  // namespace
}  // namespace usl::platform
