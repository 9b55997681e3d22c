// Calls that make, move and remove names.
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "model/dump.h"
#include "model/session.h"

namespace usl::model {

void Session::MakeDirectory() {
  const Where where = RandomName();
  const mode_t mode = RandomMode();
  Say("mkdirat");
  SayWhere(where);
  Say(" %o", mode);
  Outcome(mkdirat(where.dirfd, where.path.c_str(), mode));
}

void Session::MakeNode() {
  struct Kind {
    mode_t type;
    dev_t device;
  };
  const Kind kinds[] = {{S_IFREG, 0},
                        {S_IFREG, 0},
                        {0, 0},
                        {S_IFIFO, 0},
                        {S_IFSOCK, 0},
                        {S_IFCHR, makedev(1, 3)},
                        {S_IFCHR, makedev(240, 77)},
                        {S_IFBLK, makedev(240, 300)},
                        {S_IFDIR, 0},
                        {S_IFLNK, 0}};
  const Where where = RandomName();
  Kind kind = random_.Pick(kinds);
  if (!options_.devices && kind.device != 0) kind = kinds[0];
  const mode_t mode = kind.type | RandomMode();
  Say("mknodat");
  SayWhere(where);
  Say(" %o %lx", mode, static_cast<unsigned long>(kind.device));
  Outcome(mknodat(where.dirfd, where.path.c_str(), mode, kind.device));
}

void Session::MakeSymlink() {
  const Where where = RandomName();
  const std::string target = random_.OneIn(30) ? std::string(random_.Below(4200), 't') : RandomPath();
  Say("symlinkat %s",
      Escaped(target.starts_with(options_.directory) ? "@" + target.substr(options_.directory.size()) : target)
          .c_str());
  SayWhere(where);
  Outcome(symlinkat(target.c_str(), where.dirfd, where.path.c_str()));
}

void Session::MakeLink() {
  static constexpr int kFlags[] = {0, 0, 0, 0, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH, 0x800000};
  const Where from = RandomWhere(), to = RandomName();
  const int flags = random_.Pick(kFlags);
  Say("linkat");
  SayWhere(from);
  SayWhere(to);
  Say(" %x", flags);
  Outcome(linkat(from.dirfd, from.path.c_str(), to.dirfd, to.path.c_str(), flags));
}

void Session::Unlink() {
  const Where where = RandomName();
  Say("unlinkat");
  SayWhere(where);
  Outcome(unlinkat(where.dirfd, where.path.c_str(), random_.OneIn(40) ? AT_SYMLINK_NOFOLLOW : 0));
}

void Session::RemoveDirectory() {
  const Where where = RandomName();
  Say("rmdir");
  SayWhere(where);
  Outcome(unlinkat(where.dirfd, where.path.c_str(), AT_REMOVEDIR));
}

void Session::Rename() {
  static constexpr unsigned kFlags[] = {0,
                                        0,
                                        0,
                                        0,
                                        RENAME_NOREPLACE,
                                        RENAME_EXCHANGE,
                                        RENAME_EXCHANGE,
                                        RENAME_WHITEOUT,
                                        RENAME_NOREPLACE | RENAME_EXCHANGE,
                                        64};
  const Where from = RandomName(), to = RandomName();
  unsigned flags = random_.Pick(kFlags);
  if (!options_.whiteouts) flags &= ~unsigned{RENAME_WHITEOUT};
  Say("renameat2");
  SayWhere(from);
  SayWhere(to);
  Say(" %x", flags);
  Outcome(syscall(SYS_renameat2, from.dirfd, from.path.c_str(), to.dirfd, to.path.c_str(), flags));
}

void Session::ChangeDirectory() {
  const std::string path = random_.OneIn(2) ? round_directory_ : RandomPath();
  Say("chdir");
  SayWhere({AT_FDCWD, path});
  Outcome(chdir(path.c_str()));
  char text[4096];
  Say(" getcwd");
  const long length = syscall(SYS_getcwd, text, sizeof text);
  // Its length tells how long the scratch directory's name is; that is the same in both runs.
  if (Outcome(length) < 0) return;
  const std::string place = text;
  Say(" %s",
      Escaped(place.starts_with(options_.directory) ? "@" + place.substr(options_.directory.size()) : place).c_str());
}

}  // namespace usl::model
