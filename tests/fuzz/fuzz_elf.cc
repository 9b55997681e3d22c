// ELF files and `#!` lines from hostile bytes: no crash, and no plan outside its bounds.
#include <algorithm>
#include <cstdlib>

#include "kernel/exec/elf.h"
#include "kernel/exec/plan.h"
#include "kernel/exec/script.h"

using namespace usl;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto read = [file](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
    if (offset >= file.size()) return 0;
    const auto part = file.subspan(offset, std::min<size_t>(out.size(), file.size() - offset));
    std::ranges::copy(part, out.begin());
    return part.size();
  };
  for (const auto role : {kernel::exec::ElfRole::kProgram, kernel::exec::ElfRole::kInterpreter}) {
    const auto image = kernel::exec::ParseElf(file.first(std::min<size_t>(file.size(), 256)), read, role);
    if (!image) continue;
    protocol::ExecImage plan;
    const uint64_t hint = kernel::exec::ChooseHint(*image, size * 0x9E3779B97F4A7C15);
    if (kernel::exec::FillImage(*image, protocol::kDefaultPicoBase, hint, plan) && !kernel::exec::IsWellFormed(plan)) {
      std::abort();
    }
  }
  if (const auto line = kernel::exec::ParseScript(file)) {
    if (line->interpreter.empty() || line->interpreter.size() > kernel::exec::kScriptLine) std::abort();
  }
  return 0;
}
