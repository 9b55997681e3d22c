// The loader as the guest's programs see it: each shape of ELF program is started through it and tells how it finds
// its stack, auxv, memory and registers. What is expected is what Linux does for a native exec.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/fake_kernel.h"

namespace usl::loader_test {
namespace {

std::string Guest(const std::string& name) {
  return std::string(USL_GUEST_DIR) + "/" + name;
}

bool Exited(const Outcome& outcome, int code) {
  return WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == code;
}

uint64_t Hex(const Outcome& outcome, const std::string& key) {
  const auto found = outcome.values.find(key);
  return found == outcome.values.end() ? 0 : std::stoull(found->second, nullptr, 16);
}

void ExpectValue(const Outcome& outcome, const std::string& key, const std::string& value) {
  const auto found = outcome.values.find(key);
  ASSERT_NE(found, outcome.values.end()) << key << " is missing in:\n" << outcome.output;
  EXPECT_EQ(found->second, value) << key;
}

// The checksum of guest/probe.c.
std::string Sum(const std::vector<std::string>& strings) {
  uint64_t sum = 0;
  for (const std::string& string : strings) {
    for (const char c : string) sum = sum * 31 + static_cast<unsigned char>(c);
  }
  char text[32];
  snprintf(text, sizeof(text), "%lx", static_cast<unsigned long>(sum));
  return text;
}

// What holds for the probe in every shape.
void ExpectSound(const Outcome& outcome) {
  ASSERT_TRUE(Exited(outcome, 7)) << outcome.status << "\n" << outcome.output;
  for (const char* key : {"phdr_ok", "phnum_ok", "entry_ok", "vdso_ok", "random_ok", "stack_aligned", "bss_clear",
                          "data_ok", "var_aligned", "pico_page", "brk_grows"}) {
    ExpectValue(outcome, key, "1");
  }
  ExpectValue(outcome, "loader_mappings", "0");
  ExpectValue(outcome, "open_fds", "0");
}

class EveryShape : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (access(Guest(GetParam()).c_str(), X_OK) != 0) GTEST_SKIP() << "not built: no compiler for it";
  }
  static bool Dynamic() {
    const std::string name = GetParam();
    return name.find("static") == name.npos && name != "musl";
  }
  static bool Fixed() {
    const std::string name = GetParam();
    return name == "static" || name == "no_pie" || name == "musl";
  }
};

INSTANTIATE_TEST_SUITE_P(Elf, EveryShape,
                         testing::Values("static", "static_pie", "pie", "no_pie", "exec_stack", "aligned",
                                         "aligned_static_pie", "musl", "musl_dynamic"),
                         [](const auto& shape) { return std::string(shape.param); });

TEST_P(EveryShape, StartsAsOnLinux) {
  const Outcome outcome = RunGuest({.program = Guest(GetParam()),
                                    .argv = {"probe", "one", ""},
                                    .envp = {"A=1", "B=2"},
                                    .execfn = "/guest/a-name-longer-than-15"});
  ExpectSound(outcome);
  EXPECT_EQ(outcome.hypercalls, 1);
  ExpectValue(outcome, "argc", "3");
  ExpectValue(outcome, "argv0", "probe");
  ExpectValue(outcome, "argv2", "");
  ExpectValue(outcome, "envp_count", "2");
  ExpectValue(outcome, "envp_sum", Sum({"A=1", "B=2"}));
  ExpectValue(outcome, "execfn", "/guest/a-name-longer-than-15");
  ExpectValue(outcome, "comm", "a-name-longer-t");
  EXPECT_EQ(Hex(outcome, "base") != 0, Dynamic());
  ExpectValue(outcome, "stack_permissions", std::string(GetParam()) == "exec_stack" ? "rwxp" : "rw-p");
}

TEST_P(EveryShape, AddressesAreRandom) {
  const Start start{.program = Guest(GetParam())};
  const Outcome first = RunGuest(start), second = RunGuest(start);
  ExpectSound(first);
  EXPECT_NE(Hex(first, "stack"), Hex(second, "stack"));
  EXPECT_NE(Hex(first, "brk"), Hex(second, "brk"));
  EXPECT_EQ(Hex(first, "image") == Hex(second, "image"), Fixed());
  if (Dynamic()) {
    EXPECT_NE(Hex(first, "base"), Hex(second, "base"));
  }
}

TEST_P(EveryShape, AuxvEntriesAreReplaced) {
  const Outcome outcome =
      RunGuest({.program = Guest(GetParam()), .aux = {{AT_UID, 4321}, {AT_EGID, 77}, {AT_SECURE, 1}}});
  ExpectSound(outcome);
  ExpectValue(outcome, "uid", "4321");
  ExpectValue(outcome, "egid", "77");
  ExpectValue(outcome, "secure", "1");
}

TEST_P(EveryShape, AnInterpreterLearnsItsBinary) {
  const Outcome without = RunGuest({.program = Guest(GetParam())});
  ExpectValue(without, "execfd", "-1");
  // An odd and an even number of arguments: the stack's alignment.
  for (const char* argument : {"", "one more"}) {
    Start start{.program = Guest(GetParam()), .argv = {"probe"}, .envp = {"A=1"}, .execfn = "/binary"};
    if (*argument) start.argv.push_back(argument);
    start.change_plan = [](protocol::ExecPlan& plan) { plan.exec_fd = 1; };
    const Outcome outcome = RunGuest(start);
    ExpectSound(outcome);
    ExpectValue(outcome, "execfd", "1");
    ExpectValue(outcome, "envp_sum", Sum({"A=1"}));
    ExpectValue(outcome, "execfn", "/binary");
  }
}

TEST_P(EveryShape, ScriptArgumentsComeFirst) {
  const Outcome outcome = RunGuest({.program = Guest(GetParam()),
                                    .argv = {"script", "x", "y"},
                                    .envp = {"A=1"},
                                    .prefix = {"/bin/interpreter", "-e -x", "/dir/script"},
                                    .drop = 1,
                                    .execfn = "/dir/script"});
  ExpectSound(outcome);
  ExpectValue(outcome, "argc", "5");
  ExpectValue(outcome, "argv_sum", Sum({"/bin/interpreter", "-e -x", "/dir/script", "x", "y"}));
  ExpectValue(outcome, "argv1", "-e -x");
  ExpectValue(outcome, "argv4", "y");
  ExpectValue(outcome, "envp_sum", Sum({"A=1"}));
}

TEST_P(EveryShape, HugeArgumentsAndEnvironment) {
  std::vector<std::string> argv, envp;
  for (int i = 0; i < 30'000; ++i) argv.push_back("argument number " + std::to_string(i) + std::string(15, 'x'));
  for (int i = 0; i < 10; ++i) envp.push_back("E" + std::to_string(i) + "=" + std::string(50'000, 'e'));
  const Outcome outcome = RunGuest({.program = Guest(GetParam()), .argv = argv, .envp = envp});
  ExpectSound(outcome);
  ExpectValue(outcome, "argv_count", "30000");
  ExpectValue(outcome, "argv_sum", Sum(argv));
  ExpectValue(outcome, "envp_sum", Sum(envp));
}

TEST(LoaderTest, AtMostOneArgumentIsDroppedFromNone) {
  // Linux gives a program that is started without arguments an empty first one.
  const Outcome outcome = RunGuest({.program = Guest("pie"), .argv = {}, .prefix = {"/bin/sh", "/s"}, .drop = 3});
  ExpectSound(outcome);
  ExpectValue(outcome, "argc", "2");
  ExpectValue(outcome, "argv1", "/s");
}

TEST(LoaderTest, EveryPrefixCountKeepsTheStackAligned) {
  std::vector<std::string> prefix;
  for (int i = 0; i <= protocol::kMaxPrefixArgs; ++i) {
    const Outcome outcome =
        RunGuest({.program = Guest("static"), .prefix = prefix, .execfn = std::string(100 + i, 'n')});
    ExpectSound(outcome);
    ExpectValue(outcome, "argc", std::to_string(prefix.size() + 1));
    prefix.push_back(std::string(i, 'p'));
  }
}

TEST(LoaderTest, RegistersAreClear) {
  EXPECT_TRUE(Exited(RunGuest({.program = Guest("registers")}), 0));
}

// The way out for traced tasks.
void RestoreMask(protocol::ExecPlan& plan) {
  plan.flags |= protocol::kPlanRestoreSignalMask;
  plan.signal_mask = 0x2200;
}

TEST(LoaderTest, RegistersAreClearBehindASignalFrame) {
  EXPECT_TRUE(Exited(RunGuest({.program = Guest("registers"), .change_plan = RestoreMask}), 0));
}

TEST_P(EveryShape, StartsWithTheMaskOfThePlan) {
  const Outcome outcome = RunGuest({.program = Guest(GetParam()), .change_plan = RestoreMask});
  ExpectSound(outcome);
  ExpectValue(outcome, "blocked", "2200");
}

TEST(LoaderTest, PicoPageMayLieElsewhere) {
  const Outcome outcome = RunGuest({.program = Guest("pie"), .pico_base = 0x7F0000});
  ASSERT_TRUE(Exited(outcome, 7));
  ExpectValue(outcome, "loader_mappings", "0");
}

TEST(LoaderTest, SystemProgramsRun) {
  EXPECT_TRUE(Exited(RunGuest({.program = "/bin/true", .argv = {"true"}}), 0));
  const Outcome shell = RunGuest({.program = "/bin/sh", .argv = {"sh", "-c", "echo $((6 * 7)) $0"}});
  EXPECT_TRUE(Exited(shell, 0));
  EXPECT_EQ(shell.output, "42 sh\n");
  if (access("/usr/bin/python3", X_OK) == 0) {
    const Outcome python =
        RunGuest({.program = "/usr/bin/python3",
                  .argv = {"/usr/bin/python3", "-c", "import json; print(json.dumps(list(range(3))))"},
                  .execfn = "/usr/bin/python3"});
    EXPECT_TRUE(Exited(python, 0)) << python.output;
    EXPECT_EQ(python.output, "[0, 1, 2]\n");
  }
}

TEST(LoaderTest, TheDynamicLinkerAsAProgram) {
  const Outcome outcome = RunGuest({.program = "/lib64/ld-linux-x86-64.so.2", .argv = {"ld.so", Guest("pie"), "x"}});
  ASSERT_TRUE(Exited(outcome, 7)) << outcome.output;
  ExpectValue(outcome, "argc", "2");
  ExpectValue(outcome, "base", "0");
}

TEST(LoaderTest, ARefusedOrUnknownPlanEndsItBySigsegv) {
  const Outcome refused = RunGuest({.program = "/etc/passwd"});
  EXPECT_TRUE(WIFSIGNALED(refused.status) && WTERMSIG(refused.status) == SIGSEGV);
  const Outcome version =
      RunGuest({.program = Guest("pie"), .change_plan = [](protocol::ExecPlan& plan) { ++plan.version; }});
  EXPECT_TRUE(WIFSIGNALED(version.status) && WTERMSIG(version.status) == SIGSEGV);
}

TEST(LoaderTest, AHintThatIsTakenFallsBack) {
  const Outcome outcome = RunGuest({.program = Guest("aligned"), .change_plan = [](protocol::ExecPlan& plan) {
                                      plan.image.hint = 0x10000;  // the pico page is there
                                      plan.image.span_start = 0;
                                    }});
  ExpectSound(outcome);
}

// The stub for traced tasks.
Start ByStub(const std::string& mode, long answer) {
  return {.program = Guest("caller"), .argv = {"caller", mode}, .stub_answer = answer, .stub_program = Guest("pie")};
}

TEST(StubTest, ExecveAndExecveatGoOn) {
  for (const auto& [mode, answer] : {std::pair("execve", 0L), std::pair("execveat", 1L)}) {
    const Outcome outcome = RunGuest(ByStub(mode, answer));
    ExpectSound(outcome);
    EXPECT_EQ(outcome.stub_calls, 1);
    EXPECT_EQ(outcome.hypercalls, 2);
    ExpectValue(outcome, "argc", "3");
    ExpectValue(outcome, "argv2", mode);
    ExpectValue(outcome, "envp_sum", Sum({"STUB=1"}));
  }
}

TEST(StubTest, AStrangerReturnsUnharmed) {
  const Outcome outcome = RunGuest(ByStub("execve", -EAGAIN));
  ASSERT_TRUE(Exited(outcome, 9)) << outcome.output;
  ExpectValue(outcome, "result", "0");  // the answer that its own call had
  ExpectValue(outcome, "kept", "1");
}

TEST(StubTest, AFailedExecReturnsItsError) {
  const Outcome outcome = RunGuest(ByStub("fault", 0));
  ASSERT_TRUE(Exited(outcome, 9)) << outcome.output;
  ExpectValue(outcome, "result", "-14");
  ExpectValue(outcome, "kept", "1");
}

}  // namespace
}  // namespace usl::loader_test
