#include "manager/instance_state.h"

#include <nlohmann/json.hpp>

namespace usl::manager {

using nlohmann::json;

std::string ToJson(const InstanceState& state) {
  json sessions = json::array();
  for (const SessionState& session : state.sessions) {
    sessions.push_back({{"id", session.id},
                        {"command", session.command},
                        {"user", session.user},
                        {"terminal", session.terminal},
                        {"attached", session.attached},
                        {"started", session.started}});
  }
  const json all{{"key", state.key},
                 {"name", state.name},
                 {"rootfs", state.rootfs},
                 {"supervisor", state.supervisor},
                 {"kernel", state.kernel},
                 {"started", state.started},
                 {"served_calls", state.served_calls},
                 {"idle_milliseconds", state.idle_milliseconds},
                 {"stopping", state.stopping},
                 {"sessions", std::move(sessions)}};
  // Commands and paths are any bytes.
  return all.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<InstanceState> FromJson(const std::string& text) try {
  const json all = json::parse(text);
  InstanceState state;
  all.at("key").get_to(state.key);
  all.at("name").get_to(state.name);
  all.at("rootfs").get_to(state.rootfs);
  all.at("supervisor").get_to(state.supervisor);
  all.at("kernel").get_to(state.kernel);
  all.at("started").get_to(state.started);
  all.at("served_calls").get_to(state.served_calls);
  all.at("idle_milliseconds").get_to(state.idle_milliseconds);
  all.at("stopping").get_to(state.stopping);
  for (const json& one : all.at("sessions")) {
    SessionState session;
    one.at("id").get_to(session.id);
    one.at("command").get_to(session.command);
    one.at("user").get_to(session.user);
    one.at("terminal").get_to(session.terminal);
    one.at("attached").get_to(session.attached);
    one.at("started").get_to(session.started);
    state.sessions.push_back(std::move(session));
  }
  return state;
} catch (const json::exception&) {
  return Fail(EBADMSG);
}

}  // namespace usl::manager
