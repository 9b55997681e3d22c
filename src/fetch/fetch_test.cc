#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "fetch/download.h"
#include "fetch/fetch_messages.h"
#include "fetch/partial_file.h"

namespace usl::fetch {
namespace {

std::string WithoutNewline(std::string line) {
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  line.pop_back();
  return line;
}

TEST(FetchMessagesTest, RequestsComeOutAsTheyWentIn) {
  const Request request{.url = "http://host/a\n\"b",
                        .headers = {"Accept: x", ""},
                        .authorization = "Bearer y",
                        .path = "/p",
                        .sha256 = "00",
                        .max_size = UINT64_MAX,
                        .size = INT64_MAX,
                        .stall_seconds = 7};
  const auto decoded = DecodeRequest(WithoutNewline(EncodeRequest(request)));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->url, request.url);
  EXPECT_EQ(decoded->headers, request.headers);
  EXPECT_EQ(decoded->authorization, request.authorization);
  EXPECT_EQ(decoded->path, request.path);
  EXPECT_EQ(decoded->sha256, request.sha256);
  EXPECT_EQ(decoded->max_size, request.max_size);
  EXPECT_EQ(decoded->size, request.size);
  EXPECT_EQ(decoded->stall_seconds, request.stall_seconds);
}

TEST(FetchMessagesTest, AnswersComeOutAsTheyWentIn) {
  const auto progress = DecodeAnswer(WithoutNewline(EncodeProgress({1, 2, "\xff"})));
  ASSERT_TRUE(progress && progress->progress);
  EXPECT_EQ(progress->progress->done, 1u);
  EXPECT_EQ(progress->progress->total, 2u);
  const auto reply = DecodeAnswer(WithoutNewline(
      EncodeReply({.error = 2, .message = "m", .status = 404, .url = "u", .headers = {{"a", "b"}}, .body_size = 3})));
  ASSERT_TRUE(reply && reply->reply);
  EXPECT_EQ(reply->reply->error, 2);
  EXPECT_EQ(reply->reply->headers.at("a"), "b");
  EXPECT_EQ(reply->reply->body_size, 3u);
}

TEST(FetchMessagesTest, NonsenseIsRefused) {
  for (const char* line : {"", "{", "[]", "null", "{}", "{\"done\":-1,\"total\":0,\"note\":\"\"}",
                           "{\"done\":1e300,\"total\":0,\"note\":\"\"}", "{\"done\":1,\"total\":0}",
                           "{\"error\":5000,\"message\":\"\",\"status\":0,\"url\":\"\",\"headers\":{},\"body_size\":0}",
                           "{\"error\":0,\"message\":\"\",\"status\":0,\"url\":\"\",\"headers\":[],\"body_size\":0}"}) {
    EXPECT_FALSE(DecodeAnswer(line)) << line;
    EXPECT_FALSE(DecodeRequest(line)) << line;
  }
  EXPECT_FALSE(DecodeRequest(std::string(200000, '[')));
}

TEST(ContentRangeTest, Forms) {
  uint64_t first = 0, total = 0;
  EXPECT_TRUE(ParseContentRange("bytes 5-9/10", &first, &total));
  EXPECT_EQ(first, 5u);
  EXPECT_EQ(total, 10u);
  EXPECT_TRUE(ParseContentRange("bytes 0-0/*", &first, &total));
  for (const char* text : {"", "bytes", "bytes 9-5/10", "bytes 5-9", "bytes 5-10/10", "bytes -5/10", "bytes 5-9/10 ",
                           "bytes 5-99999999999999999999/10", "bytes */10"}) {
    EXPECT_FALSE(ParseContentRange(text, &first, &total)) << text;
  }
}

class PartialFileTest : public ::testing::Test {
 protected:
  PartialFileTest() {
    char name[] = "/var/tmp/usl-partial-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~PartialFileTest() override { std::filesystem::remove_all(directory_); }
  std::string Path() const { return directory_ + "/file"; }
  std::string Content(const std::string& path) const {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool Exists(const std::string& path) const { return std::filesystem::exists(path); }

  std::string directory_;
};

const auto kNobodyWaits = [] { ADD_FAILURE() << "waits"; };

TEST_F(PartialFileTest, GoesOnWhereItWasLeft) {
  {
    auto file = PartialFile::Open(Path(), kNobodyWaits);
    ASSERT_TRUE(file && file->Append("ab", 2));
    ASSERT_TRUE(file->SetValidator("u", "\"v\""));
  }
  auto file = PartialFile::Open(Path(), kNobodyWaits);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size(), 2u);
  EXPECT_EQ(file->Validator("u"), "\"v\"");
  EXPECT_EQ(file->Validator("another"), "");
  ASSERT_TRUE(file->Append("c", 1));
  EXPECT_EQ(file->Digest(), Sha256Hex("abc"));
  ASSERT_TRUE(file->Finish());
  EXPECT_EQ(Content(Path()), "abc");
  EXPECT_FALSE(Exists(Path() + ".part"));
  EXPECT_FALSE(Exists(Path() + ".part.json"));
}

TEST_F(PartialFileTest, StartingAnewForgetsEverything) {
  auto file = PartialFile::Open(Path(), kNobodyWaits);
  ASSERT_TRUE(file && file->Append("xyz", 3) && file->StartAnew() && file->Append("abc", 3));
  EXPECT_EQ(file->Digest(), Sha256Hex("abc"));
  file->Discard();
  EXPECT_FALSE(Exists(Path() + ".part"));
}

TEST_F(PartialFileTest, WaitsForAnother) {
  auto first = PartialFile::Open(Path(), kNobodyWaits);
  ASSERT_TRUE(first && first->Append("abc", 3));
  std::optional<PartialFile> held(std::move(*first));
  int waited = 0;
  // The lock is released while the second one is about to wait for it.
  const auto second = PartialFile::Open(Path(), [&] {
    ++waited;
    EXPECT_TRUE(held->Finish());
    held.reset();
  });
  ASSERT_TRUE(second);
  EXPECT_EQ(waited, 1);
  EXPECT_EQ(second->size(), 0u) << "the first one's file has its name now; this is a new one";
  EXPECT_EQ(Content(Path()), "abc");
}

TEST_F(PartialFileTest, FollowsNoLinkAndTakesNoOtherFile) {
  ASSERT_EQ(symlink("/etc/passwd", (Path() + ".part").c_str()), 0);
  EXPECT_EQ(PartialFile::Open(Path(), kNobodyWaits).error().code(), ELOOP);
  unlink((Path() + ".part").c_str());
  ASSERT_EQ(mkfifo((Path() + ".part").c_str(), 0600), 0);
  EXPECT_EQ(PartialFile::Open(Path(), kNobodyWaits).error().code(), EINVAL);
  EXPECT_EQ(PartialFile::Open(directory_ + "/missing/file", kNobodyWaits).error().code(), ENOENT);
}

}  // namespace
}  // namespace usl::fetch
