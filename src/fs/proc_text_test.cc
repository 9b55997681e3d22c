#include "fs/proc_text.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <algorithm>

namespace usl::fs {
namespace {

TEST(ProcNumber, TakesOnlyPlainNumbers) {
  EXPECT_EQ(ParseProcNumber("1"), 1);
  EXPECT_EQ(ParseProcNumber("4194304"), 4194304);
  for (const char* name : {"", "0", "01", "-1", "+1", "1a", "99999999999", " 1"})
    EXPECT_FALSE(ParseProcNumber(name)) << name;
}

TEST(Octal, EscapesAndUnescapes) {
  EXPECT_EQ(EscapeOctal("a b\n\\", " \n\\"), "a\\040b\\012\\134");
  EXPECT_EQ(UnescapeOctal("a\\040b\\012\\134\\9"), "a b\n\\\\9");
}

TEST(Status, RewritesIdentityAndKeepsTheRest) {
  const std::string host =
      "Name:\tcat\nUmask:\t0077\nState:\tR (running)\nTgid:\t50\nNgid:\t3\nPid:\t51\nPPid:\t40\nTracerPid:\t39\n"
      "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nFDSize:\t64\nGroups:\t27 1000 \nNStgid:\t50\n"
      "NSpid:\t51\nNSpgid:\t50\nNSsid:\t30\nVmPeak:\t 100 kB\nCapInh:\t0000000000000000\nCapEff:\t0000000000000000\n"
      "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
  cred::Credentials credentials = cred::UserCredentials(7, 8, {9, 10});
  const std::string guest = RewriteStatus(host, {.tgid = 1,
                                                 .pid = 2,
                                                 .parent = 3,
                                                 .tracer = 4,
                                                 .group = 5,
                                                 .session = 6,
                                                 .umask = 022,
                                                 .credentials = &credentials});
  EXPECT_EQ(guest,
            "Name:\tcat\nUmask:\t0022\nState:\tR (running)\nTgid:\t1\nNgid:\t0\nPid:\t2\nPPid:\t3\nTracerPid:\t4\n"
            "Uid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nFDSize:\t64\nGroups:\t9 10 \nNStgid:\t1\nNSpid:\t2\nNSpgid:\t5\n"
            "NSsid:\t6\nVmPeak:\t 100 kB\nCapInh:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t0\n"
            "Seccomp:\t0\nSeccomp_filters:\t0\n");
  EXPECT_EQ(StatusNumber(host, "PPid:"), 40);
  EXPECT_EQ(StatusNumber(host, "Missing:"), 0);
}

TEST(Stat, RewritesFieldsBehindAHostileName) {
  std::string host = "50 (a) (b)) S 40 50 30 34816 50 0";
  for (int field = 10; field <= 52; ++field) host += " " + std::to_string(field);
  host += "\n";
  const auto group = [](pid_t id) { return id == 50 ? 1 : 0; };
  const std::string shown = RewriteStat(host, {.pid = 1, .parent = 2, .shown_group = group, .permitted = true});
  EXPECT_TRUE(shown.starts_with("1 (a) (b)) S 2 1 0 34816 1 0 10 11"));
  EXPECT_TRUE(shown.ends_with(" 51 52\n"));
  const std::string hidden = RewriteStat(host, {.pid = 1, .parent = 2, .shown_group = group, .permitted = false});
  EXPECT_NE(hidden.find(" 25 1 1 0 0 0 31 32 33 34 0 36 "), std::string::npos) << hidden;
  EXPECT_TRUE(hidden.ends_with(" 44 0 0 0 0 0 0 0 0\n"));
  EXPECT_EQ(RewriteStat("garbage", {}), "");
  const std::string own = RewriteStat(host, {.pid = 1, .shown_group = group, .permitted = true, .running = true});
  EXPECT_TRUE(own.starts_with("1 (a) (b)) R 0 "));
}

TEST(Maps, RoundTripsAndRenames) {
  const std::string host =
      "00400000-00401000 r-xp 00001000 fe:01 123                                /usr/bin/a b\\012c\n"
      "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
      "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n"
      "Size:                  4 kB\nVmFlags: rd wr mr\n";
  EXPECT_EQ(RewriteMaps(host, [](MapsLine&) {}), host);
  const std::string guest = RewriteMaps(host, [](MapsLine& line) {
    if (line.path == "/usr/bin/a b\nc") {
      EXPECT_EQ(line.device, makedev(0xfe, 1));
      line.path = "/x";
      line.device = makedev(0, 20);
      line.inode = 5;
    }
  });
  EXPECT_TRUE(guest.starts_with("00400000-00401000 r-xp 00001000 00:14 5                                  /x\n"))
      << guest;
}

TEST(NumaMaps, RenamesFilesByAddress) {
  const std::string host = "00400000 default file=/usr/bin/x mapped=1 N0=1\n7f0000000000 default anon=1 N0=1\n";
  EXPECT_EQ(RewriteNumaMaps(host,
                            [](uint64_t address, std::string_view path) {
                              EXPECT_EQ(address, 0x400000u);
                              EXPECT_EQ(path, "/usr/bin/x");
                              return std::string("/a b");
                            }),
            "00400000 default file=/a\\040b mapped=1 N0=1\n7f0000000000 default anon=1 N0=1\n");
}

TEST(FilterSocketTable, KeepsTheGivenSocketsWithTheirUsers) {
  const std::string_view host =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
      "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0\n"
      "   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0\n"
      "   2: 0100007F:1F92 00000000:0000 06 00000000:00000000 03:00001770 00000000     0        0 0 3 0\n";
  EXPECT_EQ(
      FilterSocketTable(host, {{111, 33}, {0, 5}}),
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
      "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 111 1 0 100 0\n");
  EXPECT_EQ(std::ranges::count(FilterSocketTable(host, {}), '\n'), 1);
  EXPECT_EQ(FilterSocketTable("", {}), "");
  EXPECT_EQ(FilterSocketTable("head\nshort line\n", {{1, 1}}), "head\n");
}

TEST(FilterUnixTable, GivesTheGuestsNames) {
  const std::string_view host =
      "Num       RefCount Protocol Flags    Type St Inode Path\n"
      "0000000000000000: 00000002 00000000 00010000 0001 01 111 /proc/self/fd/9/a\n"
      "0000000000000000: 00000002 00000000 00010000 0001 01 222 /run/host.sock\n"
      "0000000000000000: 00000003 00000000 00000000 0001 03   333\n";
  const auto name = [](std::string_view path) { return path == "/proc/self/fd/9/a" ? "/run/my.sock" : ""; };
  EXPECT_EQ(FilterUnixTable(host, {{111, 0}, {333, 0}}, name),
            "Num       RefCount Protocol Flags    Type St Inode Path\n"
            "0000000000000000: 00000002 00000000 00010000 0001 01 111 /run/my.sock\n"
            "0000000000000000: 00000003 00000000 00000000 0001 03   333\n");
}

}  // namespace
}  // namespace usl::fs
