#include "fs/tree_check.h"

#include <sys/file.h>

#include <algorithm>

#include "fs/sidecar_store.h"
#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class TreeCheckTest : public ScratchTest {
 protected:
  TreeCheckTest() { MakeTree("root"); }

  Ref<VolFs> Open(bool layered = false) {
    VolFsOptions options;
    options.upper = LayerOptions{.path = Path("root")};
    if (layered) options.lowers.push_back(LayerOptions{.path = MakeHostDirectory("lower")});
    auto fs = VolFs::Open(std::move(options));
    EXPECT_THAT(fs, Succeeds());
    return fs ? *fs : nullptr;
  }
  TreeReport Check(bool repair = false) {
    std::string why;
    auto report = CheckTree(Path("root"), repair, &why);
    EXPECT_THAT(report, Succeeds()) << why;
    return report ? *report : TreeReport{};
  }
  // "kind path" of each error (or note).
  static std::vector<std::string> Problems(const TreeReport& report,
                                           TreeProblem::Severity severity = TreeProblem::Severity::kError) {
    std::vector<std::string> found;
    for (const auto& problem : report.problems) {
      if (problem.severity == severity) found.push_back(problem.kind + " " + problem.path);
    }
    return found;
  }
  static std::vector<std::string> Notes(const TreeReport& report) {
    return Problems(report, TreeProblem::Severity::kNote);
  }
  // Status 4, then 1 with repair, then 0.
  void RepairsTo(const std::vector<std::string>& expected) {
    auto before = Check();
    EXPECT_EQ(before.Status(), 4);
    EXPECT_THAT(Problems(before), ::testing::UnorderedElementsAreArray(expected));
    EXPECT_THAT(Problems(Check()), ::testing::UnorderedElementsAreArray(expected)) << "a check changes nothing";
    auto repaired = Check(true);
    EXPECT_EQ(repaired.Status(), 1);
    auto after = Check();
    EXPECT_EQ(after.Status(), 0);
    EXPECT_THAT(Problems(after), IsEmpty());
  }
  void SetRecord(const std::string& name, const AttributeRecord& record) { SetRaw(name, EncodeRecord(record)); }
  void SetRaw(const std::string& name, const std::vector<std::byte>& data) {
    if (!UsesSidecar()) {
      ASSERT_EQ(::setxattr(Path("root/" + name).c_str(), "user.usl", data.data(), data.size(), 0), 0);
      return;
    }
    auto log = Log("sidecar");
    struct stat status;
    ASSERT_EQ(::stat(Path("root/" + name).c_str(), &status), 0);
    ASSERT_THAT(log->Put(status.st_ino, {}, data), Succeeds());
  }
  std::unique_ptr<RecordLog> Log(const char* name) {
    UniqueFd directory(::open(Path("root/.usl").c_str(), O_PATH | O_DIRECTORY));
    struct stat root;
    EXPECT_EQ(::stat(Path("root").c_str(), &root), 0);
    RecordLog::Condition condition;
    auto log = RecordLog::Open(directory.get(), name, RecordLog::Access::kWrite, root.st_ino, &condition);
    EXPECT_THAT(log, Succeeds());
    return std::move(*log);
  }
  // The one file of the index whose name is a number.
  std::string IndexPath() {
    for (const auto& entry : std::filesystem::directory_iterator(Path("root/.usl/index"))) {
      std::string name = entry.path().filename().string();
      if (name != "notes" && name != "abc") return ".usl/index/" + name;
    }
    return {};
  }
  std::string Lost() { return ReadHost(Path("root/.usl/lost/list")); }
  uint32_t HostMode(const std::string& name) {
    struct stat status {};
    ::stat(Path("root/" + name).c_str(), &status);
    return status.st_mode & 07777;
  }
};

TEST_F(TreeCheckTest, WhatAKernelMadeIsClean) {
  {
    auto fs = Open();
    auto directory = *Make(fs->root(), "d", S_IFDIR | 02700, 5, 5);
    ASSERT_THAT(Make(directory, "fifo", S_IFIFO | 0600, 5, 5), Succeeds());
    ASSERT_THAT(Make(directory, "link", S_IFLNK | 0777, 5, 5, 0, "target"), Succeeds());
    ASSERT_THAT(Make(directory, "plain-link", S_IFLNK | 0777, 0, 0, 0, "target"), Succeeds());
    auto file = *Make(directory, "f", S_IFREG | 06000, 1000, 1000);
    ASSERT_THAT(file->SetXattr("trusted.large", std::vector<std::byte>(50'000), 0), Succeeds());
    ASSERT_THAT(directory->Link("f2", *file), Succeeds());
  }
  auto report = Check();
  EXPECT_EQ(report.Status(), 0);
  EXPECT_THAT(Problems(report), IsEmpty());
  EXPECT_THAT(Notes(report), IsEmpty());
  EXPECT_EQ(report.directories, 2u);
  EXPECT_EQ(report.files, 5u);
  EXPECT_EQ(report.has_sidecar, UsesSidecar());
}

TEST_F(TreeCheckTest, ATreeInUseIsRefused) {
  auto fs = Open();
  std::string why;
  EXPECT_THAT(CheckTree(Path("root"), false, &why), FailsWith(EBUSY));
  EXPECT_THAT(why, HasSubstr("in use"));
  why.clear();
  EXPECT_THAT(CheckTree(Path("missing"), false, &why), FailsWith(ENOENT));
  EXPECT_THAT(why, HasSubstr("missing"));
}

TEST_F(TreeCheckTest, ADamagedRecordKeepsWhatIsSoundOfIt) {
  WriteHost(Path("root/f"), "data");
  AttributeRecord record;
  record.uid = 7;
  record.gid = 8;
  auto data = EncodeRecord(record);
  data.push_back(std::byte{1});
  SetRaw("f", data);
  WriteHost(Path("root/garbage"), "data");
  SetRaw("garbage", Bytes("what?"));
  RepairsTo({"record f", "record garbage"});
  EXPECT_THAT(Lost(), HasSubstr("record\tf\n"));
  EXPECT_EQ(std::filesystem::file_size(Path("root/.usl/lost/record.1")) +
                std::filesystem::file_size(Path("root/.usl/lost/record.2")),
            data.size() + 5);
  auto fs = Open();
  EXPECT_EQ((*Find(fs, "f"))->GetAttributes()->uid, 7u);
  EXPECT_EQ((*Find(fs, "garbage"))->GetAttributes()->uid, 0u);
  EXPECT_EQ(Read(*Find(fs, "garbage")), "data");
}

TEST_F(TreeCheckTest, ARecordOfANewerVersionIsLeftAlone) {
  WriteHost(Path("root/f"), "data");
  SetRaw("f", Bytes("U\x02xyz"));
  auto report = Check(true);
  EXPECT_EQ(report.Status(), 4);
  EXPECT_THAT(Problems(report), ElementsAre("version f"));
  EXPECT_THAT(report.problems.front().text, HasSubstr("newer usl"));
  EXPECT_EQ(Check().Status(), 4) << "it is still there";
}

TEST_F(TreeCheckTest, RecordsThatContradictTheirFilesArePutRight) {
  MakeHostDirectory("root/d");
  WriteHost(Path("root/f"), "data");
  WriteHost(Path("root/g"), "data");
  WriteHost(Path("root/h"), "data");
  AttributeRecord record;
  record.uid = 7;
  record.type = S_IFCHR;
  SetRecord("d", record);
  record.type = S_IFDIR;
  SetRecord("f", record);
  record.type = 0;
  record.flags = AttributeRecord::kOpaque;
  record.rdev = 5;
  SetRecord("g", record);
  record = {};
  record.links = 2;
  SetRecord("h", record);
  RepairsTo({"record d", "record f", "record g", "record h"});
  auto fs = Open();
  EXPECT_EQ((*Find(fs, "d"))->GetAttributes()->mode & S_IFMT, static_cast<uint32_t>(S_IFDIR));
  EXPECT_EQ((*Find(fs, "d"))->GetAttributes()->uid, 7u);
  EXPECT_EQ(Read(*Find(fs, "f")), "data");
}

TEST_F(TreeCheckTest, MissingMarksAreSet) {
  MakeHostDirectory("root/d");
  WriteHost(Path("root/d/fifo"), "");
  AttributeRecord record;
  record.type = S_IFIFO;
  SetRecord("d/fifo", record);
  RepairsTo({"mark d"});
  auto fs = Open();
  EXPECT_EQ(List(*Find(fs, "d"))[0].type, DT_FIFO);
}

TEST_F(TreeCheckTest, HostModesArePutRightAndTheGuestSeesTheSame) {
  MakeHostDirectory("root/closed/inner");
  WriteHost(Path("root/secret"), "s");
  WriteHost(Path("root/program"), "p");
  ASSERT_EQ(::chmod(Path("root/secret").c_str(), 0040), 0);
  ASSERT_EQ(::chmod(Path("root/program").c_str(), 06755), 0);
  ASSERT_EQ(::chmod(Path("root/closed").c_str(), 01555), 0);
  RepairsTo({"mode secret", "mode program", "mode closed"});
  EXPECT_EQ(HostMode("secret"), 0640u);
  EXPECT_EQ(HostMode("program"), 0755u);
  EXPECT_EQ(HostMode("closed"), 01755u);
  auto fs = Open();
  EXPECT_EQ((*Find(fs, "secret"))->GetAttributes()->mode & 07777, 0040u);
  EXPECT_EQ((*Find(fs, "program"))->GetAttributes()->mode & 07777, 06755u);
  EXPECT_EQ((*Find(fs, "closed"))->GetAttributes()->mode & 07777, 01555u);
}

TEST_F(TreeCheckTest, LeftoversAreNotesAndGo) {
  { ASSERT_THAT(Make(Open()->root(), "f", S_IFREG | 0600, 5), Succeeds()); }
  WriteHost(Path("root/.usl/work/t1"), "half a copy");
  MakeHostDirectory("root/.usl/work/t2");
  WriteHost(Path("root/.usl/work/t2/w"), "");
  WriteHost(Path("root/.usl/what"), "");
  auto report = Check();
  EXPECT_EQ(report.Status(), 0);
  EXPECT_THAT(Notes(report),
              UnorderedElementsAre("unfinished .usl/work/t1", "unfinished .usl/work/t2", "private .usl/what"));
  EXPECT_EQ(Check(true).Status(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(Path("root/.usl/work")));
  EXPECT_THAT(Notes(Check()), ElementsAre("private .usl/what")) << "what is not known is not removed";
}

TEST_F(TreeCheckTest, EmptySymlinksAreMovedAside) {
  {
    auto fs = Open();
    ASSERT_THAT(Make(fs->root(), "link", S_IFLNK | 0777, 5, 5, 0, "target"), Succeeds());
  }
  ASSERT_EQ(::truncate(Path("root/link").c_str(), 0), 0);
  RepairsTo({"symlink link"});
  EXPECT_THAT(Lost(), HasSubstr("symlink.1\tsymlink\tlink\n"));
}

TEST_F(TreeCheckTest, TheIndexIsChecked) {
  WriteHost(MakeHostDirectory("lower") + "/a", "lower");
  ASSERT_EQ(::link(Path("lower/a").c_str(), Path("lower/b").c_str()), 0);
  {
    auto fs = Open(true);
    vfs::AttributeChange change;
    change.uid = 9;
    ASSERT_THAT((*Find(fs, "a"))->SetAttributes(change), Succeeds());
  }
  EXPECT_THAT(Problems(Check()), IsEmpty());
  WriteHost(Path("root/.usl/index/notes"), "x");
  WriteHost(Path("root/.usl/index/abc"), "x");
  std::filesystem::create_hard_link(Path("root/a"), Path("root/a2"));
  std::filesystem::create_hard_link(Path("root/a"), Path("root/a3"));
  RepairsTo({"index .usl/index/notes", "index .usl/index/abc", "record " + IndexPath()});
  auto fs = Open(true);
  EXPECT_EQ((*Find(fs, "b"))->GetAttributes()->nlink, 3u);
  EXPECT_EQ((*Find(fs, "b"))->GetAttributes()->uid, 9u);
}

TEST_F(TreeCheckTest, TwoRedirectsToOneDirectoryAreTold) {
  MakeHostDirectory("root/x");
  MakeHostDirectory("root/y");
  AttributeRecord record;
  record.redirect = "some/where";
  SetRecord("x", record);
  SetRecord("y", record);
  auto report = Check(true);
  EXPECT_EQ(report.Status(), 4);
  EXPECT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems.front().kind, "redirect");
}

TEST_F(TreeCheckTest, ADamagedSidecarIsSavedAsFarAsItGoes) {
  MakeSidecar(Path("root"));
  {
    auto fs = Open();
    for (int i = 0; i < 5; ++i) ASSERT_THAT(Make(fs->root(), std::to_string(i), S_IFREG | 0644, 10 + i), Succeeds());
  }
  std::fstream file(Path("root/.usl/sidecar"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(64 + 45);
  file << "XX";
  file.close();
  RepairsTo({"damage .usl/sidecar"});
  EXPECT_THAT(Lost(), HasSubstr(".usl/sidecar\n"));
  auto fs = Open();
  int owned = 0;
  for (int i = 0; i < 5; ++i) owned += (*Find(fs, std::to_string(i)))->GetAttributes()->uid == 10u + i;
  EXPECT_EQ(owned, 4);
}

TEST_F(TreeCheckTest, TheSidecarsConditionsAreTold) {
  MakeSidecar(Path("root"));
  { ASSERT_THAT(Make(Open()->root(), "f", S_IFREG | 0644, 10), Succeeds()); }
  std::string whole = ReadHost(Path("root/.usl/sidecar"));
  std::ofstream(Path("root/.usl/sidecar"), std::ios::app) << "cut off";
  ASSERT_THAT(Log("sidecar")->Put(999'999'999, {}, EncodeRecord({.uid = 1})), Succeeds());
  std::ofstream(Path("root/.usl/sidecar"), std::ios::app) << "cut off";
  EXPECT_EQ(Check().Status(), 0);
  EXPECT_THAT(Notes(Check()), UnorderedElementsAre("unfinished .usl/sidecar", "unused .usl/sidecar"));
  EXPECT_EQ(Check(true).Status(), 0);
  EXPECT_THAT(Notes(Check()), IsEmpty());
  std::filesystem::copy_file(Path("root/.usl/sidecar"), Path("root/.usl/copy"));
  std::filesystem::rename(Path("root/.usl/copy"), Path("root/.usl/sidecar"));
  EXPECT_EQ(Check(true).Status(), 4);
  EXPECT_THAT(Problems(Check(true)), ElementsAre("foreign .usl/sidecar"));
  WriteHost(Path("root/.usl/sidecar"), "USLRECS\n" + std::string("\7\0\0\0", 4));
  EXPECT_THAT(Problems(Check(true)), ElementsAre("version .usl/sidecar"));
  WriteHost(Path("root/.usl/sidecar"), "not a sidecar at all");
  RepairsTo({"damage .usl/sidecar"});
  EXPECT_EQ(ReadHost(Path("root/.usl/lost/damaged.1")), "not a sidecar at all");
}

TEST_F(TreeCheckTest, RecordsInTheOverflowFileAreLookedFor) {
  if (UsesSidecar()) GTEST_SKIP() << "there is none";
  {
    auto fs = Open();
    for (const char* name : {"f", "g"}) {
      auto file = *Make(fs->root(), name, S_IFREG | 0644, 10);
      ASSERT_THAT(file->SetXattr("trusted.large", std::vector<std::byte>(50'000), 0), Succeeds());
    }
  }
  EXPECT_EQ(Check().Status(), 0);
  auto log = Log("overflow");
  ASSERT_EQ(log->size(), 2u);
  log->Drop(log->Keys().front());
  ASSERT_THAT(log->Put(5, {}, Bytes("nobody's")), Succeeds());
  log = nullptr;
  auto report = Check();
  EXPECT_EQ(report.Status(), 4);
  EXPECT_EQ(Problems(report).size(), 1u);
  EXPECT_THAT(Notes(report), ElementsAre("unused .usl/overflow"));
  EXPECT_EQ(Check(true).Status(), 1);
  EXPECT_EQ(Check().Status(), 0);
  EXPECT_THAT(Notes(Check()), IsEmpty());
  auto fs = Open();
  EXPECT_THAT(Find(fs, "f"), Succeeds());
  EXPECT_THAT(Find(fs, "g"), Succeeds());
}

TEST_F(TreeCheckTest, DeepTreesAreChecked) {
  UniqueFd at(::open(Path("root").c_str(), O_PATH | O_DIRECTORY));
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "directory", 0755), 0);
    at = UniqueFd(::openat(at.get(), "directory", O_PATH | O_DIRECTORY));
    ASSERT_TRUE(at);
  }
  ASSERT_EQ(::mknodat(at.get(), "program", S_IFREG | 04755, 0), 0);
  auto report = Check(true);
  EXPECT_EQ(report.Status(), 1);
  EXPECT_EQ(report.directories, 3001u);
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems.front().path.size(), 3000u * 10 + 7);
}

}  // namespace
}  // namespace usl::fs
