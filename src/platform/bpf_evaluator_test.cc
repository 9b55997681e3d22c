#include "platform/bpf_evaluator.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <vector>

namespace usl::platform {
namespace {

using Program = std::vector<sock_filter>;

sock_filter Statement(int code, uint32_t k) {
  return {static_cast<uint16_t>(code), 0, 0, k};
}
sock_filter Jump(int code, uint32_t k, uint8_t jt, uint8_t jf) {
  return {static_cast<uint16_t>(BPF_JMP | code), jt, jf, k};
}
const sock_filter kReturn = Statement(BPF_RET | BPF_K, 7);

int CheckError(const Program& program) {
  auto result = CheckBpf(program);
  return result ? 0 : result.error().code();
}

TEST(CheckBpf, AcceptsWhatTheKernelAccepts) {
  EXPECT_EQ(CheckError({kReturn}), 0);
  EXPECT_EQ(CheckError({Statement(BPF_LD | BPF_W | BPF_ABS, 60), Statement(BPF_RET | BPF_A, 0)}), 0);
  EXPECT_EQ(CheckError({Statement(BPF_ST, 15), Statement(BPF_LD | BPF_MEM, 15), kReturn}), 0);
  EXPECT_EQ(CheckError({Statement(BPF_ALU | BPF_XOR | BPF_K, 1), Statement(BPF_ALU | BPF_NEG, 0), kReturn}), 0);
  EXPECT_EQ(CheckError({Jump(BPF_JGT | BPF_X, 0, 0, 0), kReturn}), 0);
}

TEST(CheckBpf, RefusesSizes) {
  EXPECT_EQ(CheckError({}), EINVAL);
  EXPECT_EQ(CheckError(Program(BPF_MAXINSNS, kReturn)), 0);
  EXPECT_EQ(CheckError(Program(BPF_MAXINSNS + 1, kReturn)), EINVAL);
}

TEST(CheckBpf, RefusesInstructionsThatSeccompLacks) {
  for (int code :
       {BPF_LD | BPF_H | BPF_ABS, BPF_LD | BPF_B | BPF_ABS, BPF_LD | BPF_W | BPF_IND, BPF_LDX | BPF_B | BPF_MSH,
        BPF_ALU | BPF_MOD | BPF_K, BPF_ALU | 0xb0, 0x100 | BPF_RET | BPF_K, 0xffff}) {
    EXPECT_EQ(CheckError({Statement(code, 0), kReturn}), EINVAL) << code;
  }
}

TEST(CheckBpf, RefusesOperandsOutOfRange) {
  EXPECT_EQ(CheckError({Statement(BPF_LD | BPF_W | BPF_ABS, 64), kReturn}), EINVAL);
  EXPECT_EQ(CheckError({Statement(BPF_LD | BPF_W | BPF_ABS, 2), kReturn}), EINVAL);
  EXPECT_EQ(CheckError({Statement(BPF_ALU | BPF_DIV | BPF_K, 0), kReturn}), EINVAL);
  EXPECT_EQ(CheckError({Statement(BPF_ALU | BPF_LSH | BPF_K, 32), kReturn}), EINVAL);
  EXPECT_EQ(CheckError({Statement(BPF_ST, 16), kReturn}), EINVAL);
}

TEST(CheckBpf, RefusesJumpsOutOfTheProgram) {
  EXPECT_EQ(CheckError({Statement(BPF_JMP | BPF_JA, 0), kReturn}), 0);
  EXPECT_EQ(CheckError({Statement(BPF_JMP | BPF_JA, 1), kReturn}), EINVAL);
  EXPECT_EQ(CheckError({Statement(BPF_JMP | BPF_JA, 0xffffffff), kReturn}), EINVAL);
  EXPECT_EQ(CheckError({Jump(BPF_JEQ | BPF_K, 0, 1, 0), kReturn}), EINVAL);
  EXPECT_EQ(CheckError({Jump(BPF_JEQ | BPF_K, 0, 0, 1), kReturn}), EINVAL);
}

TEST(CheckBpf, ProgramsEndInReturn) {
  EXPECT_EQ(CheckError({kReturn, Statement(BPF_LD | BPF_IMM, 0)}), EINVAL);
}

TEST(CheckBpf, RefusesScratchWordsThatOnlySomePathsStore) {
  EXPECT_EQ(CheckError({Statement(BPF_LD | BPF_MEM, 0), kReturn}), EINVAL);
  EXPECT_EQ(CheckError({Jump(BPF_JEQ | BPF_K, 0, 1, 0), Statement(BPF_ST, 3), Statement(BPF_LD | BPF_MEM, 3), kReturn}),
            EINVAL);
}

TEST(RunBpf, Arithmetic) {
  auto run = [](uint16_t operation, uint32_t a, uint32_t k) {
    const Program program = {Statement(BPF_LD | BPF_IMM, a), Statement(BPF_ALU | operation | BPF_K, k),
                             Statement(BPF_RET | BPF_A, 0)};
    return RunBpf(program, {}).value();
  };
  EXPECT_EQ(run(BPF_ADD, 0xffffffff, 2), 1u);
  EXPECT_EQ(run(BPF_SUB, 1, 2), 0xffffffffu);
  EXPECT_EQ(run(BPF_MUL, 3, 5), 15u);
  EXPECT_EQ(run(BPF_DIV, 17, 5), 3u);
  EXPECT_EQ(run(BPF_AND, 6, 3), 2u);
  EXPECT_EQ(run(BPF_OR, 6, 3), 7u);
  EXPECT_EQ(run(BPF_XOR, 6, 3), 5u);
  EXPECT_EQ(run(BPF_LSH, 1, 31), 0x80000000u);
  EXPECT_EQ(run(BPF_RSH, 0x80000000, 31), 1u);
}

TEST(RunBpf, RegistersAndScratch) {
  const Program program = {Statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + 4),
                           Statement(BPF_ST, 2),
                           Statement(BPF_LD | BPF_W | BPF_LEN, 0),
                           Statement(BPF_LDX | BPF_MEM, 2),
                           Statement(BPF_ALU | BPF_SUB | BPF_X, 0),
                           Statement(BPF_RET | BPF_A, 0)};
  EXPECT_EQ(RunBpf(program, {.args = {uint64_t{3} << 32}}).value(), 61u);
}

TEST(IsConstantAllow, FollowsNumberAndArchitectureOnly) {
  const Program program = {Statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                           Jump(BPF_JEQ | BPF_K, 1, 0, 1), Statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                           Statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
                           Statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  EXPECT_TRUE(IsConstantAllow(program, 1, AUDIT_ARCH_X86_64));
  EXPECT_FALSE(IsConstantAllow(program, 2, AUDIT_ARCH_X86_64));
}

}  // namespace
}  // namespace usl::platform
