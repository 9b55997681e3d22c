#include "platform/bpf_evaluator.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

namespace usl::platform {
namespace {

// The instructions that seccomp_check_filter lets through.
bool IsAllowedCode(uint16_t code) {
  switch (code) {
    case BPF_LD | BPF_W | BPF_ABS:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_JMP | BPF_JA:
    case BPF_ALU | BPF_NEG: return true;
    default: break;
  }
  uint16_t operation = BPF_OP(code);
  if (code & ~(0x07 | 0xf0 | BPF_X)) return false;
  if (BPF_CLASS(code) == BPF_ALU) {
    return operation <= BPF_RSH || operation == BPF_XOR;  // no BPF_MOD
  }
  return BPF_CLASS(code) == BPF_JMP && operation >= BPF_JEQ && operation <= BPF_JSET;
}

// Operands of one instruction, as bpf_check_classic and seccomp_check_filter look at them.
bool AreOperandsValid(const sock_filter& instruction, size_t at, size_t size) {
  const size_t behind = size - at - 1;
  switch (instruction.code) {
    case BPF_LD | BPF_W | BPF_ABS: return instruction.k < sizeof(seccomp_data) && instruction.k % 4 == 0;
    case BPF_ALU | BPF_DIV | BPF_K: return instruction.k != 0;
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K: return instruction.k < 32;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX: return instruction.k < BPF_MEMWORDS;
    case BPF_JMP | BPF_JA: return instruction.k < behind;
    default: break;
  }
  return BPF_CLASS(instruction.code) != BPF_JMP || (instruction.jt < behind && instruction.jf < behind);
}

// No path may load a scratch word that it has not stored (check_load_and_stores).
bool AreScratchWordsValid(std::span<const sock_filter> program) {
  std::vector<uint16_t> valid(program.size(), 0xffff);
  uint16_t now = 0;
  for (size_t i = 0; i < program.size(); ++i) {
    const sock_filter& instruction = program[i];
    now &= valid[i];
    switch (instruction.code) {
      case BPF_ST:
      case BPF_STX: now |= 1 << instruction.k; break;
      case BPF_LD | BPF_MEM:
      case BPF_LDX | BPF_MEM:
        if (!(now & (1 << instruction.k))) return false;
        break;
      case BPF_JMP | BPF_JA:
        valid[i + 1 + instruction.k] &= now;
        now = 0xffff;
        break;
      default:
        if (BPF_CLASS(instruction.code) != BPF_JMP) break;
        valid[i + 1 + instruction.jt] &= now;
        valid[i + 1 + instruction.jf] &= now;
        now = 0xffff;
    }
  }
  return true;
}

uint32_t Calculate(uint16_t code, uint32_t a, uint32_t operand) {
  switch (BPF_OP(code)) {
    case BPF_ADD: return a + operand;
    case BPF_SUB: return a - operand;
    case BPF_MUL: return a * operand;
    case BPF_DIV: return a / operand;  // RunCheckedBpf has dealt with zero
    case BPF_AND: return a & operand;
    case BPF_OR: return a | operand;
    case BPF_XOR: return a ^ operand;
    case BPF_LSH: return a << (operand & 31);
    case BPF_RSH: return a >> (operand & 31);
    default: return -a;  // BPF_NEG
  }
}

bool Compare(uint16_t code, uint32_t a, uint32_t operand) {
  switch (BPF_OP(code)) {
    case BPF_JEQ: return a == operand;
    case BPF_JGT: return a > operand;
    case BPF_JGE: return a >= operand;
    default: return (a & operand) != 0;  // BPF_JSET
  }
}

}  // namespace

Result<void> CheckBpf(std::span<const sock_filter> program) {
  if (program.empty() || program.size() > BPF_MAXINSNS) return Fail(EINVAL);
  for (size_t i = 0; i < program.size(); ++i) {
    if (!IsAllowedCode(program[i].code) || !AreOperandsValid(program[i], i, program.size())) return Fail(EINVAL);
  }
  if (BPF_CLASS(program.back().code) != BPF_RET || !AreScratchWordsValid(program)) return Fail(EINVAL);
  return {};
}

uint32_t RunCheckedBpf(std::span<const sock_filter> program, const seccomp_data& call) {
  uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {};
  for (size_t pc = 0;; ++pc) {
    const sock_filter& instruction = program[pc];
    const uint32_t operand = BPF_SRC(instruction.code) == BPF_X ? x : instruction.k;
    switch (instruction.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&a, reinterpret_cast<const char*>(&call) + instruction.k, sizeof a);
        continue;
      case BPF_LD | BPF_W | BPF_LEN: a = sizeof call; continue;
      case BPF_LDX | BPF_W | BPF_LEN: x = sizeof call; continue;
      case BPF_LD | BPF_IMM: a = instruction.k; continue;
      case BPF_LDX | BPF_IMM: x = instruction.k; continue;
      case BPF_LD | BPF_MEM: a = memory[instruction.k]; continue;
      case BPF_LDX | BPF_MEM: x = memory[instruction.k]; continue;
      case BPF_ST: memory[instruction.k] = a; continue;
      case BPF_STX: memory[instruction.k] = x; continue;
      case BPF_MISC | BPF_TAX: x = a; continue;
      case BPF_MISC | BPF_TXA: a = x; continue;
      case BPF_RET | BPF_K: return instruction.k;
      case BPF_RET | BPF_A: return a;
      case BPF_JMP | BPF_JA: pc += instruction.k; continue;
      case BPF_ALU | BPF_DIV | BPF_X:
        if (x == 0) return 0;  // as the kernel's conversion to eBPF does; SECCOMP_RET_KILL_THREAD
        break;
      default: break;
    }
    if (BPF_CLASS(instruction.code) == BPF_ALU) {
      a = Calculate(instruction.code, a, operand);
    } else {
      pc += Compare(instruction.code, a, operand) ? instruction.jt : instruction.jf;
    }
  }
}

Result<uint32_t> RunBpf(std::span<const sock_filter> program, const seccomp_data& call) {
  USL_TRY_VOID(CheckBpf(program));
  return RunCheckedBpf(program, call);
}

bool IsConstantAllow(std::span<const sock_filter> program, uint32_t nr, uint32_t arch) {
  uint32_t a = 0;
  for (size_t pc = 0; pc < program.size(); ++pc) {
    const sock_filter& instruction = program[pc];
    switch (instruction.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (instruction.k == offsetof(seccomp_data, nr)) {
          a = nr;
        } else if (instruction.k == offsetof(seccomp_data, arch)) {
          a = arch;
        } else {
          return false;
        }
        break;
      case BPF_RET | BPF_K: return instruction.k == SECCOMP_RET_ALLOW;
      case BPF_JMP | BPF_JA: pc += instruction.k; break;
      case BPF_ALU | BPF_AND | BPF_K: a &= instruction.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K:
      case BPF_JMP | BPF_JGE | BPF_K:
      case BPF_JMP | BPF_JGT | BPF_K:
      case BPF_JMP | BPF_JSET | BPF_K:
        pc += Compare(instruction.code, a, instruction.k) ? instruction.jt : instruction.jf;
        break;
      default: return false;
    }
  }
  return false;
}

}  // namespace usl::platform
