#include "cli/front_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace usl::cli {
namespace {

using ::testing::ElementsAre;

TEST(FrontWords, SessionsAreTheShellsOfADistribution) {
  EXPECT_THAT(TranslateFrontWords({"-d", "D", "-u", "ann", "ls", "-l"}),
              ElementsAre("shell", "-d", "D", "-u", "ann", "--", "ls", "-l"));
  EXPECT_THAT(TranslateFrontWords({"-u", "ann"}), ElementsAre("shell", "-u", "ann", "--distribution=", "--"));
  EXPECT_THAT(TranslateFrontWords({"--", "-odd"}), ElementsAre("shell", "--distribution=", "--", "-odd"));
  EXPECT_THAT(TranslateFrontWords({"~"}), ElementsAre("shell", "--cd", "~", "--distribution=", "--"));
  EXPECT_THAT(TranslateFrontWords({"--cd=/x", "-e", "--", "a", "-d", "b"}),
              ElementsAre("shell", "--cd=/x", "-e", "--distribution=", "--", "a", "-d", "b"));
}

TEST(FrontWords, OthersAreCommandsOrStay) {
  EXPECT_THAT(TranslateFrontWords({"--terminate", "D"}), ElementsAre("stop", "D"));
  EXPECT_THAT(TranslateFrontWords({"-t", "D"}), ElementsAre("stop", "D"));
  EXPECT_THAT(TranslateFrontWords({"--shutdown"}), ElementsAre("shutdown"));
  EXPECT_THAT(TranslateFrontWords({"-v"}), ElementsAre("version"));
  EXPECT_THAT(TranslateFrontWords({"run", "-d", "D"}), ElementsAre("run", "-d", "D"));
  EXPECT_THAT(TranslateFrontWords({"--help"}), ElementsAre("--help"));
  EXPECT_THAT(TranslateFrontWords({"--version"}), ElementsAre("--version"));
}

}  // namespace
}  // namespace usl::cli
