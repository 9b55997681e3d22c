#include "net/unix_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace usl::net {
namespace {

using std::string_literals::operator""s;

class UnixNamesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/usl-names-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    path_ = path;
    auto names = UnixNames::Create(path_);
    ASSERT_TRUE(names);
    names_ = std::move(*names);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  static UniqueFd New(int type) { return UniqueFd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0)); }

  std::string path_;
  std::unique_ptr<UnixNames> names_;
};

TEST_F(UnixNamesTest, NamesBothEndsOfAConnection) {
  UniqueFd listener = New(SOCK_STREAM), client = New(SOCK_STREAM);
  EXPECT_EQ(names_->Local(listener.get()), nullptr);
  NamedSocket* own = *names_->Ensure(listener.get());
  EXPECT_EQ(*names_->Ensure(listener.get()), own);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  NamedSocket* tag = *names_->Ensure(client.get());
  const SocketAddress to = names_->HostAddress(*own);
  ASSERT_EQ(connect(client.get(), to.raw(), to.length), 0);
  names_->DropFile(*tag);
  UniqueFd server(accept(listener.get(), nullptr, nullptr));
  EXPECT_EQ(names_->Local(server.get()), own);
  EXPECT_EQ(names_->PeerOf(client.get()), own);
  client.Reset();
  EXPECT_EQ(names_->PeerOf(server.get()), tag);  // the record outlives the socket
}

TEST_F(UnixNamesTest, AbstractNamesBelongToLivingSockets) {
  UniqueFd one = New(SOCK_DGRAM), two = New(SOCK_DGRAM);
  NamedSocket* first = *names_->Ensure(one.get());
  NamedSocket* second = *names_->Ensure(two.get());
  ASSERT_TRUE(names_->SetAbstractName(*first, "\0name"s));
  EXPECT_EQ(names_->ByAbstractName("\0name"s), first);
  EXPECT_EQ(names_->SetAbstractName(*second, "\0name"s).error(), Error(EADDRINUSE));
  EXPECT_TRUE(names_->IsAlive(*first));
  one.Reset();
  EXPECT_FALSE(names_->IsAlive(*first));
  EXPECT_TRUE(names_->SetAbstractName(*second, "\0name"s));
  EXPECT_EQ(names_->ByAbstractName("\0name"s), second);
}

TEST_F(UnixNamesTest, LivenessOfEachType) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
    UniqueFd fd = New(type);
    NamedSocket* record = *names_->Ensure(fd.get());
    EXPECT_TRUE(names_->IsAlive(*record));
    if (type != SOCK_DGRAM) {
      ASSERT_EQ(listen(fd.get(), 1), 0);
      EXPECT_TRUE(names_->IsAlive(*record));
      // Nobody waits in the queue because of the question.
      pollfd ready{.fd = fd.get(), .events = POLLIN, .revents = 0};
      EXPECT_EQ(poll(&ready, 1, 0), 0);
    }
    fd.Reset();
    EXPECT_FALSE(names_->IsAlive(*record));
  }
}

TEST_F(UnixNamesTest, ForeignNamesAreNone) {
  UniqueFd fd = New(SOCK_DGRAM);
  sockaddr_un foreign{};
  foreign.sun_family = AF_UNIX;
  for (const std::string& path : {"/tmp/x"s, "/proc/self/fd/999/1"s, "/proc/self/fd/"s, "\0abstract"s, ""s}) {
    memcpy(foreign.sun_path, path.data(), path.size());
    EXPECT_EQ(names_->ByNativeAddress(&foreign, static_cast<socklen_t>(2 + path.size())), nullptr);
  }
}

TEST_F(UnixNamesTest, DeadSocketsAreSwept) {
  for (int i = 0; i < 3000; ++i) {
    UniqueFd fd = New(SOCK_DGRAM);
    ASSERT_TRUE(names_->Ensure(fd.get()));
  }
  const auto files = std::distance(std::filesystem::directory_iterator(path_ + "/s"), {});
  EXPECT_LT(files, 1100);
}

}  // namespace
}  // namespace usl::net
