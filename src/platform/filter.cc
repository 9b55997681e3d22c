#include "platform/filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <unordered_map>

#include "abi/constants.h"
#include "abi/syscall_table.h"
#include "platform/bpf.h"
#include "platform/filter_rules.h"

namespace usl::platform {
namespace {

using Label = BpfAssembler::Label;
constexpr Label kNext = BpfAssembler::kNext;

// x86-64 is little-endian.
uint32_t LowHalf(int argument) {
  return offsetof(seccomp_data, args) + 8 * argument;
}
uint32_t HighHalf(int argument) {
  return LowHalf(argument) + 4;
}

// Emits one test: falls through or jumps to `yes` or `no`, of which at most one is kNext. A is clobbered.
class TestEmitter {
 public:
  TestEmitter(BpfAssembler& bpf, const FilterOptions& options)
      : bpf_(bpf),
        pico_base_(static_cast<uint32_t>(options.pico_base)),
        pico_end_(static_cast<uint32_t>(options.pico_base + options.pico_size)) {}

  void Emit(const FilterTest& test, Label yes, Label no) {
    using Kind = FilterTest::Kind;
    if (test.negated) std::swap(yes, no);
    switch (test.kind) {
      case Kind::kOneOf: return EmitOneOf(test, yes, no);
      case Kind::kRange: return EmitRange(test, yes, no);
      case Kind::kAnyBit: bpf_.Load(LowHalf(test.argument)); return bpf_.JumpIfAnyBit(test.mask, yes, no);
      case Kind::kIsNull: return EmitEquals64(test.argument, 0, yes, no);
      case Kind::kIsPicoBase: return EmitEquals64(test.argument, pico_base_, yes, no);
      case Kind::kBelowPicoEnd: return WithEnds(yes, no, [&](Label y, Label n) { EmitBelowEnd(test.argument, y, n); });
      case Kind::kTouchesPico: return WithEnds(yes, no, [&](Label y, Label n) { EmitTouches(test, pico_base_, y, n); });
      case Kind::kTouchesPicoHuge: return WithEnds(yes, no, [&](Label y, Label n) { EmitTouchesHuge(test, y, n); });
    }
  }

 private:
  // Gives `body` two labels of its own where the caller wants to fall through.
  template <typename Body>
  void WithEnds(Label yes, Label no, Body body) {
    Label end = bpf_.NewLabel();
    body(yes.id == kNext.id ? end : yes, no.id == kNext.id ? end : no);
    bpf_.Bind(end);
  }

  void EmitOneOf(const FilterTest& test, Label yes, Label no) {
    WithEnds(yes, no, [&](Label y, Label n) {
      bpf_.Load(LowHalf(test.argument));
      if (test.mask != 0xffffffff) bpf_.And(test.mask);
      for (uint32_t value : test.values) bpf_.JumpIfEqual(value, y, kNext);
      bpf_.Jump(n);
    });
  }

  void EmitRange(const FilterTest& test, Label yes, Label no) {
    WithEnds(yes, no, [&](Label y, Label n) {
      bpf_.Load(LowHalf(test.argument));
      bpf_.JumpIfAtLeast(test.values[0], kNext, n);
      bpf_.JumpIfAtLeast(test.values[1] + 1, n, y);
    });
  }

  void EmitEquals64(int argument, uint32_t value, Label yes, Label no) {
    WithEnds(yes, no, [&](Label y, Label n) {
      bpf_.Load(LowHalf(argument));
      bpf_.JumpIfEqual(value, kNext, n);
      bpf_.Load(HighHalf(argument));
      bpf_.JumpIfEqual(0, y, n);
    });
  }

  void EmitBelowEnd(int argument, Label yes, Label no) {
    bpf_.Load(HighHalf(argument));
    bpf_.JumpIfEqual(0, kNext, no);
    bpf_.Load(LowHalf(argument));
    bpf_.JumpIfAtLeast(pico_end_, no, yes);
  }

  // start < end of page && (start >= base || length > base - start). `base` is page-aligned and so is every start that
  // the host accepts (it masks others down), so rounding the length up to pages changes nothing. No sum, no
  // wrap-around: below the page's end both numbers are below 4 GiB, and a length of 4 GiB or more reaches it from
  // anywhere.
  void EmitTouches(const FilterTest& test, uint32_t base, Label yes, Label no) {
    Label below = bpf_.NewLabel();
    EmitBelowEnd(test.argument, below, no);
    bpf_.Bind(below);
    bpf_.JumpIfAtLeast(base, yes, kNext);
    bpf_.Load(HighHalf(test.length));
    bpf_.JumpIfEqual(0, kNext, yes);
    bpf_.Load(LowHalf(test.argument));
    bpf_.CopyAToX();
    bpf_.LoadConstant(base);
    bpf_.SubtractX();
    bpf_.CopyAToX();
    bpf_.Load(LowHalf(test.length));
    bpf_.JumpIfAboveX(yes, no);
  }

  // x86-64 has huge pages of 2 MiB and 1 GiB, and the host refuses a start that is not aligned to them. From an aligned
  // start, the length rounded up reaches the pico page exactly when the length alone reaches the huge page it lies in.
  void EmitTouchesHuge(const FilterTest& test, Label yes, Label no) {
    constexpr uint32_t kSmall = 2u << 20, kLarge = 1u << 30;
    Label small = bpf_.NewLabel();
    bpf_.Load(LowHalf(test.argument));
    bpf_.JumpIfAnyBit(kSmall - 1, no, kNext);
    bpf_.JumpIfAnyBit(kLarge - 1, small, kNext);
    EmitTouches(test, pico_base_ & ~(kLarge - 1), yes, no);
    bpf_.Bind(small);
    EmitTouches(test, pico_base_ & ~(kSmall - 1), yes, no);
  }

  BpfAssembler& bpf_;
  uint32_t pico_base_;
  uint32_t pico_end_;
};

// What happens to a run of neighbouring call numbers: a rule, or one action.
struct Segment {
  uint32_t first;
  const FilterRule* rule = nullptr;
  FilterAction action{};
  bool trace_exempt = false;
};

// Calls that must not wait for anybody: the return from a signal handler, the ends, and what only the host's own
// trampolines make. Under trace_all they stay native.
bool IsTraceExempt(uint32_t nr) {
  switch (nr) {
    case SYS_rt_sigreturn:
    case SYS_exit:
    case SYS_exit_group:
    case SYS_restart_syscall:
    case SYS_execve:  // native only for the loader
    case SYS_uretprobe:
    case SYS_uprobe: return true;
    default: return false;
  }
}

FilterAction TableAction(const abi::SyscallRow* row) {
  using Kind = FilterAction::Kind;
  if (row == nullptr) return {Kind::kError, ENOSYS};
  switch (row->decision) {
    case abi::Decision::kNative: return {Kind::kAllow};
    case abi::Decision::kChecked:
    case abi::Decision::kServed: return {Kind::kNotify};
    case abi::Decision::kRefused: return {Kind::kError, row->error};
    // These have rules; one that were forgotten is refused.
    case abi::Decision::kGuarded:
    case abi::Decision::kConditional: break;
  }
  return {Kind::kError, ENOSYS};
}

std::vector<Segment> MakeSegments(const std::vector<FilterRule>& rules) {
  std::unordered_map<uint32_t, const FilterRule*> by_number;
  for (const FilterRule& rule : rules) by_number[rule.nr] = &rule;
  std::vector<Segment> segments;
  for (uint32_t nr = 0; nr <= abi::kSyscallLimit; ++nr) {  // the last one stands for all above it
    Segment segment{.first = nr, .action = TableAction(abi::FindSyscall(nr)), .trace_exempt = IsTraceExempt(nr)};
    if (auto found = by_number.find(nr); found != by_number.end()) segment.rule = found->second;
    bool merge = !segments.empty() && !segment.rule && !segments.back().rule &&
                 segment.action == segments.back().action && segment.trace_exempt == segments.back().trace_exempt;
    if (!merge) segments.push_back(segment);
  }
  return segments;
}

class FilterBuilder {
 public:
  explicit FilterBuilder(const FilterOptions& options) : options_(options), tests_(bpf_, options) {}

  Result<std::vector<sock_filter>> Build() {
    const std::vector<FilterRule> rules = FilterRules(options_);
    const std::vector<Segment> segments = MakeSegments(rules);
    Label foreign = bpf_.NewLabel();
    bpf_.Load(offsetof(seccomp_data, arch));
    bpf_.JumpIfEqual(AUDIT_ARCH_X86_64, kNext, foreign);
    bpf_.Load(offsetof(seccomp_data, nr));
    EmitTree(segments);
    bpf_.Bind(foreign);
    bpf_.Return(SECCOMP_RET_ERRNO | ENOSYS);
    return bpf_.Assemble();
  }

 private:
  // A balanced binary tree: nine compares at most, and the kernel caches the answer for always-native calls anyway.
  void EmitTree(std::span<const Segment> segments) {
    if (segments.size() == 1) return EmitSegment(segments.front());
    size_t middle = segments.size() / 2;
    Label upper = bpf_.NewLabel();
    bpf_.JumpIfAtLeast(segments[middle].first, upper, kNext);
    EmitTree(segments.first(middle));
    bpf_.Bind(upper);
    EmitTree(segments.subspan(middle));
  }

  void EmitSegment(const Segment& segment) {
    if (segment.rule == nullptr) return EmitAction(segment.action, segment.trace_exempt);
    for (const FilterClause& clause : segment.rule->clauses) {
      Label next = bpf_.NewLabel();
      for (const FilterTest& test : clause.tests) tests_.Emit(test, kNext, next);
      EmitAction(clause.action, segment.trace_exempt);
      bpf_.Bind(next);
    }
    EmitAction(segment.rule->otherwise, segment.trace_exempt);
  }

  void EmitAction(const FilterAction& action, bool trace_exempt) {
    switch (action.kind) {
      case FilterAction::Kind::kAllow:
        bpf_.Return(options_.trace_all && !trace_exempt ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW);
        break;
      case FilterAction::Kind::kNotify: bpf_.Return(SECCOMP_RET_USER_NOTIF); break;
      case FilterAction::Kind::kError: bpf_.Return(SECCOMP_RET_ERRNO | action.error); break;
    }
  }

  FilterOptions options_;
  BpfAssembler bpf_;
  TestEmitter tests_;
};

}  // namespace

std::vector<sock_filter> BuildFilter(const FilterOptions& options) {
  constexpr uint64_t kPage = 0x1000, kLimit = uint64_t{1} << 32;
  const bool aligned = options.pico_base % kPage == 0 && options.pico_size % kPage == 0;
  if (!aligned || options.pico_size == 0 || options.pico_base >= kLimit ||
      options.pico_size >= kLimit - options.pico_base) {
    return {};
  }
  return FilterBuilder(options).Build().value_or(std::vector<sock_filter>{});
}

}  // namespace usl::platform
