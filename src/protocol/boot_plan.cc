#include "protocol/boot_plan.h"

#include <algorithm>
#include <cstring>

#include "protocol/control.h"
#include "protocol/strings.h"

namespace usl::protocol {
namespace {

struct WireBoot {
  uint32_t umask;
  int32_t idle_milliseconds;
  uint32_t keep_alive;
  uint32_t script_count, service_count, reserved;
};
static_assert(sizeof(WireBoot) == 24);

}  // namespace

bool IsServiceName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name[0] != '.' && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-@").find(c) != std::string_view::npos;
  });
}

Result<std::vector<std::byte>> EncodeBootPlan(const BootPlan& plan) {
  if (plan.scripts.size() > kMaxServices || plan.services.size() > kMaxServices || plan.umask > 0777) {
    return Fail(EINVAL);
  }
  const WireBoot wire{plan.umask,
                      plan.idle_milliseconds,
                      plan.keep_alive,
                      static_cast<uint32_t>(plan.scripts.size()),
                      static_cast<uint32_t>(plan.services.size()),
                      0};
  std::vector<std::byte> out;
  AppendBytes(out, &wire, sizeof wire);
  if (!AppendString(out, plan.command) || !AppendString(out, plan.default_user)) return Fail(EINVAL);
  for (const std::string& script : plan.scripts) {
    if (!IsServiceName(script) || !AppendString(out, script)) return Fail(EINVAL);
  }
  for (const Service& service : plan.services) {
    const std::string restart(1, static_cast<char>('0' + static_cast<int>(service.restart)));
    if (!IsServiceName(service.name)) return Fail(EINVAL);
    for (const auto& text : {service.name, service.command, service.user, restart}) {
      if (!AppendString(out, text)) return Fail(EINVAL);
    }
  }
  if (out.size() > kMaxLaunchPayload) return Fail(E2BIG);
  return out;
}

Result<BootPlan> DecodeBootPlan(std::span<const std::byte> payload) {
  WireBoot wire;
  if (payload.size() < sizeof wire || payload.size() > kMaxLaunchPayload) return Fail(EBADMSG);
  memcpy(&wire, payload.data(), sizeof wire);
  if (wire.umask > 0777 || wire.keep_alive > 1 || wire.reserved || wire.script_count > kMaxServices ||
      wire.service_count > kMaxServices) {
    return Fail(EBADMSG);
  }
  BootPlan plan;
  plan.umask = wire.umask;
  plan.idle_milliseconds = wire.idle_milliseconds;
  plan.keep_alive = wire.keep_alive != 0;
  StringReader strings(payload.subspan(sizeof wire));
  plan.command = USL_TRY(strings.Next());
  plan.default_user = USL_TRY(strings.Next());
  for (uint32_t i = 0; i < wire.script_count; ++i) {
    plan.scripts.push_back(USL_TRY(strings.Next()));
    if (!IsServiceName(plan.scripts.back())) return Fail(EBADMSG);
  }
  for (uint32_t i = 0; i < wire.service_count; ++i) {
    Service service;
    service.name = USL_TRY(strings.Next());
    service.command = USL_TRY(strings.Next());
    service.user = USL_TRY(strings.Next());
    const std::string restart = USL_TRY(strings.Next());
    if (!IsServiceName(service.name) || restart.size() != 1 || restart[0] < '0' || restart[0] > '2') {
      return Fail(EBADMSG);
    }
    service.restart = static_cast<Restart>(restart[0] - '0');
    plan.services.push_back(std::move(service));
  }
  if (!strings.AtEnd()) return Fail(EBADMSG);
  return plan;
}

}  // namespace usl::protocol
