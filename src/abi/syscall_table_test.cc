#include "abi/syscall_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>
#include <string_view>

#include "abi/constants.h"

namespace usl::abi {
namespace {

TEST(SyscallTable, HasEveryCallOfTheAbi) {
  for (uint32_t nr = 0; nr <= 336; ++nr) EXPECT_NE(FindSyscall(nr), nullptr) << nr;
  for (uint32_t nr = 337; nr < 424; ++nr) EXPECT_EQ(FindSyscall(nr), nullptr) << nr;
  for (uint32_t nr = 424; nr <= 470; ++nr) EXPECT_NE(FindSyscall(nr), nullptr) << nr;
  EXPECT_EQ(AllSyscalls().size(), 384u);
}

TEST(SyscallTable, DoesNotKnowX32AndBeyond) {
  for (uint32_t nr : {471u, 512u, 547u, 0x40000000u, 0x40000000u | 59, 0xffffffffu}) {
    EXPECT_EQ(FindSyscall(nr), nullptr) << nr;
  }
}

// The headers' numbers are the reference; a slip in the table would run another call's rule.
TEST(SyscallTable, NamesAgreeWithTheHeaders) {
  struct {
    long nr;
    const char* name;
  } known[] = {{SYS_read, "read"},          {SYS_mmap, "mmap"},
               {SYS_execve, "execve"},      {SYS_getdents64, "getdents64"},
               {SYS_openat, "openat"},      {SYS_prlimit64, "prlimit64"},
               {SYS_seccomp, "seccomp"},    {SYS_statx, "statx"},
               {SYS_openat2, "openat2"},    {SYS_clone3, "clone3"},
               {SYS_mseal, "mseal"},        {SYS_set_mempolicy_home_node, "set_mempolicy_home_node"},
               {SYS_kcmp, "kcmp"},          {SYS_bpf, "bpf"},
               {SYS_renameat2, "renameat2"}};
  for (const auto& call : known) EXPECT_STREQ(FindSyscall(call.nr)->name, call.name);
}

TEST(SyscallTable, RowsAreConsistent) {
  std::set<std::string> names;
  for (const SyscallRow& row : AllSyscalls()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(FindSyscall(row.nr), &row);
    const bool refused = row.decision == Decision::kRefused;
    EXPECT_EQ(row.error > 0, refused) << row.name;
    EXPECT_EQ(row.completeness == Completeness::kNone, refused) << row.name;
    std::string_view reason = row.reason;
    EXPECT_TRUE(reason.size() > 10 && reason.ends_with('.')) << row.name;
    // Arguments stand at the front.
    for (int i = row.ArgumentCount(); i < 6; ++i) EXPECT_EQ(row.arguments[i], ArgType::kNone) << row.name;
  }
}

// Whatever opens a name space of the host is never native (design, safety rule 4).
TEST(SyscallTable, NamesOfTheHostAreNeverNative) {
  for (std::string name : {"open",
                           "openat",
                           "openat2",
                           "creat",
                           "execveat",
                           "connect",
                           "bind",
                           "listen",
                           "sendmsg",
                           "sendmmsg",
                           "mq_open",
                           "shmget",
                           "semget",
                           "msgget",
                           "add_key",
                           "keyctl",
                           "request_key",
                           "io_uring_setup",
                           "bpf",
                           "perf_event_open",
                           "userfaultfd",
                           "memfd_secret",
                           "fanotify_init",
                           "mount",
                           "unshare",
                           "setns",
                           "clone",
                           "clone3",
                           "name_to_handle_at",
                           "open_by_handle_at",
                           "inotify_add_watch",
                           "fchmod",
                           "fchown",
                           "fsetxattr",
                           "utimensat",
                           "linkat",
                           "pidfd_open",
                           "pidfd_getfd",
                           "pidfd_send_signal",
                           "process_madvise",
                           "landlock_restrict_self"}) {
    bool found = false;
    for (const SyscallRow& row : AllSyscalls()) {
      if (row.name != name) continue;
      found = true;
      EXPECT_TRUE(row.decision == Decision::kChecked || row.decision == Decision::kServed ||
                  row.decision == Decision::kRefused)
          << name;
    }
    EXPECT_TRUE(found) << name;
  }
}

TEST(SyscallTable, MayNotifyMacroSelectsTheSameRows) {
  std::set<uint32_t> selected;
#define USL_MAY_NOTIFY(nr, name) selected.insert(nr);
#include "abi/syscalls.def"
  for (const SyscallRow& row : AllSyscalls()) EXPECT_EQ(selected.contains(row.nr), row.MayNotify()) << row.name;
}

}  // namespace
}  // namespace usl::abi
