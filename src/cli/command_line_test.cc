#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "cli/commands.h"
#include "cli/wsl_words.h"

namespace usl::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CommandLineTest : public ::testing::Test {
 protected:
  SplitArguments Split(const std::vector<std::string>& arguments) {
    return SplitAtCommand(*line_.parser.get_subcommand("run"), arguments);
  }
  CommandLine line_;
};

TEST_F(CommandLineTest, OptionsEndAtTheCommand) {
  const auto split = Split({"-e", "A=1", "--rootfs", "/r", "ls", "-l", "--", "x"});
  EXPECT_THAT(split.options, ElementsAre("-e", "A=1", "--rootfs", "/r"));
  EXPECT_THAT(split.command, ElementsAre("ls", "-l", "--", "x"));
}

TEST_F(CommandLineTest, TwoDashesEndThemToo) {
  const auto split = Split({"-t", "--", "-odd", "--"});
  EXPECT_THAT(split.options, ElementsAre("-t"));
  EXPECT_THAT(split.command, ElementsAre("-odd", "--"));
}

TEST_F(CommandLineTest, InlineValuesTakeNoNextWord) {
  EXPECT_THAT(Split({"--rootfs=/r", "ls"}).command, ElementsAre("ls"));
  EXPECT_THAT(Split({"-eA=1", "ls"}).command, ElementsAre("ls"));
  EXPECT_THAT(Split({"-te", "A=1", "ls"}).command, ElementsAre("ls"));
  EXPECT_THAT(Split({"--cd", "/tmp", "ls"}).command, ElementsAre("ls"));
}

TEST_F(CommandLineTest, NoCommandIsFine) {
  EXPECT_THAT(Split({"--here"}).command, IsEmpty());
  EXPECT_THAT(Split({}).options, IsEmpty());
}

TEST_F(CommandLineTest, UnknownOptionsAndBadValuesAreRefusedWith125) {
  EXPECT_EQ(Main({"run", "--no-such-option", "true"}), 125);
  EXPECT_EQ(Main({"no-such-command"}), 125);
  EXPECT_EQ(Main({"run", "--network", "bridge", "true"}), 125);
  EXPECT_EQ(Main({"run", "--name", "a/b", "true"}), 125);
  EXPECT_EQ(Main({"run", "-v", "relative", "true"}), 125);
  EXPECT_EQ(Main({"run", "-p", "80:808080", "true"}), 125);
  EXPECT_EQ(Main({"run", "-p", "99999", "true"}), 125);
  EXPECT_EQ(Main({"run", "--rootfs", "/", "--keep", "x", "true"}), 125);
  EXPECT_EQ(Main({"completion", "tcsh"}), 125);
}

TEST(WslWords, BecomeCommands) {
  EXPECT_THAT(TranslateWslWords({"--import", "D", "/dir", "f.tar", "--version", "1"}),
              ElementsAre("import", "D", "f.tar", "--location", "/dir"));
  EXPECT_THAT(TranslateWslWords({"-l", "-v"}), ElementsAre("list", "-v"));
  EXPECT_THAT(TranslateWslWords({"--unregister", "D"}), ElementsAre("remove", "D"));
  EXPECT_THAT(TranslateWslWords({"--install", "-d", "debian", "--web-download", "--no-launch"}),
              ElementsAre("install", "debian", "--no-launch"));
  // Only the first word is one of wsl.exe's.
  EXPECT_THAT(TranslateWslWords({"run", "--list"}), ElementsAre("run", "--list"));
  EXPECT_THAT(TranslateWslWords({}), IsEmpty());
}

// Every option of every command stands in the manual page and in the completions, as all three are made from the
// parser.
TEST_F(CommandLineTest, ManPageAndCompletionsKnowEveryOption) {
  const std::string page = ManPage(line_.parser);
  const std::string bash = CompletionScript(line_.parser, "bash");
  const std::string zsh = CompletionScript(line_.parser, "zsh");
  const std::string fish = CompletionScript(line_.parser, "fish");
  for (const Command& command : line_.commands) {
    std::string name_in_roff = command.app->get_name();
    for (size_t dash = 0; (dash = name_in_roff.find('-', dash)) != name_in_roff.npos; dash += 2) {
      name_in_roff.insert(dash, "\\");
    }
    EXPECT_THAT(page, HasSubstr(".SS usl " + name_in_roff));
    for (const CLI::Option* option : command.app->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        EXPECT_THAT(bash, HasSubstr("--" + name));
        EXPECT_THAT(zsh, HasSubstr("--" + name));
        EXPECT_THAT(fish, HasSubstr("-l " + name));
      }
    }
  }
}

TEST_F(CommandLineTest, TheManPageOfTheTreeIsUpToDate) {
  std::ifstream file(USL_MAN_PAGE);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(page, ManPage(line_.parser)) << "run `make docs`";
}

}  // namespace
}  // namespace usl::cli
