// `usl status`, `ps`, `stats` and `top`: what runs.
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "cli/instance_commands.h"
#include "cli/instance_support.h"
#include "manager/process_table.h"
#include "manager/registry.h"
#include "manager/terminal.h"

namespace usl::cli {
namespace {

using manager::InstanceState;
using manager::ProcessInfo;
using nlohmann::json;

void PrintJson(const json& value) {
  puts(value.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

// All instances that run, or the one of that name. False after a line on standard error.
bool Find(const std::string& name, std::vector<InstanceState>* found) {
  if (name.empty()) {
    *found = manager::RunningInstances();
    return true;
  }
  std::string why;
  const auto target = FindTarget(name, &why);
  if (!target) return Refuse(why), false;
  const auto state = manager::AskState(target->key);
  if (!state) return Refuse(format("\"{}\" is not running", target->name)), false;
  found->push_back(*state);
  return true;
}

// --- ps

json ToJson(const ProcessInfo& process) {
  return {{"pid", process.pid},
          {"ppid", process.parent},
          {"state", std::string(1, process.state)},
          {"cpu_ms", process.cpu_milliseconds},
          {"resident_bytes", process.resident},
          {"command", process.command}};
}

int Ps(const std::string& name, bool as_json) {
  std::vector<InstanceState> instances;
  if (!Find(name, &instances)) return 125;
  json all = json::array();
  if (!as_json) printf("%-16s %8s %8s %c %9s %10s %s\n", "INSTANCE", "PID", "PPID", 'S', "TIME", "RESIDENT", "COMMAND");
  for (const InstanceState& instance : instances) {
    json processes = json::array();
    for (const ProcessInfo& process : manager::ReadGuestProcesses(instance.kernel)) {
      if (as_json) {
        processes.push_back(ToJson(process));
      } else {
        printf("%-16s %8d %8d %c %8.2fs %10s %s\n", instance.name.c_str(), process.pid, process.parent, process.state,
               static_cast<double>(process.cpu_milliseconds) / 1000, Size(process.resident).c_str(),
               process.command.c_str());
      }
    }
    all.push_back({{"name", instance.name}, {"processes", std::move(processes)}});
  }
  if (as_json) PrintJson(all);
  return 0;
}

// --- stats

struct Sample {
  InstanceState state;
  size_t processes = 0;
  uint64_t cpu_milliseconds = 0;  // of the guests and of the kernel process
  uint64_t resident = 0;          // of the guests
  uint64_t kernel_resident = 0;
  int64_t at = 0;  // milliseconds of CLOCK_MONOTONIC
};

// What happened between two samples, for each second.
struct Rates {
  double cpu_percent = 0;
  double calls = 0;
};

int64_t NowMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

Sample Take(const InstanceState& state, std::vector<ProcessInfo>* processes = nullptr) {
  Sample sample{.state = state, .at = NowMilliseconds()};
  const auto guests = manager::ReadGuestProcesses(state.kernel);
  const ProcessInfo kernel = manager::ReadProcess(state.kernel);
  sample.processes = guests.size();
  sample.cpu_milliseconds = kernel.cpu_milliseconds;
  sample.kernel_resident = kernel.resident;
  for (const ProcessInfo& guest : guests) {
    sample.cpu_milliseconds += guest.cpu_milliseconds;
    sample.resident += guest.resident;
  }
  if (processes) processes->insert(processes->end(), guests.begin(), guests.end());
  return sample;
}

Rates Between(const Sample& before, const Sample& after) {
  const double seconds = static_cast<double>(after.at - before.at) / 1000;
  if (seconds <= 0) return {};
  // The times of processes that have ended are gone: never below nothing.
  const auto cpu = static_cast<double>(after.cpu_milliseconds) - static_cast<double>(before.cpu_milliseconds);
  return {.cpu_percent = std::max(0.0, cpu / 10 / seconds),
          .calls = static_cast<double>(after.state.served_calls - before.state.served_calls) / seconds};
}

std::vector<std::pair<Sample, Rates>> Measure(const std::string& name, int milliseconds, bool* failed) {
  std::vector<InstanceState> instances;
  *failed = !Find(name, &instances);
  std::vector<Sample> before;
  for (const InstanceState& instance : instances) before.push_back(Take(instance));
  if (!before.empty()) poll(nullptr, 0, milliseconds);
  std::vector<std::pair<Sample, Rates>> measured;
  for (const Sample& first : before) {
    const auto state = manager::AskState(first.state.key);
    if (!state) continue;  // it has ended meanwhile
    const Sample second = Take(*state);
    measured.emplace_back(second, Between(first, second));
  }
  return measured;
}

void PrintStatsHeader() {
  printf("%-16s %6s %7s %9s %10s %10s %12s %12s %9s\n", "INSTANCE", "PROCS", "CPU %", "SESSIONS", "RESIDENT", "KERNEL",
         "CALLS", "CALLS/S", "UP");
}

void PrintStats(const Sample& sample, const Rates& rates) {
  printf("%-16s %6zu %7.1f %9zu %10s %10s %12llu %12.0f %9s\n", sample.state.name.c_str(), sample.processes,
         rates.cpu_percent, sample.state.sessions.size(), Size(sample.resident).c_str(),
         Size(sample.kernel_resident).c_str(), static_cast<unsigned long long>(sample.state.served_calls), rates.calls,
         Duration(time(nullptr) - sample.state.started).c_str());
}

int Stats(const std::string& name, bool as_json) {
  bool failed = false;
  const auto measured = Measure(name, 500, &failed);
  if (failed) return 125;
  json all = json::array();
  if (!as_json) PrintStatsHeader();
  for (const auto& [sample, rates] : measured) {
    if (!as_json) {
      PrintStats(sample, rates);
      continue;
    }
    all.push_back({{"name", sample.state.name},
                   {"processes", sample.processes},
                   {"sessions", sample.state.sessions.size()},
                   {"cpu_percent", rates.cpu_percent},
                   {"resident_bytes", sample.resident},
                   {"kernel_resident_bytes", sample.kernel_resident},
                   {"served_calls", sample.state.served_calls},
                   {"served_calls_per_second", rates.calls},
                   {"started", sample.state.started}});
  }
  if (as_json) PrintJson(all);
  return 0;
}

// --- top

constexpr int kTopMilliseconds = 1500;

void DrawTop(const std::map<std::string, Sample>& before, std::map<std::string, Sample>* now,
             std::map<pid_t, uint64_t>* times) {
  winsize size{};
  ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
  const int rows = size.ws_row > 4 ? size.ws_row : 24;
  const int columns = size.ws_col > 20 ? size.ws_col : 80;
  // From the top, each line cleared to its end: no flicker.
  fputs("\x1b[H\x1b[1musl top\x1b[0m: q ends it\x1b[K\n", stdout);
  PrintStatsHeader();
  std::vector<ProcessInfo> processes;
  int used = 3;
  for (const InstanceState& instance : manager::RunningInstances()) {
    const Sample sample = Take(instance, &processes);
    const auto last = before.find(instance.key);
    PrintStats(sample, last != before.end() ? Between(last->second, sample) : Rates{});
    now->emplace(instance.key, sample);
    ++used;
  }
  std::map<pid_t, uint64_t> seen;
  for (ProcessInfo& process : processes) {
    seen[process.pid] = process.cpu_milliseconds;
    const auto last = times->find(process.pid);
    process.cpu_milliseconds -= last != times->end() ? std::min(last->second, process.cpu_milliseconds) : 0;
  }
  *times = std::move(seen);
  std::ranges::stable_sort(processes, std::greater{}, &ProcessInfo::cpu_milliseconds);
  printf("\x1b[K\n\x1b[7m%8s %7s %10s %-*s\x1b[0m\n", "PID", "CPU %", "RESIDENT", columns - 28, "COMMAND");
  used += 2;
  for (const ProcessInfo& process : processes) {
    if (used++ >= rows) break;
    printf("%8d %7.1f %10s %.*s\x1b[K\n", process.pid,
           static_cast<double>(process.cpu_milliseconds) * 100 / kTopMilliseconds, Size(process.resident).c_str(),
           columns - 28, process.command.c_str());
  }
  fputs("\x1b[J", stdout);
  fflush(stdout);
}

int Top() {
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return Refuse("top: it wants a terminal; `usl stats` does not");
  // Keys at once; line ends as they are printed here.
  termios modes;
  tcgetattr(STDIN_FILENO, &modes);
  termios keys = modes;
  keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);
  fputs("\x1b[?1049h\x1b[?25l", stdout);
  std::map<std::string, Sample> before;
  std::map<pid_t, uint64_t> times;
  for (;;) {
    std::map<std::string, Sample> now;
    DrawTop(before, &now, &times);
    before = std::move(now);
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, kTopMilliseconds) <= 0) continue;
    char key = 0;
    if (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 3 || key == 4) break;
  }
  fputs("\x1b[?25h\x1b[?1049l", stdout);
  fflush(stdout);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &modes);
  return 0;
}

// --- status

int Status(bool as_json) {
  std::string why;
  const auto data = manager::Registry::OfUser().Read(&why);
  if (!data) return Refuse(why);
  const auto running = manager::RunningInstances();
  if (as_json) {
    json all{{"version", USL_VERSION},
             {"default_distribution", data->default_distribution},
             {"distributions", data->distributions.size()},
             {"running", json::array()}};
    for (const InstanceState& state : running) all["running"].push_back(json::parse(manager::ToJson(state)));
    PrintJson(all);
    return 0;
  }
  printf("Version: %s\n", USL_VERSION);
  printf("Default distribution: %s\n",
         data->default_distribution.empty() ? "none" : data->default_distribution.c_str());
  printf("Distributions: %zu\n", data->distributions.size());
  printf("Running: %zu\n", running.size());
  for (const InstanceState& state : running) {
    printf("  %s: up %s, %zu sessions%s\n", state.name.c_str(), Duration(time(nullptr) - state.started).c_str(),
           state.sessions.size(), state.stopping ? ", stopping" : "");
  }
  return 0;
}

struct Options {
  std::string name;
  bool as_json = false;
};

Command AddLister(CLI::App& parser, const char* name, const char* what, int (*run)(const std::string&, bool)) {
  CLI::App* app = parser.add_subcommand(name, what);
  auto options = std::make_shared<Options>();
  app->add_option("name", options->name, "The distribution or instance (default: all that run)")->type_name("NAME");
  app->add_flag("--json", options->as_json, "As JSON");
  return {app, [options, run](const std::vector<std::string>&) { return run(options->name, options->as_json); }};
}

}  // namespace

Command AddPs(CLI::App& parser) {
  return AddLister(parser, "ps", "List the processes of running instances", Ps);
}

Command AddStats(CLI::App& parser) {
  return AddLister(parser, "stats", "What running instances use: processes, processor, memory, served calls", Stats);
}

Command AddTop(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("top", "Watch the running instances and their processes");
  return {app, [](const std::vector<std::string>&) { return Top(); }};
}

Command AddStatus(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("status", "Print the default distribution and what runs");
  auto as_json = std::make_shared<bool>(false);
  app->add_flag("--json", *as_json, "As JSON");
  return {app, [as_json](const std::vector<std::string>&) { return Status(*as_json); }};
}

}  // namespace usl::cli
