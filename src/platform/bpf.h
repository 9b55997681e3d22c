// A small assembler for classic BPF programs as seccomp(2) runs them.
//
// Conditional jumps of classic BPF reach 255 instructions; the assembler puts an unconditional jump behind those that
// need more. All jumps go forward, so a label is bound after the jumps to it.
#pragma once

#include <linux/bpf_common.h>
#include <linux/filter.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"

namespace usl::platform {

class BpfAssembler {
 public:
  struct Label {
    int id;
  };
  // Stands for the instruction that follows the jump.
  static constexpr Label kNext{-1};

  Label NewLabel();
  // The label means the next instruction that is emitted. Each label is bound once.
  void Bind(Label label);

  // A := the 32-bit word of seccomp_data at `offset` (a multiple of 4, below 64).
  void Load(uint32_t offset) { Emit(BPF_LD | BPF_W | BPF_ABS, offset); }
  void LoadConstant(uint32_t value) { Emit(BPF_LD | BPF_IMM, value); }
  void And(uint32_t mask) { Emit(BPF_ALU | BPF_AND | BPF_K, mask); }
  void SubtractX() { Emit(BPF_ALU | BPF_SUB | BPF_X, 0); }
  void CopyAToX() { Emit(BPF_MISC | BPF_TAX, 0); }
  void Return(uint32_t action) { Emit(BPF_RET | BPF_K, action); }
  void Jump(Label target);

  // Compares A, unsigned, and jumps to one of two labels; either may be kNext.
  void JumpIfEqual(uint32_t value, Label yes, Label no) { Branch(BPF_JEQ | BPF_K, value, yes, no); }
  void JumpIfAtLeast(uint32_t value, Label yes, Label no) { Branch(BPF_JGE | BPF_K, value, yes, no); }
  void JumpIfAnyBit(uint32_t mask, Label yes, Label no) { Branch(BPF_JSET | BPF_K, mask, yes, no); }
  void JumpIfAboveX(Label yes, Label no) { Branch(BPF_JGT | BPF_X, 0, yes, no); }

  // The program, or EINVAL if a label is unbound or a jump goes backward. E2BIG above BPF_MAXINSNS instructions.
  Result<std::vector<sock_filter>> Assemble() const;

 private:
  struct Item {
    uint16_t code;
    uint32_t k;
    Label yes = kNext;
    Label no = kNext;
  };

  void Emit(uint16_t code, uint32_t k) { items_.push_back({code, k}); }
  void Branch(uint16_t comparison, uint32_t k, Label yes, Label no);

  std::vector<Item> items_;
  std::vector<int> labels_;  // index into items_, or -1 while unbound
};

}  // namespace usl::platform
