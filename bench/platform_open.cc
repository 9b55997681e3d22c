// Ways to answer open: how long open + close takes a guest, by the way in which the fd is donated.
//
//   usl_bench_open [--rounds N] [--repeat N] [--condition idle|busy|two|one] [--think US] [--quiet SECONDS]
//                  [WAY...]
//
// The host's ADDFD ignores the synchronous wake-up, so the host places guest and receiver on different CPUs, and each
// wake-up of an idle CPU is expensive, most of all in a virtual machine. src/platform/README.md has the results.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "platform/fd_passing.h"
#include "platform/listener.h"

namespace {
using usl::UniqueFd;
using usl::platform::Listener;
using usl::platform::Notification;

struct Settings {
  int rounds = 4000;
  int repeat = 9;
  bool busy = false;  // one CPU-bound process beside
  int guests = 1;
  bool one_cpu = false;
  int think = 0;  // us of computing between two rounds, not counted: idle CPUs fall asleep meanwhile
  int quiet = 0;  // seconds to wait in all for moments in which nobody else uses the machine; 0 = do not care
};

enum class Way {
  kValue,          // no fd at all: what a served call costs at least
  kSendFlag,       // ADDFD with SECCOMP_ADDFD_FLAG_SEND
  kTwoSteps,       // ADDFD, SEND
  kGuestSend,      // guest pinned, ADDFD|SEND, guest restored afterwards (it may see its mask)
  kBothSend,       // the same with the receiver pinned too
  kGuestSteps,     // guest pinned, ADDFD, guest restored, SEND
  kBothSteps,      // guest and receiver pinned, ADDFD, both restored, SEND
  kReceiverSteps,  // receiver pinned, ADDFD, restored, SEND
  kFixedReceiver,  // receiver pinned for the whole run; guest pinned, ADDFD, restored, SEND
  kFixedBoth,      // both pinned for the whole run: the bound; ADDFD, SEND
  kFixedBothSend,  // the same with the flag
  kIdleReceiver,   // receiver is SCHED_IDLE for the whole run, so that its CPU counts as idle; ADDFD, SEND
  kIdleSend,       // the same with the flag
  kBatchReceiver,  // SCHED_BATCH; ADDFD, SEND
  kProduct,        // what Listener::AddFdAndRespond does
};
constexpr const char* kNames[] = {"value",        "send-flag",  "two-steps",  "guest+send",    "both+send",
                                  "guest+steps",  "both+steps", "recv+steps", "fixrecv+steps", "fixboth+steps",
                                  "fixboth+send", "idle+steps", "idle+send",  "batch+steps",   "product"};

struct Mask {
  unsigned long bits[16] = {};  // 1024 CPUs
  static Mask Of(int cpu) {
    Mask mask;
    mask.bits[cpu / 64] = 1UL << (cpu % 64);
    return mask;
  }
  static Mask Get(pid_t tid) {
    Mask mask;
    syscall(SYS_sched_getaffinity, tid, sizeof mask.bits, mask.bits);
    return mask;
  }
  void Set(pid_t tid) const { syscall(SYS_sched_setaffinity, tid, sizeof bits, bits); }
};

int AddFd(const Listener& listener, uint64_t id, int fd, uint32_t flags) {
  seccomp_notif_addfd request{};
  request.id = id;
  request.flags = flags;
  request.srcfd = static_cast<uint32_t>(fd);
  return ioctl(listener.fd(), SECCOMP_IOCTL_NOTIF_ADDFD, &request);
}

void Steps(const Listener& listener, uint64_t id, int fd) {
  int number = AddFd(listener, id, fd, 0);
  if (number >= 0) (void)listener.Respond(id, number);
}

void Answer(Way way, const Listener& listener, const Notification& call, int fd) {
  const uint64_t id = call.id;
  switch (way) {
    case Way::kValue: (void)listener.Respond(id, 100); break;
    case Way::kSendFlag:
    case Way::kFixedBothSend:
    case Way::kIdleSend: AddFd(listener, id, fd, SECCOMP_ADDFD_FLAG_SEND); break;
    case Way::kTwoSteps:
    case Way::kFixedBoth:
    case Way::kIdleReceiver:
    case Way::kBatchReceiver: Steps(listener, id, fd); break;
    case Way::kGuestSend: {
      Mask guest = Mask::Get(call.tid);
      Mask::Of(sched_getcpu()).Set(call.tid);
      AddFd(listener, id, fd, SECCOMP_ADDFD_FLAG_SEND);
      guest.Set(call.tid);
      break;
    }
    case Way::kBothSend: {
      Mask guest = Mask::Get(call.tid), own = Mask::Get(0), here = Mask::Of(sched_getcpu());
      here.Set(0);
      here.Set(call.tid);
      AddFd(listener, id, fd, SECCOMP_ADDFD_FLAG_SEND);
      guest.Set(call.tid);
      own.Set(0);
      break;
    }
    case Way::kGuestSteps:
    case Way::kFixedReceiver: {
      Mask guest = Mask::Get(call.tid);
      Mask::Of(sched_getcpu()).Set(call.tid);
      int number = AddFd(listener, id, fd, 0);
      guest.Set(call.tid);
      if (number >= 0) (void)listener.Respond(id, number);
      break;
    }
    case Way::kBothSteps: {
      static const Mask own = Mask::Get(0);  // the receiver's own never changes here
      Mask guest = Mask::Get(call.tid), here = Mask::Of(sched_getcpu());
      here.Set(0);
      here.Set(call.tid);
      int number = AddFd(listener, id, fd, 0);
      guest.Set(call.tid);
      own.Set(0);
      if (number >= 0) (void)listener.Respond(id, number);
      break;
    }
    case Way::kReceiverSteps: {
      static const Mask own = Mask::Get(0);
      Mask::Of(sched_getcpu()).Set(0);
      int number = AddFd(listener, id, fd, 0);
      own.Set(0);
      if (number >= 0) (void)listener.Respond(id, number);
      break;
    }
    case Way::kProduct: (void)listener.AddFdAndRespond(call, fd, false); break;
  }
}

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

struct Shared {
  std::atomic<int> ready, go;
  double nanoseconds[8];
};

// Guest `index` of a run: open and close in a loop, all guests at the same time.
void RunGuest(Shared* shared, int index, const Settings& settings) {
  ++shared->ready;
  while (shared->go == 0) sched_yield();
  for (int i = 0; i < 50; ++i) close(static_cast<int>(syscall(SYS_open, "x", O_RDONLY)));
  double sum = 0;
  for (int i = 0; i < settings.rounds; ++i) {
    double start = Now();
    long fd = syscall(SYS_open, "x", O_RDONLY);
    if (fd < 0) _exit(1);
    close(static_cast<int>(fd));
    double end = Now();
    sum += end - start;
    if (settings.think) {
      while (Now() < end + settings.think * 1e3) {
      }
    }
  }
  shared->nanoseconds[index] = sum / settings.rounds;
}

// The tree of one run: all guests under one filter, whose listener is sent over the socket.
[[noreturn]] void RunTree(int socket, Shared* shared, const Settings& settings) {
  sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_open, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program{4, filter};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  UniqueFd listener(static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | (1UL << 5), &program)));
  if (!listener || !usl::platform::SendFd(socket, listener.get())) _exit(2);
  listener.Reset();
  close(socket);
  for (int i = 1; i < settings.guests; ++i) {
    if (fork() == 0) {
      RunGuest(shared, i, settings);
      _exit(0);
    }
  }
  RunGuest(shared, 0, settings);
  while (wait(nullptr) > 0) {
  }
  _exit(0);
}

pid_t StartBusyLoop() {
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (std::atomic<unsigned> i = 0;; ++i) {
    }
  }
  return pid;
}

// ns for one open + close, the mean over the guests.
double RunOnce(Way way, const Settings& settings) {
  auto* shared =
      static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const Mask before = Mask::Get(0);
  if (settings.one_cpu) Mask::Of(sched_getcpu()).Set(0);  // inherited by the guests
  if (way == Way::kFixedBoth || way == Way::kFixedBothSend) Mask::Of(sched_getcpu()).Set(0);
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return -1;
  UniqueFd ours(sockets[0]), theirs(sockets[1]);
  pid_t tree = fork();
  if (tree == 0) RunTree(theirs.get(), shared, settings);
  theirs.Reset();
  auto fd = usl::platform::ReceiveFd(ours.get());
  if (!fd) return -1;
  Listener listener = std::move(Listener::Adopt(std::move(*fd)).value());
  if (way == Way::kFixedReceiver) Mask::Of(sched_getcpu()).Set(0);
  UniqueFd donated(open("/dev/null", O_RDONLY | O_CLOEXEC));

  // In a child: SCHED_IDLE cannot be left again.
  pid_t receiver = fork();
  if (receiver == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sched_param parameter{0};
    if (way == Way::kIdleReceiver || way == Way::kIdleSend) sched_setscheduler(0, SCHED_IDLE, &parameter);
    if (way == Way::kBatchReceiver) sched_setscheduler(0, SCHED_BATCH, &parameter);
    while (shared->ready < settings.guests) sched_yield();
    shared->go = 1;
    for (;;) {
      auto call = listener.Receive();
      if (!call) _exit(0);
      Answer(way, listener, *call, donated.get());
    }
  }
  pid_t busy = settings.busy ? StartBusyLoop() : 0;
  waitpid(tree, nullptr, 0);
  kill(receiver, SIGKILL);
  waitpid(receiver, nullptr, 0);
  if (busy) {
    kill(busy, SIGKILL);
    waitpid(busy, nullptr, 0);
  }
  before.Set(0);
  double sum = 0;
  for (int i = 0; i < settings.guests; ++i) sum += shared->nanoseconds[i];
  munmap(shared, sizeof(Shared));
  return sum / settings.guests;
}

// CPU seconds that the machine spent on anything, and that this process and its dead children did.
double MachineSeconds() {
  UniqueFd fd(open("/proc/stat", O_RDONLY | O_CLOEXEC));
  char text[256] = {};
  (void)!read(fd.get(), text, sizeof text - 1);
  unsigned long long user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0;
  sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &soft);
  return static_cast<double>(user + nice + system + irq + soft) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double OwnSeconds() {
  double sum = 0;
  for (int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    for (const timeval& part : {usage.ru_utime, usage.ru_stime}) {
      sum += static_cast<double>(part.tv_sec) + static_cast<double>(part.tv_usec) / 1e6;
    }
  }
  return sum;
}

// A run that nobody disturbed, or -1 when the patience is used up.
double RunQuietly(Way way, const Settings& settings, double until) {
  static bool quiet = false;  // as the last run was
  while (Now() < until) {
    double machine = MachineSeconds();
    if (!quiet) {
      usleep(20'000);
      if (MachineSeconds() - machine > 0.001) continue;
    }
    machine = MachineSeconds();
    double own = OwnSeconds(), start = Now();
    double result = RunOnce(way, settings);
    double foreign = (MachineSeconds() - machine) - (OwnSeconds() - own);
    quiet = foreign < 0.05 * (Now() - start) / 1e9 + 0.011;  // a clock tick of doubt
    if (quiet) return result;
  }
  return -1;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  std::string condition = "idle";
  std::vector<Way> ways;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "--rounds" && i + 1 < argc) {
      settings.rounds = atoi(argv[++i]);
    } else if (argument == "--repeat" && i + 1 < argc) {
      settings.repeat = atoi(argv[++i]);
    } else if (argument == "--think" && i + 1 < argc) {
      settings.think = atoi(argv[++i]);
    } else if (argument == "--quiet" && i + 1 < argc) {
      settings.quiet = atoi(argv[++i]);
    } else if (argument == "--condition" && i + 1 < argc) {
      condition = argv[++i];
    } else {
      auto found =
          std::find_if(std::begin(kNames), std::end(kNames), [&](const char* name) { return argument == name; });
      if (found == std::end(kNames)) {
        fprintf(stderr,
                "usage: usl_bench_open [--rounds N] [--repeat N] [--condition idle|busy|two|one] [--think US] "
                "[--quiet SECONDS] [WAY...]\nways:");
        for (const char* name : kNames) fprintf(stderr, " %s", name);
        fprintf(stderr, "\n");
        return 2;
      }
      ways.push_back(static_cast<Way>(found - std::begin(kNames)));
    }
  }
  settings.busy = condition == "busy";
  settings.guests = condition == "two" ? 2 : 1;
  settings.one_cpu = condition == "one";
  if (ways.empty()) {
    for (size_t i = 0; i < std::size(kNames); ++i) ways.push_back(static_cast<Way>(i));
  }
  // Interleaved, so that a disturbance meets all ways alike.
  std::vector<std::vector<double>> results(ways.size());
  const double until = Now() + settings.quiet * 1e9;
  for (int run = 0; run < settings.repeat; ++run) {
    for (size_t i = 0; i < ways.size(); ++i) {
      double result = settings.quiet ? RunQuietly(ways[i], settings, until) : RunOnce(ways[i], settings);
      if (result >= 0) results[i].push_back(result / 1000);
    }
  }
  printf("open + close, us, condition %s: least / median / most (runs)\n", condition.c_str());
  for (size_t i = 0; i < ways.size(); ++i) {
    if (results[i].empty()) continue;
    std::sort(results[i].begin(), results[i].end());
    printf("%-14s %7.1f %7.1f %7.1f (%zu)\n", kNames[static_cast<size_t>(ways[i])], results[i].front(),
           results[i][results[i].size() / 2], results[i].back(), results[i].size());
  }
  return 0;
}
