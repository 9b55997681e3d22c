#include "fs/fold_index.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "fs/case_fold.h"

namespace usl::fs {
namespace {

TEST(FoldCase, FoldsLettersOfAllScriptsAndNothingElse) {
  EXPECT_EQ(FoldCase("README.TXT"), "readme.txt");
  EXPECT_EQ(FoldCase("ÄÖÜ"), FoldCase("äöü"));
  EXPECT_EQ(FoldCase("ПРИВЕТ"), FoldCase("привет"));
  EXPECT_EQ(FoldCase("ΣΊΣΥΦΟΣ"), FoldCase("σίσυφος"));
  EXPECT_EQ(FoldCase("STRASSE"), FoldCase("straße"));
  EXPECT_NE(FoldCase("\u00e9"), FoldCase("e\u0301")) << "no normalisation";
  EXPECT_NE(FoldCase("a"), FoldCase("ä"));
  EXPECT_EQ(FoldCase("A\xff\xc3"), "a\xff\xc3") << "not UTF-8: as ASCII";
  EXPECT_EQ(FoldCase(""), "");
}

class FoldIndexTest : public ::testing::Test {
 protected:
  FoldIndexTest() {
    char name[] = "/var/tmp/usl-fold-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~FoldIndexTest() override { std::filesystem::remove_all(path_); }
  void Make(const std::string& name) { std::ofstream(path_ + "/" + name) << name; }
  std::string Find(FoldIndex& index, const std::string& name, const std::string& below = "") {
    const UniqueFd fd(::open((path_ + below).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat status;
    ::fstat(fd.get(), &status);
    auto found = index.Find(KeyOf(status), fd.get(), name);
    return !found ? "error" : *found ? **found : "";
  }
  std::string path_;
};

TEST_F(FoldIndexTest, FollowsEveryChangeAfterOneReading) {
  FoldIndex index;
  Make("Makefile");
  EXPECT_EQ(Find(index, "MAKEFILE"), "Makefile");
  EXPECT_EQ(Find(index, "other"), "");
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "File" + std::to_string(i);
    EXPECT_EQ(Find(index, "fILE" + std::to_string(i)), "");
    Make(name);
    EXPECT_EQ(Find(index, "fILE" + std::to_string(i)), name);
  }
  std::filesystem::rename(path_ + "/Makefile", path_ + "/MakeFile2");
  EXPECT_EQ(Find(index, "makefile"), "");
  EXPECT_EQ(Find(index, "makefile2"), "MakeFile2");
  std::filesystem::remove(path_ + "/MakeFile2");
  EXPECT_EQ(Find(index, "makefile2"), "");
  EXPECT_EQ(index.reads(), 1u);
}

TEST_F(FoldIndexTest, OfSeveralTheFirstInTheOrderOfBytes) {
  FoldIndex index;
  Make("foo");
  Make("FOO");
  Make("Foo");
  EXPECT_EQ(Find(index, "fOO"), "FOO");
  std::filesystem::remove(path_ + "/FOO");
  EXPECT_EQ(Find(index, "fOO"), "Foo");
}

TEST_F(FoldIndexTest, IsBoundedAndForgetsRemovedDirectories) {
  FoldIndex index(4, 100);
  for (int i = 0; i < 10; ++i) {
    const std::string below = "/d" + std::to_string(i);
    std::filesystem::create_directory(path_ + below);
    Make("d" + std::to_string(i) + "/Name");
    EXPECT_EQ(Find(index, "NAME", below), "Name");
  }
  EXPECT_EQ(index.directories(), 4u);
  std::filesystem::remove_all(path_ + "/d9");
  EXPECT_EQ(Find(index, "D8"), "d8");
  EXPECT_EQ(index.directories(), 4u);
  // More names than are kept: read at each question.
  for (int i = 0; i < 200; ++i) Make("d8/N" + std::to_string(i));
  EXPECT_EQ(Find(index, "n199", "/d8"), "N199");
}

}  // namespace
}  // namespace usl::fs
