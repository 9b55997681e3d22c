#include "manager/image_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "manager/archive_members.h"

namespace usl::manager {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// One member of a ustar archive.
std::string TarMember(const std::string& name, const std::string& content, char type = '0',
                      const std::string& link = {}) {
  std::string header(512, '\0');
  const auto put = [&](size_t at, const std::string& text) { memcpy(header.data() + at, text.data(), text.size()); };
  char size[13];
  snprintf(size, sizeof size, "%011zo", content.size());
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, size);
  put(136, "00000000000");
  put(148, "        ");
  header[156] = type;
  put(157, link);
  put(257, std::string("ustar\0"
                       "00",
                       8));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char checksum[8];
  snprintf(checksum, sizeof checksum, "%06o", sum);
  put(148, std::string(checksum, 7));
  return header + content + std::string((512 - content.size() % 512) % 512, '\0');
}

const std::string kEnd(1024, '\0');
const std::string kLayer = TarMember("hello", "world") + kEnd;

std::string Configuration(const std::vector<std::string>& layers) {
  json diff_ids = json::array();
  for (const std::string& layer : layers) diff_ids.push_back("sha256:" + Sha256Hex(layer));
  return json{{"os", "linux"}, {"architecture", "amd64"}, {"rootfs", {{"diff_ids", diff_ids}}}}.dump();
}

class ImageSourceTest : public ::testing::Test {
 protected:
  ImageSourceTest() {
    char name[] = "/var/tmp/usl-image-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~ImageSourceTest() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& name, const std::string& content) {
    const std::string path = directory_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << content;
  }
  json AddBlob(const std::string& content) {
    Write("blobs/sha256/" + Sha256Hex(content), content);
    return {{"digest", "sha256:" + Sha256Hex(content)}, {"size", content.size()}};
  }
  // A layout with one image; returns the manifest's text.
  std::string WriteLayout(const std::string& configuration, const std::vector<std::string>& layers) {
    json list = json::array();
    for (const std::string& layer : layers) list.push_back(AddBlob(layer));
    const std::string manifest =
        json{{"schemaVersion", 2}, {"config", AddBlob(configuration)}, {"layers", list}}.dump();
    WriteIndex(AddBlob(manifest));
    return manifest;
  }
  void WriteIndex(const json& entry) {
    Write("oci-layout", "{}");
    Write("index.json", json{{"schemaVersion", 2}, {"manifests", {entry}}}.dump());
  }

  Result<std::unique_ptr<ImageSource>> Open(const std::string& reference) {
    const auto parsed = ParseImageReference(reference, &why_);
    if (!parsed) return Fail(EINVAL);
    return OpenImageSource(*parsed, {.cache = directory_ + "/cache"}, fetcher_, &why_);
  }
  // Why it cannot be resolved, or "taken".
  std::string Why(const std::string& reference) {
    const auto source = Open(reference);
    return source && (*source)->Resolve(&why_) ? "taken" : why_;
  }
  std::string Content(const Result<UniqueFd>& fd) {
    if (!fd) return "failed: " + why_;
    std::string text(1 << 16, '\0');
    const ssize_t size = read(fd->get(), text.data(), text.size());
    text.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
    return text;
  }

  std::string directory_, why_;
  Fetcher fetcher_;
};

TEST_F(ImageSourceTest, Layout) {
  const std::string manifest = WriteLayout(Configuration({kLayer}), {kLayer});
  const auto source = Open("oci:" + directory_);
  ASSERT_TRUE(source) << why_;
  const auto image = (*source)->Resolve(&why_);
  ASSERT_TRUE(image) << why_;
  EXPECT_EQ(image->digest, "sha256:" + Sha256Hex(manifest));
  ASSERT_EQ(image->layers.size(), 1u);
  EXPECT_EQ(image->layers[0].diff_id, Sha256Hex(kLayer));
  EXPECT_EQ(Content((*source)->OpenLayer(image->layers[0], &why_)), kLayer);
}

TEST_F(ImageSourceTest, LayoutWithWrongBlobs) {
  const std::string manifest = WriteLayout(Configuration({kLayer}), {kLayer});
  const std::string layer = "blobs/sha256/" + Sha256Hex(kLayer);
  const auto source = Open("oci:" + directory_);
  const auto image = (*source)->Resolve(&why_);
  ASSERT_TRUE(image);
  std::string damaged = kLayer;
  damaged[600] ^= 1;
  Write(layer, damaged);
  EXPECT_THAT(Content((*source)->OpenLayer(image->layers[0], &why_)), HasSubstr("damaged"));
  Write(layer, kLayer + "x");
  EXPECT_THAT(Content((*source)->OpenLayer(image->layers[0], &why_)), HasSubstr("damaged"));
  unlink((directory_ + "/" + layer).c_str());
  EXPECT_THAT(Content((*source)->OpenLayer(image->layers[0], &why_)), HasSubstr("No such file"));
  ASSERT_EQ(mkfifo((directory_ + "/" + layer).c_str(), 0600), 0);
  EXPECT_THAT(Content((*source)->OpenLayer(image->layers[0], &why_)), HasSubstr("it is no file"));

  const std::string path = "blobs/sha256/" + Sha256Hex(manifest);
  Write(path, manifest + " ");
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("something else"));
  unlink((directory_ + "/" + path).c_str());
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("No such file"));
}

TEST_F(ImageSourceTest, WhatIsNoLayout) {
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("no OCI image layout"));
  EXPECT_THAT(Why("oci:" + directory_ + "/missing"), HasSubstr("no OCI image layout"));
  Write("oci-layout", "{}");
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("index.json"));
  Write("index.json", "nonsense");
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("JSON"));
  WriteLayout(Configuration({kLayer, kLayer}), {kLayer});
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("1 layers and its configuration 2"));
}

TEST_F(ImageSourceTest, NestedIndexes) {
  WriteLayout(Configuration({kLayer}), {kLayer});
  std::ifstream file(directory_ + "/index.json");
  std::string index{std::istreambuf_iterator<char>(file), {}};
  for (int depth = 1; depth < 8; ++depth) {
    WriteIndex(AddBlob(index));
    std::ifstream again(directory_ + "/index.json");
    index.assign(std::istreambuf_iterator<char>(again), {});
    if (depth < 3) {
      EXPECT_EQ(Why("oci:" + directory_), "taken") << depth;
    }
  }
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("nested"));
  // One that names itself needs a broken SHA-256; what can be made is one that claims to.
  const std::string name = Sha256Hex("itself");
  const json itself = {{"digest", "sha256:" + name}, {"size", 200}};
  WriteIndex(itself);
  Write("blobs/sha256/" + name, json{{"schemaVersion", 2}, {"manifests", {itself}}}.dump());
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("something else"));
}

TEST_F(ImageSourceTest, HugeDocumentsAreNotRead) {
  json entry = AddBlob("x");
  entry["size"] = kMaxDocument + 1;
  WriteIndex(entry);
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("more than the 4194304"));
  Write("index.json", std::string(kMaxDocument + 100, ' '));
  EXPECT_THAT(Why("oci:" + directory_), HasSubstr("more than the 4194304"));
}

std::string DockerArchive(const std::string& layer_member) {
  const std::string manifest =
      json{{{"Config", "c.json"}, {"RepoTags", {"a:1"}}, {"Layers", {"one/layer.tar", "two/layer.tar"}}}}.dump();
  return TarMember("./manifest.json", manifest) + TarMember("c.json", Configuration({kLayer, kLayer})) +
         TarMember("one/layer.tar", kLayer) + layer_member + kEnd;
}

TEST_F(ImageSourceTest, DockerArchiveWithLinkedLayers) {
  for (const std::string& member :
       {TarMember("two/layer.tar", "", '2', "../one/layer.tar"), TarMember("two/layer.tar", "", '1', "one/layer.tar"),
        TarMember("two/layer.tar", "", '2', "../l") + TarMember("l", "", '2', "one/layer.tar")}) {
    Write("a.tar", DockerArchive(member));
    const auto source = Open("docker-archive:" + directory_ + "/a.tar:a:1");
    ASSERT_TRUE(source) << why_;
    const auto image = (*source)->Resolve(&why_);
    ASSERT_TRUE(image) << why_;
    ASSERT_EQ(image->layers.size(), 2u);
    EXPECT_EQ(Content((*source)->OpenLayer(image->layers[1], &why_)), kLayer);
    EXPECT_EQ(Content((*source)->OpenLayer(image->layers[0], &why_)), kLayer);
  }
}

TEST_F(ImageSourceTest, DockerArchiveWithLinksToNowhere) {
  for (const std::string& member :
       {std::string(), TarMember("two/layer.tar", "", '2', "../../one/layer.tar"),
        TarMember("two/layer.tar", "", '2', "layer.tar"), TarMember("two/layer.tar", "", '2', "/etc/passwd"),
        TarMember("two/layer.tar", "", '1', "../etc/passwd"),
        TarMember("two/layer.tar", "", '2', "x") + TarMember("two/x", "", '2', "layer.tar"),
        TarMember("two/layer.tar", "", '3')}) {
    Write("a.tar", DockerArchive(member));
    const auto source = Open("docker-archive:" + directory_ + "/a.tar");
    ASSERT_TRUE(source) << why_;
    const auto image = (*source)->Resolve(&why_);
    ASSERT_TRUE(image) << why_;
    EXPECT_THAT(Content((*source)->OpenLayer(image->layers[1], &why_)), HasSubstr("no member \"two/layer.tar\""));
  }
}

TEST_F(ImageSourceTest, TruncatedAndForeignArchives) {
  const std::string whole = DockerArchive(TarMember("two/layer.tar", kLayer));
  const std::string path = "docker-archive:" + directory_ + "/a.tar";
  for (size_t size = 1; size < whole.size() - kEnd.size(); size += 97) {
    Write("a.tar", whole.substr(0, size));
    const auto source = Open(path);
    const auto image = source ? (*source)->Resolve(&why_) : Fail(EINVAL);
    // What is there of it may do until a layer is missing.
    const bool is_usable =
        image && (*source)->OpenLayer(image->layers[0], &why_) && (*source)->OpenLayer(image->layers[1], &why_);
    EXPECT_FALSE(is_usable) << size;
    EXPECT_THAT(why_, HasSubstr("a.tar"));
  }
  Write("a.tar", "this is no archive");
  EXPECT_THAT(Why(path), HasSubstr("no tar archive"));
  Write("a.tar", TarMember("x", "y") + kEnd);
  EXPECT_THAT(Why(path), HasSubstr("manifest.json"));
  EXPECT_THAT(Why("oci-archive:" + directory_ + "/a.tar"), HasSubstr("index.json"));
  EXPECT_THAT(Why("docker-archive:/dev/null"), HasSubstr("is no file"));
  EXPECT_THAT(Why("docker-archive:" + directory_ + "/missing"), HasSubstr("No such file"));
  EXPECT_THAT(Why("docker-archive:" + directory_), HasSubstr("is no file"));
}

}  // namespace
}  // namespace usl::manager
