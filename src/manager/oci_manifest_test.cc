#include "manager/oci_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace usl::manager {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Hex(char digit) {
  return std::string(64, digit);
}
std::string Sha(char digit) {
  return "sha256:" + Hex(digit);
}

json Descriptor(char digit, const char* type = "") {
  json value = {{"digest", Sha(digit)}, {"size", 10}};
  if (*type) value["mediaType"] = type;
  return value;
}

json Manifest() {
  return {{"schemaVersion", 2},
          {"config", Descriptor('c', "application/vnd.oci.image.config.v1+json")},
          {"layers", {Descriptor('1', "application/vnd.oci.image.layer.v1.tar+gzip"), Descriptor('2')}}};
}

json Entry(char digit, const char* os, const char* architecture, const char* variant = "", const char* name = "") {
  json value = Descriptor(digit);
  if (*os) value["platform"] = {{"os", os}, {"architecture", architecture}, {"variant", variant}};
  if (*name) value["annotations"] = {{"org.opencontainers.image.ref.name", name}};
  return value;
}

json Index(std::vector<json> entries) {
  return {{"schemaVersion", 2}, {"manifests", entries}};
}

// The reason for refusing, or "taken".
std::string Why(const json& document) {
  std::string why = "no reason";
  return ParseImageDocument(document.dump(), &why) ? "taken" : why;
}

std::string Chosen(std::vector<json> entries, const std::string& tag = "") {
  std::string why;
  const auto document = ParseImageDocument(Index(std::move(entries)).dump(), &why);
  if (!document) return "unparsed: " + why;
  const auto chosen = ChooseManifest(*document->index, tag, &why);
  return chosen ? chosen->digest.substr(0, 1) : why;
}

TEST(OciManifestTest, Manifest) {
  std::string why;
  const auto document = ParseImageDocument(Manifest().dump(), &why);
  ASSERT_TRUE(document && document->manifest) << why;
  EXPECT_EQ(document->manifest->config.digest, Hex('c'));
  EXPECT_EQ(document->manifest->layers.size(), 2u);
  EXPECT_EQ(document->manifest->layers[0].digest, Hex('1'));
  EXPECT_EQ(document->manifest->layers[0].size, 10u);
}

TEST(OciManifestTest, OtherKindsAreNamed) {
  EXPECT_THAT(Why({{"schemaVersion", 1}, {"fsLayers", json::array()}}), HasSubstr("schema 1"));
  EXPECT_THAT(Why({{"schemaVersion", "2"}}), HasSubstr("schemaVersion"));
  EXPECT_THAT(Why({{"schemaVersion", 2}}), HasSubstr("neither"));
  json both = Manifest();
  both["manifests"] = json::array();
  EXPECT_THAT(Why(both), HasSubstr("at once"));
  json chart = Manifest();
  chart["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json";
  EXPECT_THAT(Why(chart), HasSubstr("helm"));
  json encrypted = Manifest();
  encrypted["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
  EXPECT_THAT(Why(encrypted), HasSubstr("encrypted"));
  json lying = Manifest();
  lying["mediaType"] = "application/vnd.oci.image.index.v1+json";
  EXPECT_THAT(Why(lying), HasSubstr("does not suit"));
}

TEST(OciManifestTest, WrongTypesNumbersAndDigestsAreRefused) {
  const std::vector<std::pair<const char*, json>> changes = {
      {"/config", 1},
      {"/config", nullptr},
      {"/config/digest", "sha256:../../etc/passwd"},
      {"/config/digest", 5},
      {"/config/size", -1},
      {"/config/size", 1e300},
      {"/config/size", "10"},
      {"/config/size", UINT64_MAX},
      {"/layers", json::object()},
      {"/layers", "x"},
      {"/layers/0", json::array()},
      {"/layers/0/digest", "sha256:" + std::string(63, '0') + "/"},
      {"/layers/0/digest", "sha512:" + std::string(128, '0')},
      {"/layers/0/size", 0.5},
      {"/layers/0/mediaType", 7},
      {"/layers/0/mediaType", "text/plain"},
      {"/layers/0/annotations", "x"},
      {"/schemaVersion", 3},
  };
  for (const auto& [pointer, value] : changes) {
    json document = Manifest();
    document[json::json_pointer(pointer)] = value;
    EXPECT_NE(Why(document), "taken") << pointer << " = " << value;
    EXPECT_NE(Why(document), "no reason") << pointer << " = " << value;
  }
  json many = Manifest();
  many["layers"] = std::vector<json>(kMaxLayers + 1, Descriptor('1'));
  EXPECT_THAT(Why(many), HasSubstr("501 entries"));
  std::string why;
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("\"x\""),
        std::string(1 << 19, '['), std::string(5 << 20, ' '), std::string("{\"a\":1e999}")}) {
    EXPECT_FALSE(ParseImageDocument(text, &why));
    EXPECT_FALSE(ParseImageConfiguration(text, &why));
    EXPECT_FALSE(ParseDockerArchive(text, &why));
  }
}

TEST(OciManifestTest, TheIndexEntryForThisMachine) {
  EXPECT_EQ(Chosen({Entry('1', "linux", "arm64", "v8"), Entry('2', "linux", "amd64"), Entry('3', "windows", "amd64")}),
            "2");
  EXPECT_EQ(Chosen({Entry('1', "linux", "amd64", "v3"), Entry('2', "linux", "amd64")}), "2")
      << "not the one for newer CPUs";
  EXPECT_EQ(Chosen({Entry('1', "linux", "amd64"), Entry('2', "linux", "amd64")}), "1");
  EXPECT_EQ(Chosen({Entry('1', "linux", "amd64"), Entry('2', "unknown", "unknown")}), "1") << "attestations";
  EXPECT_EQ(Chosen({Entry('1', "", "")}), "1");
  EXPECT_THAT(Chosen({Entry('1', "linux", "arm64"), Entry('2', "unknown", "unknown")}),
              HasSubstr("for linux/arm64 and not"));
  EXPECT_THAT(Chosen({}), HasSubstr("no image"));
}

TEST(OciManifestTest, TheIndexEntryOfATag) {
  const std::vector<json> named = {Entry('1', "", "", "", "one"), Entry('2', "", "", "", "two")};
  EXPECT_EQ(Chosen(named, "two"), "2");
  EXPECT_THAT(Chosen(named, "three"), HasSubstr("only: one two"));
  EXPECT_THAT(Chosen(named), HasSubstr("one of: one two"));
  EXPECT_THAT(Chosen({Entry('1', "linux", "amd64", "", "one"), Entry('2', "linux", "amd64", "", "two")}),
              HasSubstr("several"));
  EXPECT_EQ(Chosen({Entry('1', "linux", "amd64", "", "one"), Entry('1', "linux", "amd64", "", "two")}), "1");
  EXPECT_THAT(Chosen({Entry('1', "", "", "", "a\x1b[31m")}, "x"), HasSubstr("a?[31m")) << "no control characters";
}

json Configuration() {
  return {{"os", "linux"},
          {"architecture", "amd64"},
          {"rootfs", {{"type", "layers"}, {"diff_ids", {Sha('1'), Sha('2')}}}},
          {"config",
           {{"Entrypoint", {"/e"}},
            {"Cmd", {"a", "b"}},
            {"Env", {"A=1"}},
            {"User", "u:g"},
            {"WorkingDir", "/w"},
            {"Labels", nullptr}}}};
}

TEST(OciConfigurationTest, AllOfIt) {
  std::string why;
  const auto parsed = ParseImageConfiguration(Configuration().dump(), &why);
  ASSERT_TRUE(parsed) << why;
  EXPECT_THAT(parsed->diff_ids, ElementsAre(Hex('1'), Hex('2')));
  EXPECT_THAT(parsed->config.entrypoint, ElementsAre("/e"));
  EXPECT_THAT(parsed->config.command, ElementsAre("a", "b"));
  EXPECT_THAT(parsed->config.environment, ElementsAre("A=1"));
  EXPECT_EQ(parsed->config.user, "u:g");
  EXPECT_EQ(parsed->config.working_directory, "/w");
}

TEST(OciConfigurationTest, HostileOnesAreRefused) {
  const std::vector<std::pair<const char*, json>> changes = {
      {"/os", "windows"},
      {"/architecture", "arm64"},
      {"/architecture", 64},
      {"/rootfs", nullptr},
      {"/rootfs/diff_ids", nullptr},
      {"/rootfs/diff_ids", "x"},
      {"/rootfs/diff_ids/0", "sha256:.."},
      {"/rootfs/diff_ids/0", 1},
      {"/config", json::array()},
      {"/config/Env", "A=1"},
      {"/config/Env", {1}},
      {"/config/Env", {std::string("A\0B", 3)}},
      {"/config/Cmd", json::object()},
      {"/config/User", 0},
      {"/config/WorkingDir", std::string("/\0", 2)},
  };
  for (const auto& [pointer, value] : changes) {
    json document = Configuration();
    document[json::json_pointer(pointer)] = value;
    std::string why = "no reason";
    EXPECT_FALSE(ParseImageConfiguration(document.dump(), &why)) << pointer << " = " << value;
    EXPECT_NE(why, "no reason") << pointer;
  }
}

TEST(DockerArchiveTest, ImagesAndTheirNames) {
  const json list = {{{"Config", "c.json"}, {"RepoTags", {"alpine:3", "localhost/x:1"}}, {"Layers", {"l/layer.tar"}}},
                     {{"Config", "d.json"}, {"RepoTags", nullptr}, {"Layers", json::array()}}};
  std::string why;
  const auto entries = ParseDockerArchive(list.dump(), &why);
  ASSERT_TRUE(entries) << why;
  EXPECT_EQ(ChooseArchiveEntry(*entries, "docker.io/library/alpine:3", &why)->config, "c.json");
  EXPECT_EQ(ChooseArchiveEntry(*entries, "localhost/x:1", &why)->config, "c.json");
  EXPECT_FALSE(ChooseArchiveEntry(*entries, "alpine", &why));
  EXPECT_THAT(why, HasSubstr("\"alpine:3\""));
  EXPECT_FALSE(ChooseArchiveEntry(*entries, "", &why));
  EXPECT_THAT(why, HasSubstr("2 images"));
  for (const json& bad : {json::array(), json::array({1}), json::array({{{"Config", 1}, {"Layers", json::array()}}}),
                          json::array({{{"Config", "c"}}}), json::array({{{"Config", "c"}, {"Layers", {1}}}})}) {
    EXPECT_FALSE(ParseDockerArchive(bad.dump(), &why)) << bad;
  }
}

}  // namespace
}  // namespace usl::manager
