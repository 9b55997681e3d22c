// Trees whose records are in the sidecar. volfs_test and layer_test run on such trees too (unit.usl_fs_sidecar).
#include "fs/sidecar_store.h"

#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

class SidecarTest : public ScratchTest {
 protected:
  SidecarTest() { MakeSidecar(MakeHostDirectory("root")); }
  Result<Ref<VolFs>> Open(const std::string& name = "root") {
    VolFsOptions options;
    options.upper = LayerOptions{.path = Path(name)};
    return VolFs::Open(std::move(options));
  }
  std::unique_ptr<RecordLog> Log() {
    UniqueFd directory(::open(Path("root/.usl").c_str(), O_PATH | O_DIRECTORY));
    RecordLog::Condition condition;
    auto log = RecordLog::Open(directory.get(), "sidecar", RecordLog::Access::kWrite, 0, &condition);
    EXPECT_THAT(log, Succeeds());
    return std::move(*log);
  }
  static uint64_t NumberOf(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0);
    return status.st_ino;
  }
};

TEST_F(SidecarTest, EverythingIsInIt) {
  {
    auto fs = *Open();
    auto file = *Make(fs->root(), "f", S_IFREG | 04751, 1000, 100);
    ASSERT_THAT(Make(fs->root(), "device", S_IFBLK | 0660, 0, 6, makedev(8, 1)), Succeeds());
    ASSERT_THAT(Make(fs->root(), "link", S_IFLNK | 0777, 9, 9, 0, "target"), Succeeds());
    ASSERT_THAT(file->SetXattr("user.note", Bytes("n"), 0), Succeeds());
    ASSERT_THAT(fs->root()->SetXattr("trusted.t", Bytes("root"), 0), Succeeds());
  }
  EXPECT_FALSE(HasRecord("root/f"));
  EXPECT_LT(::getxattr(Path("root/f").c_str(), "user.note", nullptr, 0), 0);
  auto fs = *Open();
  auto file = (*Find(fs, "f"))->GetAttributes();
  EXPECT_EQ(file->mode, S_IFREG | 04751u);
  EXPECT_EQ(file->uid, 1000u);
  EXPECT_EQ((*Find(fs, "device"))->GetAttributes()->rdev, makedev(8, 1));
  EXPECT_EQ((*Find(fs, "link"))->GetAttributes()->uid, 9u);
  EXPECT_EQ(*(*Find(fs, "link"))->ReadLink(context_), "target");
  EXPECT_EQ(*(*Find(fs, "f"))->GetXattr("user.note"), Bytes("n"));
  EXPECT_EQ(*fs->root()->GetXattr("trusted.t"), Bytes("root"));
}

TEST_F(SidecarTest, RecordsDoNotPassToFilesThatReuseANumber) {
  auto fs = *Open();
  std::string path = Path("root/f");
  for (int i = 0; i < 50; ++i) {
    auto file = *Make(fs->root(), "f", S_IFREG | 0600, 1000, 1000);
    EXPECT_EQ(file->GetAttributes()->uid, 1000u);
    ASSERT_THAT(fs->root()->Unlink("f", *file), Succeeds());
    file = nullptr;
    auto next = *Make(fs->root(), "g", S_IFREG | 0644);
    EXPECT_EQ(next->GetAttributes()->uid, 0u);
    ASSERT_THAT(fs->root()->Unlink("g", *next), Succeeds());
  }
  fs = nullptr;
  auto log = Log();
  EXPECT_EQ(log->size(), 0u);
  // A record that nobody removed does not pass to another file where the host can tell files apart.
  WriteHost(path, "new");
  FileStamp now = SidecarStore::StampOf({AT_FDCWD, path.c_str()});
  AttributeRecord record;
  record.uid = 1000;
  ASSERT_THAT(
      log->Put(NumberOf(path), {now.handle ? now.handle + 1 : 0, now.birth ? now.birth + 1 : 0}, EncodeRecord(record)),
      Succeeds());
  log = nullptr;
  fs = *Open();
  if (now.handle || now.birth) {
    EXPECT_EQ((*Find(fs, "f"))->GetAttributes()->uid, 0u);
  }
}

TEST_F(SidecarTest, ADamagedRecordIsAnErrorOfThatFileOnly) {
  WriteHost(Path("root/bad"), "x");
  WriteHost(Path("root/good"), "y");
  { ASSERT_THAT(Open(), Succeeds()); }
  for (std::string value : {"garbage", "U\x02", "U\x01\x01", "U\x01\x0c\x00\x08\x00overflow", ""}) {
    ASSERT_THAT(Log()->Put(NumberOf(Path("root/bad")), {}, Bytes(value)), Succeeds());
    auto fs = *Open();
    EXPECT_THAT(Find(fs, "bad"), FailsWith(EIO));
    EXPECT_EQ(Read(*Find(fs, "good")), "y");
  }
}

TEST_F(SidecarTest, ACopyOfATreeIsNotUsedByMistake) {
  { ASSERT_THAT(Make((*Open())->root(), "f", S_IFREG | 0600, 1000), Succeeds()); }
  std::filesystem::copy(Path("root"), Path("copy"), std::filesystem::copy_options::recursive);
  EXPECT_THAT(Open("copy"), FailsWith(EXDEV));
  EXPECT_THAT(Open(), Succeeds());
  std::filesystem::rename(Path("root"), Path("moved"));
  EXPECT_THAT(Open("moved"), Succeeds()) << "a renamed tree is the same one";
}

TEST_F(SidecarTest, ADamagedFileIsRefusedWhole) {
  {
    auto fs = *Open();
    for (int i = 0; i < 5; ++i) ASSERT_THAT(Make(fs->root(), std::to_string(i), S_IFREG | 0600, 1000), Succeeds());
  }
  std::fstream file(Path("root/.usl/sidecar"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(150);
  file << "damage";
  file.close();
  EXPECT_THAT(Open(), FailsWith(EIO));
}

TEST_F(SidecarTest, ALowerLayerBringsItsOwn) {
  { ASSERT_THAT(Make((*Open())->root(), "f", S_IFREG | 04700, 1000), Succeeds()); }
  VolFsOptions options;
  options.upper = LayerOptions{.path = MakeHostDirectory("upper")};
  options.lowers.push_back(LayerOptions{.path = Path("root")});
  auto fs = VolFs::Open(std::move(options));
  ASSERT_THAT(fs, Succeeds());
  auto file = *Find(*fs, "f");
  EXPECT_EQ(file->GetAttributes()->mode, S_IFREG | 04700u);
  ASSERT_THAT(Write(file, "up"), Succeeds());
  EXPECT_EQ(file->GetAttributes()->uid, 1000u);
}

}  // namespace
}  // namespace usl::fs
