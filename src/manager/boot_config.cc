#include "manager/boot_config.h"

#include "base/log.h"

namespace usl::manager {
namespace {

protocol::Restart RestartOf(ServiceRestart restart) {
  switch (restart) {
    case ServiceRestart::kNever: return protocol::Restart::kNever;
    case ServiceRestart::kOnFailure: return protocol::Restart::kOnFailure;
    case ServiceRestart::kAlways: return protocol::Restart::kAlways;
  }
  return protocol::Restart::kNever;
}

}  // namespace

protocol::BootPlan MakeBootPlan(const GuestTree& tree, const GuestView& view) {
  const Config& config = tree.config;
  protocol::BootPlan plan;
  plan.command = config.BootCommand(view.ReadFile("/etc/fstab").value_or(""));
  for (const std::string& name : config.List("services.enabled")) {
    if (!protocol::IsServiceName(name) || plan.scripts.size() >= protocol::kMaxServices) {
      Log(LogLevel::kWarning, "services.enabled: there is no script of that name in /etc/init.d; it is left out");
    } else {
      plan.scripts.push_back(name);
    }
  }
  for (const ServiceSetting& service : config.services()) {
    if (plan.services.size() >= protocol::kMaxServices) break;
    plan.services.push_back({service.name, service.command, service.user, RestartOf(service.restart)});
  }
  plan.default_user = tree.user;
  plan.umask = config.umask();
  plan.idle_milliseconds = config.idle_milliseconds();
  plan.keep_alive = config.Flag("instance.keep_alive");
  return plan;
}

}  // namespace usl::manager
