#include "manager/border_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace usl::manager {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

PathMap Map() {
  RunOptions options{.rootfs = "/trees/debian"};
  options.volumes.push_back({.host_path = "/home/ann", .guest_path = "/mnt/host/home/ann"});
  return PathMap::OfShared(options, "/");
}

TEST(BorderEnvironment, NothingCrossesWithoutTheList) {
  EXPECT_THAT(SharedEnvironment({"SECRET=1", "USLENVX=SECRET"}, Border::kToGuest, Map()), IsEmpty());
}

TEST(BorderEnvironment, PlainNamesPathsAndLists) {
  const std::vector<std::string> host{"USLENV=A:B/p:C/l:D/p:E/l:GONE",
                                      "A=x=y",
                                      "B=/home/ann/src",
                                      "D=/etc/passwd",
                                      "C=/home/ann/a:/usr/bin:/home/ann/../ann/b:rel",
                                      "E=/usr"};
  EXPECT_THAT(SharedEnvironment(host, Border::kToGuest, Map()),
              ElementsAre("A=x=y", "B=/mnt/host/home/ann/src", "C=/mnt/host/home/ann/a:/mnt/host/home/ann/b",
                          "USLENV=A:B/p:C/l:D/p:E/l:GONE"));
  EXPECT_THAT(SharedEnvironment({"USLENV=B/p:C/p", "B=/mnt/host/home/ann/x", "C=/etc/passwd"}, Border::kToHost, Map()),
              ElementsAre("B=/home/ann/x", "USLENV=B/p:C/p"));
}

TEST(BorderEnvironment, Directions) {
  const std::vector<std::string> both{"WSLENV=A/u:B/w:C/uw:WSLENV", "A=1", "B=2", "C=3"};
  EXPECT_THAT(SharedEnvironment(both, Border::kToGuest, Map()), ElementsAre("A=1", "WSLENV=A/u:B/w:C/uw:WSLENV"));
  EXPECT_THAT(SharedEnvironment(both, Border::kToHost, Map()), ElementsAre("B=2", "WSLENV=A/u:B/w:C/uw:WSLENV"));
}

TEST(BorderEnvironment, UslenvWinsAndOddListsDoNoHarm) {
  EXPECT_THAT(SharedEnvironment({"WSLENV=A", "USLENV=::/p:B//:=", "A=1", "B=2"}, Border::kToGuest, Map()),
              ElementsAre("B=2", "USLENV=::/p:B//:="));
}

// On the way to an instance that runs already: the client does not know the instance's mounts.
TEST(BorderEnvironment, ThroughAnInstance) {
  const std::vector<std::string> host{"USLENV=A:B/p:C/w:D/p", "A=1", "B=/home/ann/x", "C=3", "D=/etc", "SECRET=s"};
  auto sent = ListedEnvironment(host);
  EXPECT_THAT(sent, ElementsAre("A=1", "B=/home/ann/x", "D=/etc", "USLENV=A:B/p:C/w:D/p"));
  sent.push_back("TERM=dumb");
  EXPECT_THAT(TranslateListed(sent, Map()),
              ElementsAre("A=1", "B=/mnt/host/home/ann/x", "USLENV=A:B/p:C/w:D/p", "TERM=dumb"));
  EXPECT_THAT(TranslateListed({"TERM=dumb", "A=1"}, Map()), ElementsAre("TERM=dumb", "A=1"));
  EXPECT_THAT(ListedEnvironment({"A=1"}), IsEmpty());
}

TEST(BorderEnvironment, Proxies) {
  EXPECT_THAT(ProxyEnvironment({"http_proxy=a", "HTTPS_PROXY=b", "no_proxy=c", "my_http_proxy=d"}),
              ElementsAre("http_proxy=a", "HTTPS_PROXY=b", "no_proxy=c"));
}

}  // namespace
}  // namespace usl::manager
