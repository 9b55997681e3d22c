// What the attack programs share. An attack is a function with a name; it returns whether it got out. The driver
// (test_escape.py) runs each natively first, as the control that it can succeed, and then inside USL, where it must
// not.
//
// Plain POSIX and Linux calls only, linked statically: the programs run in any tree, and natively.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace escape {

// What the host side's secrets start with; random bytes follow, which only the driver knows.
inline constexpr char kMarker[] = "USL-HOST-SECRET:";

enum class Control {
  kEscapes,  // run natively by an ordinary user it gets through; if not, the test proves nothing and fails
  kDepends,  // as above if the host is configured for it (user keyrings, io_uring, Yama...)
  kNone,     // natively an ordinary user cannot even try, or there is nothing of USL's to attack
};

struct Outcome {
  bool escaped;
  std::string how;
};

Outcome Held(std::string how = "refused");
// Held, with the text of errno.
Outcome HeldErrno(const std::string& call);
Outcome Escaped(std::string how);

struct Attack {
  const char* name;  // FAMILY.NAME
  Control control;
  // Words for the driver: "user" runs it as uid 1000 of the guest, "nonet" with --network none, "listed" with lists of
  // addresses (policy.cc), "view" once more in the
  // view of the host's root, "volume" once more with a volume (-v) as the work directory, "stdin=..." says what
  // standard input is (test_escape.py).
  const char* needs;
  Outcome (*run)();
};

// Registers at start-up.
struct Register {
  explicit Register(const Attack& attack);
};
#define ESCAPE_ATTACK(function, name, control, needs) \
  static const ::escape::Register register_##function({name, ::escape::Control::control, needs, function})

// A fact about the host that the driver passed as NAME=VALUE. Ends the program where it is missing.
const std::string& Fact(const std::string& name);
long FactNumber(const std::string& name);
inline std::string Secret() {
  return Fact("secret");
}
inline std::string HostDirectory() {
  return Fact("host_directory");
}
inline pid_t Victim() {
  return static_cast<pid_t>(FactNumber("victim"));
}

// Is that a control run, on the host itself?
bool IsNative();
// A new directory below the fact `work`, which is made the current one.
std::string EnterWorkDirectory();

// A path from a directory `deep` levels below anything to the absolute `path`.
std::string Climb(const std::string& path);
std::string ReadAll(int fd);
bool HasMarker(const std::string& text);
// Escaped if the descriptor (or -1 with errno) or the file gives the secret.
Outcome JudgeFd(int fd, const std::string& call);
Outcome TryOpen(const std::string& path);
// The first that escaped, or the last.
Outcome FirstEscape(const std::vector<std::function<Outcome()>>& tries);
// Runs `body` in a forked child; its exit status, or 128 + the signal.
int InChild(const std::function<int()>& body);
int WaitStatus(pid_t child);
bool WriteFile(const std::string& path, const std::string& text, mode_t mode = 0644);

// Passes a little time, so that races meet at different places.
inline void Spin(unsigned rounds) {
  for (unsigned i = 0; i < rounds; ++i) asm volatile("");
}

// Runs `attempt` until it returns true (escaped), with `disturb` called without pause by a second thread; ends after
// two seconds or `tries`. The text for Held has the number of tries.
Outcome Race(const std::string& what, const std::function<void(unsigned round)>& disturb,
             const std::function<bool()>& attempt, int tries = 20000);

}  // namespace escape
