#include "manager/image_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace usl::manager {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Command(std::vector<std::string> image_entrypoint, std::vector<std::string> image_command,
                                 std::vector<std::string> words, std::optional<std::string> entrypoint = {}) {
  ImageConfig config;
  config.entrypoint = std::move(image_entrypoint);
  config.command = std::move(image_command);
  RunOptions options;
  options.command = std::move(words);
  ApplyImageConfig(config, entrypoint, &options);
  return options.command;
}

// The table of docker's reference ("Understand how CMD and ENTRYPOINT interact"), and docker run --entrypoint.
TEST(ImageConfigTest, EntrypointAndCommand) {
  EXPECT_THAT(Command({}, {}, {}), IsEmpty());
  EXPECT_THAT(Command({}, {"sh"}, {}), ElementsAre("sh"));
  EXPECT_THAT(Command({}, {"sh"}, {"ls", "-l"}), ElementsAre("ls", "-l"));
  EXPECT_THAT(Command({"e", "1"}, {"c"}, {}), ElementsAre("e", "1", "c"));
  EXPECT_THAT(Command({"e", "1"}, {"c"}, {"x"}), ElementsAre("e", "1", "x"));
  EXPECT_THAT(Command({"e"}, {"c"}, {}, "other"), ElementsAre("other"));
  EXPECT_THAT(Command({"e"}, {"c"}, {"x"}, "other"), ElementsAre("other", "x"));
  EXPECT_THAT(Command({"e"}, {"c"}, {"x"}, ""), ElementsAre("x"));
}

TEST(ImageConfigTest, EnvironmentUserAndDirectory) {
  ImageConfig config;
  config.environment = {"A=1", "HOST_SECRET", "=x", "B="};
  config.user = "1000:5";
  config.working_directory = "srv";
  RunOptions options;
  options.environment = {"A=2", "TERM"};
  ApplyImageConfig(config, {}, &options);
  EXPECT_THAT(options.environment, ElementsAre("A=1", "B=", "A=2", "TERM"));
  EXPECT_EQ(options.user, "1000:5");
  EXPECT_EQ(options.working_directory, "/srv");
  EXPECT_TRUE(options.make_working_directory);

  RunOptions given;
  given.user = "0";
  given.working_directory = "/w";
  ApplyImageConfig(config, {}, &given);
  EXPECT_EQ(given.user, "0");
  EXPECT_EQ(given.working_directory, "/w");
  EXPECT_FALSE(given.make_working_directory);

  RunOptions here;
  here.here = true;
  ApplyImageConfig({}, {}, &here);
  EXPECT_EQ(here.working_directory, "");
  RunOptions plain;
  ApplyImageConfig({}, {}, &plain);
  EXPECT_EQ(plain.working_directory, "/");
}

}  // namespace
}  // namespace usl::manager
