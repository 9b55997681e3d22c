// usl-host: runs a program of the host from inside a guest, where the host's user allowed it. A pico process like any
// other: nothing here is trusted, the server on the host decides.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include "interop/terminal_relay.h"
#include "protocol/control.h"
#include "protocol/control_socket.h"
#include "protocol/interop.h"

namespace usl::interop {
namespace {

using protocol::MessageType;

constexpr int kFailed = 125;
constexpr uint32_t kSession = 1;
constexpr int kPassedOn[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGCONT};

int Fail(const std::string& why) {
  const std::string line = "usl-host: " + why + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  return kFailed;
}

UniqueFd Connect() {
  UniqueFd connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  memcpy(address.sun_path, protocol::kInteropSocket, sizeof protocol::kInteropSocket);
  if (connection && connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    connection.Reset();
  }
  return connection;
}

class Caller {
 public:
  Caller(UniqueFd connection, char** words) : connection_(std::move(connection)), words_(words) {}

  int Run() {
    std::signal(SIGPIPE, SIG_IGN);
    BlockSignals();
    if (isatty(STDIN_FILENO)) {
      if (!relay_.Open()) return Fail(std::string("cannot make a terminal: ") + strerror(errno));
      has_terminal_ = true;
    }
    if (!Launch()) {
      const int error = errno;
      relay_.Restore();
      return Fail(std::string("cannot reach the host: ") + strerror(error));
    }
    relay_.slave().Reset();
    return Wait();
  }

 private:
  // Whatever the terminal sends reaches the program through it; the rest is passed on.
  void BlockSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : kPassedOn) sigaddset(&set, signal);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  bool Launch() {
    protocol::LaunchRequest request;
    for (char** word = words_; *word; ++word) request.argv.emplace_back(*word);
    for (char** entry = environ; *entry; ++entry) request.env.emplace_back(*entry);
    char directory[4096];
    request.cwd = getcwd(directory, sizeof directory) ? directory : "/";
    if (has_terminal_) request.flags |= protocol::kLaunchControllingTerminal;
    const auto payload = protocol::EncodeLaunch(request);
    if (!payload) return errno = payload.error().code(), false;
    const UniqueFd memory(memfd_create("usl-host", MFD_CLOEXEC));
    if (!memory || write(memory.get(), payload->data(), payload->size()) != static_cast<ssize_t>(payload->size())) {
      return false;
    }
    int fds[4];
    for (int i = 0; i < 3; ++i) fds[i] = has_terminal_ && isatty(i) ? relay_.slave().get() : i;
    fds[3] = memory.get();
    const auto sent =
        protocol::SendControl(connection_.get(), {MessageType::kLaunch, kSession, 0, payload->size()}, fds);
    if (!sent) errno = sent.error().code();
    return sent.has_value();
  }

  int Wait() {
    bool input = has_terminal_, output = has_terminal_;
    for (;;) {
      pollfd ready[] = {{connection_.get(), POLLIN, 0},
                        {signals_.get(), POLLIN, 0},
                        {output ? relay_.master() : -1, POLLIN, 0},
                        {input ? STDIN_FILENO : -1, POLLIN, 0}};
      if (poll(ready, 4, -1) < 0 && errno != EINTR) return Fail(std::string("cannot wait: ") + strerror(errno));
      if (ready[2].revents) output = relay_.FromProgram();
      if (ready[3].revents) input = relay_.FromCaller();
      if (ready[1].revents) PassSignals();
      if (ready[0].revents) return Finish();
    }
  }

  void PassSignals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGWINCH) {
        if (has_terminal_) relay_.CopySize();
      } else {
        (void)protocol::SendControl(connection_.get(), {MessageType::kSignal, kSession, signal, 0});
      }
    }
  }

  int Finish() {
    const auto received = protocol::ReceiveControl(connection_.get());
    if (has_terminal_) relay_.Drain();
    relay_.Restore();
    if (!received || received->message.type != MessageType::kExited) return Fail("the host ended the connection");
    const int status = received->message.value;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  UniqueFd connection_, signals_;
  char** words_;
  bool has_terminal_ = false;
  TerminalRelay relay_;
};

}  // namespace
}  // namespace usl::interop

int main(int argc, char** argv) {
  using namespace usl::interop;
  const bool is_option = argc > 1 && argv[1][0] == '-';
  if (argc < 2 || (is_option && std::string(argv[1]) != "--")) {
    Fail("usage: usl-host PROGRAM [ARGUMENT...]: runs a program of the host, where interop.policy allows it");
    return argc > 1 && std::string(argv[1]) == "--help" ? 0 : kFailed;
  }
  char** words = argv + (is_option ? 2 : 1);
  if (!*words) return Fail("no program was given");
  usl::UniqueFd connection = Connect();
  if (!connection) {
    const bool off = errno == ENOENT || errno == ECONNREFUSED;
    return Fail(off ? "programs of the host are off here; on the host, `usl set NAME interop.policy list` (or all) "
                      "turns them on for the next start"
                    : std::string("cannot reach the host: ") + strerror(errno));
  }
  return Caller(std::move(connection), words).Run();
}
