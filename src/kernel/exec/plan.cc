#include "kernel/exec/plan.h"

#include <sys/mman.h>

#include <bit>
#include <cstring>

#include "kernel/exec/elf.h"

namespace usl::kernel::exec {
namespace {

Result<uint32_t> AddString(protocol::ExecPlan& plan, std::string_view text) {
  if (plan.strings_size > sizeof(plan.strings) || text.size() >= sizeof(plan.strings) - plan.strings_size) {
    return Fail(E2BIG);
  }
  const uint32_t offset = plan.strings_size;
  std::memcpy(plan.strings + offset, text.data(), text.size());
  plan.strings[offset + text.size()] = '\0';
  plan.strings_size += static_cast<uint32_t>(text.size()) + 1;
  return offset;
}

bool Aligned(uint64_t value) {
  return value % kPageSize == 0;
}

bool IsWellFormed(const protocol::ExecImage& image, const protocol::ExecSegment& segment) {
  if (!Aligned(segment.address) || !Aligned(segment.map_length) || !Aligned(segment.file_offset) ||
      !Aligned(segment.anon_length)) {
    return false;
  }
  if ((segment.protection & ~uint32_t{PROT_READ | PROT_WRITE | PROT_EXEC}) != 0) return false;
  if (segment.address < image.span_start || segment.address > image.span_end) return false;
  uint64_t room = image.span_end - segment.address;
  if (segment.map_length > room) return false;
  room -= segment.map_length;
  if (segment.anon_length > room) return false;
  if (segment.file_offset > uint64_t{INT64_MAX} - segment.map_length) return false;
  if (segment.zero_start == segment.zero_end) return true;
  const uint64_t map_end = segment.address + segment.map_length;
  return (segment.protection & PROT_WRITE) != 0 && segment.zero_end == map_end && segment.zero_start < map_end &&
         map_end - segment.zero_start < kPageSize && segment.zero_start >= segment.address;
}

}  // namespace

void NewPlan(protocol::ExecPlan& plan) {
  std::memset(&plan, 0, sizeof(plan));
  plan.version = protocol::kExecPlanVersion;
  plan.pico_fd = -1;
  plan.fast_fd = -1;
  plan.exec_fd = -1;
  plan.image.fd = -1;
  plan.interpreter.fd = -1;
}

Result<> SetExecfn(protocol::ExecPlan& plan, std::string_view path) {
  plan.execfn_offset = USL_TRY(AddString(plan, path));
  return {};
}

Result<> SetPrefix(protocol::ExecPlan& plan, std::span<const std::string> arguments, uint32_t drop) {
  if (arguments.size() > protocol::kMaxPrefixArgs) return Fail(E2BIG);
  plan.prefix_count = 0;
  for (const std::string& argument : arguments) {
    plan.prefix_offsets[plan.prefix_count++] = USL_TRY(AddString(plan, argument));
  }
  plan.drop_count = drop;
  return {};
}

Result<> AddAux(protocol::ExecPlan& plan, uint64_t type, uint64_t value) {
  if (plan.aux_count >= protocol::kMaxAuxPatches) return Fail(E2BIG);
  plan.aux[plan.aux_count++] = {.type = type, .value = value};
  return {};
}

void SetComm(protocol::ExecPlan& plan, std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1).substr(0, sizeof(plan.comm) - 1);
  std::memset(plan.comm, 0, sizeof(plan.comm));
  std::memcpy(plan.comm, name.data(), name.size());
}

bool IsWellFormed(const protocol::ExecImage& image) {
  if (image.segment_count > protocol::kMaxSegments) return false;
  if (!Aligned(image.span_start) || !Aligned(image.span_end) || image.span_start >= image.span_end) return false;
  if (image.span_end > kTaskSize) return false;
  if (!std::has_single_bit(image.alignment) || image.alignment < kPageSize || image.alignment >= kTaskSize)
    return false;
  if (image.hint % image.alignment != 0 || image.fixed > 1) return false;
  for (uint32_t i = 0; i < image.segment_count; ++i) {
    if (!IsWellFormed(image, image.segments[i])) return false;
  }
  return true;
}

}  // namespace usl::kernel::exec
