#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/sha256.h"
#include "fs/tree_check.h"
#include "fs/volfs.h"
#include "manager/archive_reader.h"
#include "manager/archive_writer.h"
#include "vfs/context.h"
#include "vfs/posix_acl.h"

namespace usl::manager {
namespace {

using testing::HasSubstr;

// A tar archive, block by block, so that it can be as wrong as a test wants it.
class Tar {
 public:
  struct Member {
    std::string name;
    char type = '0';
    std::string data, link;
    unsigned mode = 0644, uid = 0, gid = 0;
    unsigned major = 0, minor = 0;
    std::string size;  // the field, instead of the data's size
  };

  Tar& Add(const Member& member) {
    char header[512] = {};
    memcpy(header, member.name.data(), std::min<size_t>(member.name.size(), 100));
    Octal(header + 100, 8, member.mode);
    Octal(header + 108, 8, member.uid);
    Octal(header + 116, 8, member.gid);
    Octal(header + 124, 12, member.data.size());
    if (!member.size.empty()) memcpy(header + 124, member.size.data(), std::min<size_t>(member.size.size(), 12));
    Octal(header + 136, 12, 1'000'000'000);
    header[156] = member.type;
    memcpy(header + 157, member.link.data(), std::min<size_t>(member.link.size(), 100));
    memcpy(header + 257, "ustar\00000", 8);
    Octal(header + 329, 8, member.major);
    Octal(header + 337, 8, member.minor);
    memset(header + 148, ' ', 8);
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    Octal(header + 148, 7, sum);
    text.append(header, sizeof header);
    text += member.data;
    text.resize((text.size() + 511) / 512 * 512);
    return *this;
  }
  // Records of pax for the member that follows.
  Tar& Pax(const std::vector<std::pair<std::string, std::string>>& records) {
    std::string data;
    for (const auto& [key, value] : records) {
      const size_t rest = key.size() + value.size() + 3;
      size_t length = rest + std::to_string(rest).size();
      if (std::to_string(length).size() + rest != length) length = rest + std::to_string(length).size();
      data += std::to_string(length) + " " + key + "=" + value + "\n";
    }
    return Add({.name = "pax", .type = 'x', .data = data});
  }
  Tar& End() {
    text.append(1024, '\0');
    return *this;
  }

  std::string text;

 private:
  static void Octal(char* field, size_t size, uint64_t value) {
    snprintf(field, size, "%0*llo", static_cast<int>(size) - 1, static_cast<unsigned long long>(value));
  }
};

class ArchiveTest : public testing::Test {
 protected:
  ArchiveTest() {
    char path[] = "/var/tmp/usl-archive-test-XXXXXX";
    if (mkdtemp(path)) scratch_ = path;
    std::filesystem::create_directory(scratch_ + "/tree");
    std::ofstream(scratch_ + "/outside") << "untouched";
  }
  ~ArchiveTest() override {
    std::error_code error;
    std::filesystem::remove_all(scratch_, error);
  }

  std::string tree() const { return scratch_ + "/tree"; }
  void NewTree() {
    std::filesystem::remove_all(tree());
    std::filesystem::create_directory(tree());
  }
  static UniqueFd Fd(const std::string& text) {
    UniqueFd fd(memfd_create("archive", MFD_CLOEXEC));
    EXPECT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    lseek(fd.get(), 0, SEEK_SET);
    return fd;
  }
  Result<ExtractedArchive> Extract(const std::string& text, bool whiteouts = false) {
    why_.clear();
    return ExtractArchive(Fd(text).get(), tree(), {.what = "a.tar", .whiteouts = whiteouts}, &why_);
  }
  // errno, or 0.
  int ErrorOf(const Tar& tar) {
    NewTree();
    const auto result = Extract(tar.text);
    return result ? 0 : result.error().code();
  }
  // Nothing was made beside the tree, and what is in it is well-formed.
  void ExpectContained() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(scratch_)) names.push_back(entry.path().filename());
    EXPECT_THAT(names, testing::UnorderedElementsAre("tree", "outside"));
    std::ifstream outside(scratch_ + "/outside");
    std::string text;
    std::getline(outside, text);
    EXPECT_EQ(text, "untouched");
    ExpectSound();
  }
  void ExpectSound() {
    std::string why;
    const auto report = fs::CheckTree(tree(), false, &why);
    ASSERT_TRUE(report) << why;
    EXPECT_EQ(report->Status(), 0) << (report->problems.empty()
                                           ? ""
                                           : report->problems[0].path + " " + report->problems[0].text);
  }
  Result<Ref<vfs::Inode>> Find(const std::string& path) {
    if (!volfs_) volfs_ = USL_TRY(fs::VolFs::Open({.upper = fs::LayerOptions{.path = tree()}}));
    Ref<vfs::Inode> inode = volfs_->root();
    for (const auto& part : std::filesystem::path(path)) inode = USL_TRY(inode->Lookup(part.string(), context_));
    return inode;
  }
  vfs::Attributes Of(const std::string& path) {
    const auto inode = Find(path);
    EXPECT_TRUE(inode) << path;
    return inode ? (*inode)->GetAttributes().value_or(vfs::Attributes{}) : vfs::Attributes{};
  }
  std::string Content(const std::string& path) {
    const auto inode = Find(path);
    auto fd = inode ? (*inode)->OpenForKernel() : Fail(ENOENT);
    char buffer[4096];
    const ssize_t n = fd ? read(fd->get(), buffer, sizeof buffer) : 0;
    return {buffer, static_cast<size_t>(std::max<ssize_t>(n, 0))};
  }
  std::string Xattr(const std::string& path, const std::string& name) {
    const auto inode = Find(path);
    const auto value = inode ? (*inode)->GetXattr(name) : Fail(ENOENT);
    return value ? std::string(reinterpret_cast<const char*>(value->data()), value->size()) : "none";
  }
  std::string Pack() {
    (void)Find("");
    UniqueFd fd(memfd_create("packed", MFD_CLOEXEC));
    const auto packed = PackTree(*volfs_, fd.get(), {.what = "b.tar"}, &why_);
    EXPECT_TRUE(packed) << why_;
    std::string text(static_cast<size_t>(lseek(fd.get(), 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return text;
  }

  std::string scratch_, why_;
  Ref<fs::VolFs> volfs_;
  cred::Credentials credentials_ = cred::RootCredentials();
  vfs::Context context_{credentials_, {}, {}};
};

// One of each kind.
Tar Everything() {
  Tar tar;
  tar.Add({.name = "./", .type = '5', .mode = 0755});
  tar.Add({.name = "./bin/", .type = '5', .mode = 0500, .uid = 7});
  tar.Pax({{"mtime", "1234567890.123456789"}, {"SCHILY.xattr.user.color", "green"}, {"SCHILY.xattr.user.usl", "mine"}});
  tar.Add({.name = "./bin/su", .data = "program", .mode = 04755});
  tar.Add({.name = "./bin/other", .type = '1', .link = "./bin/su"});
  tar.Pax({{"SCHILY.xattr.security.capability", std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)}});
  tar.Add({.name = "./bin/ping", .data = "p", .mode = 0, .uid = 1000, .gid = 4'000'000'00 % 65536});
  tar.Add({.name = "./link", .type = '2', .link = "../../outside"});
  tar.Add({.name = "./owned", .type = '2', .link = "target", .uid = 33, .gid = 34});
  tar.Add({.name = "./null", .type = '3', .mode = 0666, .major = 1, .minor = 3});
  tar.Add({.name = "./sda", .type = '4', .mode = 0660, .gid = 6, .major = 8});
  tar.Add({.name = "./fifo", .type = '6', .mode = 0600, .uid = 5});
  tar.Pax({{"SCHILY.acl.access", "user::rw-,user:1000:r--,group::r--,mask::r--,other::---"}});
  tar.Add({.name = "./shared", .data = "x", .mode = 0640});
  tar.Pax({{"path", "./" + std::string(200, 'd') + "/\xc3\xbc-" + std::string(200, 'f')}});
  tar.Add({.name = "long", .data = "long name"});
  tar.Pax({{"path", "./not-\xff\xfe-utf8"}});
  tar.Add({.name = "bytes", .data = "b"});
  return tar.End();
}

TEST_F(ArchiveTest, EverythingArrives) {
  const Tar tar = Everything();
  const auto result = Extract(tar.text);
  ASSERT_TRUE(result) << why_;
  EXPECT_EQ(result->sha256, Sha256Hex(tar.text));
  EXPECT_EQ(Of("bin").mode, unsigned{S_IFDIR | 0500});
  EXPECT_EQ(Of("bin").uid, 7u);
  EXPECT_EQ(Of("bin/su").mode, unsigned{S_IFREG | 04755});
  EXPECT_EQ(Of("bin/su").nlink, 2u);
  EXPECT_EQ(Of("bin/su").ino, Of("bin/other").ino);
  EXPECT_EQ(Of("bin/su").mtime.tv_sec, 1234567890);
  EXPECT_EQ(Of("bin/su").mtime.tv_nsec, 123456789);
  EXPECT_EQ(Of("bin").mtime.tv_sec, 1'000'000'000);
  EXPECT_EQ(Xattr("bin/su", "user.color"), "green");
  EXPECT_EQ(Xattr("bin/su", "user.usl"), "mine");
  EXPECT_EQ(Xattr("bin/ping", "security.capability").size(), 20u);
  EXPECT_EQ(Of("bin/ping").mode, unsigned{S_IFREG});
  EXPECT_EQ(Of("link").mode & S_IFMT, unsigned{S_IFLNK});
  EXPECT_EQ((*Find("link"))->ReadLink(context_).value_or(""), "../../outside");
  EXPECT_EQ(Of("owned").uid, 33u);
  EXPECT_EQ((*Find("owned"))->ReadLink(context_).value_or(""), "target");
  EXPECT_EQ(Of("null").rdev, makedev(1, 3));
  EXPECT_EQ(Of("sda").mode, unsigned{S_IFBLK | 0660});
  EXPECT_EQ(Of("fifo").mode, unsigned{S_IFIFO | 0600});
  EXPECT_EQ(Of("shared").mode, unsigned{S_IFREG | 0640});
  const std::string acl = Xattr("shared", "system.posix_acl_access");
  const auto parsed = vfs::PosixAcl::Parse(std::as_bytes(std::span(acl)));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->entries().size(), 5u);
  EXPECT_EQ(parsed->entries()[1].id, 1000u);
  EXPECT_EQ(Content(std::string(200, 'd') + "/\xc3\xbc-" + std::string(200, 'f')), "long name");
  EXPECT_EQ(Content("not-\xff\xfe-utf8"), "b");
  volfs_ = nullptr;
  ExpectContained();
}

TEST_F(ArchiveTest, WhatIsPackedIsTheSameWhenItIsUnpackedAgain) {
  ASSERT_TRUE(Extract(Everything().text)) << why_;
  {
    std::ofstream sparse(tree() + "/sparse", std::ios::binary);
    sparse.seekp(40 << 20);
    sparse << "end";
  }
  std::filesystem::resize_file(tree() + "/bin/su", 7);
  { std::ofstream(tree() + "/hole"); }
  std::filesystem::resize_file(tree() + "/hole", 1 << 20);
  const std::string first = Pack();
  EXPECT_LT(first.size(), size_t{4} << 20);
  volfs_ = nullptr;
  NewTree();
  ASSERT_TRUE(Extract(first)) << why_;
  EXPECT_EQ(Of("sparse").size, (40u << 20) + 3);
  EXPECT_LT(Of("sparse").blocks * 512, 1u << 20);
  EXPECT_EQ(Of("hole").size, 1u << 20);
  const std::string second = Pack();
  EXPECT_EQ(Sha256Hex(first), Sha256Hex(second));
  volfs_ = nullptr;
  ExpectContained();
}

TEST_F(ArchiveTest, NamesThatLeaveTheTreeAreRefused) {
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "../outside", .data = "x"}).End()), EINVAL);
  EXPECT_THAT(why_, HasSubstr("\"../outside\" of \"a.tar\""));
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "a/../../outside", .data = "x"}).End()), EINVAL);
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "..", .type = '5'}).End()), EINVAL);
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "x", .type = '1', .link = "../outside"}).End()), EINVAL);
  ExpectContained();
  // As tar does: a leading slash is the tree's root.
  EXPECT_EQ(ErrorOf(Tar().Add({.name = scratch_ + "/outside", .data = "x"}).End()), 0);
  EXPECT_EQ(Content(scratch_.substr(1) + "/outside"), "x");
  volfs_ = nullptr;
  ExpectContained();
}

TEST_F(ArchiveTest, SymlinksLeadNowhereElse) {
  for (const std::string target : {"..", "../..", scratch_.c_str(), "/"}) {
    for (const unsigned uid : {0u, 5u}) {
      const int error = ErrorOf(Tar()
                                    .Add({.name = "up", .type = '2', .link = target, .uid = uid})
                                    .Add({.name = "up/outside", .data = "changed"})
                                    .Add({.name = "up/new", .data = "x"})
                                    .End());
      EXPECT_EQ(error, 0) << why_;
      ExpectContained();
    }
  }
  // A hard link to a symlink is one to the link itself.
  EXPECT_EQ(ErrorOf(Tar()
                        .Add({.name = "s", .type = '2', .link = scratch_ + "/outside"})
                        .Add({.name = "h", .type = '1', .link = "s"})
                        .Add({.name = "h", .data = "changed"})
                        .End()),
            0);
  ExpectContained();
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "a", .type = '2', .link = "a"}).Add({.name = "a/b", .data = "x"}).End()), ELOOP);
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "f", .data = "x"}).Add({.name = "f/b", .data = "x"}).End()), ENOTDIR);
  ExpectContained();
}

TEST_F(ArchiveTest, ThePrivateDirectoryIsOutOfReach) {
  EXPECT_EQ(ErrorOf(Tar().Add({.name = ".usl/format", .data = "99"}).End()), EPERM);
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "./.usl", .type = '5'}).End()), EPERM);
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "x", .type = '2', .link = ".usl"}).Add({.name = "x/format", .data = "9"}).End()),
            EPERM);
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "f", .data = "x"}).Add({.name = ".usl", .type = '1', .link = "f"}).End()),
            EPERM);
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "a/.usl", .data = "fine"}).End()), 0) << why_;
  ExpectContained();
}

TEST_F(ArchiveTest, LaterMembersReplaceEarlierOnes) {
  EXPECT_EQ(ErrorOf(Tar()
                        .Add({.name = "a", .data = "first", .mode = 04711, .uid = 9})
                        .Add({.name = "a", .data = "second"})
                        .Add({.name = "d/x/y", .data = "deep"})
                        .Add({.name = "d", .data = "file"})
                        .Add({.name = "e", .data = "file"})
                        .Add({.name = "e/", .type = '5', .mode = 0700})
                        .Add({.name = "f", .type = '3', .major = 1, .minor = 3})
                        .Add({.name = "f", .type = '2', .link = "t"})
                        .Add({.name = "g/", .type = '5', .mode = 02000, .uid = 3})
                        .Add({.name = "g/null", .type = '3', .major = 1, .minor = 3})
                        .Add({.name = "g/", .type = '5', .mode = 0755})
                        .Add({.name = "s", .type = '1', .link = "a"})
                        .Add({.name = "a", .type = '1', .link = "a"})
                        .End()),
            0)
      << why_;
  EXPECT_EQ(Content("a"), "second");
  EXPECT_EQ(Of("a").uid, 0u);
  EXPECT_EQ(Of("a").mode, unsigned{S_IFREG | 0644});
  EXPECT_EQ(Of("a").nlink, 2u);
  EXPECT_EQ(Content("d"), "file");
  EXPECT_EQ(Of("e").mode, unsigned{S_IFDIR | 0700});
  EXPECT_EQ(Of("f").mode & S_IFMT, unsigned{S_IFLNK});
  EXPECT_EQ(Of("g").mode, unsigned{S_IFDIR | 0755});
  EXPECT_EQ(Of("g").uid, 0u);
  EXPECT_EQ(Of("g/null").mode & S_IFMT, unsigned{S_IFCHR});
  volfs_ = nullptr;
  ExpectContained();
}

TEST_F(ArchiveTest, ImpossibleMembersAreRefused) {
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "x", .type = '1', .link = "missing"}).End()), ENOENT);
  EXPECT_THAT(why_, HasSubstr("\"x\""));
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "d/", .type = '5'}).Add({.name = "x", .type = '1', .link = "d"}).End()), EISDIR);
  EXPECT_EQ(ErrorOf(Tar().Add({.name = "s", .type = '2', .link = ""}).End()), EINVAL);
  EXPECT_EQ(ErrorOf(Tar().Pax({{"uid", "4294967295"}}).Add({.name = "x"}).End()), EINVAL);
  EXPECT_EQ(ErrorOf(Tar().Pax({{"path", std::string(300, 'n')}}).Add({.name = "x"}).End()), ENAMETOOLONG);
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep += "d/";
  EXPECT_EQ(ErrorOf(Tar().Pax({{"path", deep + "f"}}).Add({.name = "x"}).End()), ENAMETOOLONG);
  ExpectContained();
}

TEST_F(ArchiveTest, NoArchiveIsToldApart) {
  const std::string random =
      "\x7f"
      "ELF" +
      std::string(5000, 'q');
  for (const std::string& text : {std::string(), std::string("x"), random, std::string(100, '\0'),
                                  std::string("\x1f\x8b\x08\0\0\0\0\0\0\0garbage", 17)}) {
    NewTree();
    const auto result = Extract(text);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), EBADMSG) << why_;
    EXPECT_THAT(why_, HasSubstr("a.tar"));
  }
  // No files at all.
  EXPECT_EQ(ErrorOf(Tar().End()), EBADMSG);
}

// Wherever it is cut: an error, no crash, and nothing outside of the tree.
TEST_F(ArchiveTest, TruncatedArchivesAreRefused) {
  const std::string whole = Everything().text;
  const size_t end = whole.size() - 1024;
  for (size_t size = 0; size <= end; size += size % 512 == 0 ? 511 : 1) {
    NewTree();
    const auto result = Extract(whole.substr(0, size));
    ASSERT_FALSE(result) << "at " << size;
    EXPECT_EQ(result.error().code(), EBADMSG) << "at " << size << ": " << why_;
  }
  ExpectContained();
}

// Bits that flip are found by tar's checksums of headers; in data they are data. Either way nothing leaves the tree.
TEST_F(ArchiveTest, CorruptedArchivesDoNoHarm) {
  const std::string whole = Everything().text;
  unsigned random = 1;
  for (int round = 0; round < 300; ++round) {
    std::string text = whole;
    for (int i = 0; i < 1 + round % 8; ++i) {
      random = random * 1664525 + 1013904223;
      text[(random >> 4) % text.size()] ^= static_cast<char>(1 << (random >> 28) % 8);
    }
    NewTree();
    (void)Extract(text);
    std::ifstream outside(scratch_ + "/outside");
    std::string content;
    std::getline(outside, content);
    ASSERT_EQ(content, "untouched");
  }
  ExpectContained();
}

TEST_F(ArchiveTest, WhiteoutsOfLayersBecomeThoseOfVolFs) {
  const Tar tar = Tar()
                      .Add({.name = "etc/.wh.gone", .data = ""})
                      .Add({.name = "var/.wh..wh..opq", .data = ""})
                      .Add({.name = "var/new", .data = "n"})
                      .Add({.name = ".wh..wh.plnk", .type = '5'})
                      .End();
  ASSERT_TRUE(Extract(tar.text, true)) << why_;
  const std::string lower = scratch_ + "/tree2";
  std::filesystem::rename(tree(), lower);
  NewTree();
  ASSERT_TRUE(Extract(Tar()
                          .Add({.name = "etc/gone", .data = "x"})
                          .Add({.name = "etc/kept", .data = "x"})
                          .Add({.name = "var/old", .data = "x"})
                          .End()
                          .text));
  volfs_ = *fs::VolFs::Open({.lowers = {{.path = lower}, {.path = tree()}}});
  EXPECT_TRUE(Find("etc/kept"));
  EXPECT_FALSE(Find("etc/gone"));
  EXPECT_TRUE(Find("var/new"));
  EXPECT_FALSE(Find("var/old"));
  EXPECT_FALSE(Find(".wh..wh.plnk"));
  volfs_ = nullptr;
  // For everybody else they are names like others.
  NewTree();
  ASSERT_TRUE(Extract(tar.text)) << why_;
  EXPECT_TRUE(Find("etc/.wh.gone"));
}

TEST_F(ArchiveTest, AFullDiskIsTold) {
  const std::string text = Tar().Add({.name = "big", .data = std::string(1 << 20, 'b')}).End().text;
  const UniqueFd archive = Fd(text);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{65536, 65536};
    setrlimit(RLIMIT_FSIZE, &limit);
    std::string why;
    const auto result = ExtractArchive(archive.get(), tree(), {.what = "a.tar"}, &why);
    _exit(!result && result.error().code() == EFBIG && why.find("\"big\"") != why.npos ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(ArchiveTest, TheUserCanStopIt) {
  std::string why;
  const auto result = ExtractArchive(Fd(Everything().text).get(), tree(),
                                     {.what = "a.tar", .progress = [](const ArchiveProgress&) { return false; }}, &why);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ECANCELED);
  EXPECT_THAT(why, HasSubstr("interrupted"));
}

}  // namespace
}  // namespace usl::manager
