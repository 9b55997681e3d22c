#include "platform/bpf.h"

#include <cerrno>

namespace usl::platform {
namespace {

constexpr int kShortJump = 255;

bool IsJump(uint16_t code) {
  return BPF_CLASS(code) == BPF_JMP;
}
bool IsBranch(uint16_t code) {
  return IsJump(code) && BPF_OP(code) != BPF_JA;
}

}  // namespace

BpfAssembler::Label BpfAssembler::NewLabel() {
  labels_.push_back(-1);
  return Label{static_cast<int>(labels_.size()) - 1};
}

void BpfAssembler::Bind(Label label) {
  labels_[label.id] = static_cast<int>(items_.size());
}

void BpfAssembler::Jump(Label target) {
  items_.push_back({BPF_JMP | BPF_JA, 0, target, kNext});
}

void BpfAssembler::Branch(uint16_t comparison, uint32_t k, Label yes, Label no) {
  items_.push_back({static_cast<uint16_t>(BPF_JMP | comparison), k, yes, no});
}

Result<std::vector<sock_filter>> BpfAssembler::Assemble() const {
  const int count = static_cast<int>(items_.size());
  // Index of the item that a jump of item `from` means.
  auto target = [&](int from, Label label) { return label.id == kNext.id ? from + 1 : labels_[label.id]; };
  for (int i = 0; i < count; ++i) {
    if (!IsJump(items_[i].code)) continue;
    for (Label label : {items_[i].yes, items_[i].no}) {
      int to = target(i, label);
      if (to <= i || to >= count) return Fail(EINVAL);
    }
  }

  // A branch whose side is too far gets an unconditional jump behind it. Each one that is added can push others over
  // the limit, so this repeats until nothing changes; the set only grows, so it ends.
  std::vector<bool> far_yes(count), far_no(count);
  std::vector<int> position(count + 1);
  for (bool changed = true; changed;) {
    changed = false;
    int at = 0;
    for (int i = 0; i < count; ++i) {
      position[i] = at;
      at += 1 + far_yes[i] + far_no[i];
    }
    position[count] = at;
    for (int i = 0; i < count; ++i) {
      if (!IsBranch(items_[i].code)) continue;
      auto too_far = [&](Label label) { return position[target(i, label)] - position[i] - 1 > kShortJump; };
      if (!far_yes[i] && too_far(items_[i].yes)) far_yes[i] = changed = true;
      if (!far_no[i] && too_far(items_[i].no)) far_no[i] = changed = true;
    }
  }
  if (position[count] > BPF_MAXINSNS) return Fail(E2BIG);

  std::vector<sock_filter> program;
  program.reserve(position[count]);
  auto far_jump = [&](int to) {
    uint32_t here = static_cast<uint32_t>(program.size());
    program.push_back({BPF_JMP | BPF_JA, 0, 0, static_cast<uint32_t>(to) - here - 1});
  };
  for (int i = 0; i < count; ++i) {
    const Item& item = items_[i];
    if (!IsJump(item.code)) {
      program.push_back({item.code, 0, 0, item.k});
      continue;
    }
    int yes = position[target(i, item.yes)], no = position[target(i, item.no)];
    if (!IsBranch(item.code)) {
      far_jump(yes);
      continue;
    }
    int behind = position[i] + 1;
    int jt = far_yes[i] ? 0 : yes - behind;
    int jf = far_no[i] ? (far_yes[i] ? 1 : 0) : no - behind;
    program.push_back({item.code, static_cast<uint8_t>(jt), static_cast<uint8_t>(jf), item.k});
    if (far_yes[i]) far_jump(yes);
    if (far_no[i]) far_jump(no);
  }
  return program;
}

}  // namespace usl::platform
