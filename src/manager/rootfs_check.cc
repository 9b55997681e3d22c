#include "manager/rootfs_check.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/format.h"
#include "base/unique_fd.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

// Programs that nearly every root has one of; their ELF header tells the architecture.
constexpr const char* kProbes[] = {"bin/sh", "usr/bin/sh", "bin/busybox", "usr/bin/env", "usr/bin/bash"};

bool IsEmptyDirectory(int directory) {
  const int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* listing = fd < 0 ? nullptr : fdopendir(fd);
  if (!listing) return false;
  bool empty = true;
  while (const dirent* entry = readdir(listing)) {
    const std::string name = entry->d_name;
    // lost+found of a fresh file system, and what VolFs itself keeps there, are nothing to run.
    if (name != "." && name != ".." && name != "lost+found" && name != ".usl") empty = false;
  }
  closedir(listing);
  return empty;
}

// The ELF machine of the first probe that is there, 0 when none is.
unsigned Machine(int root) {
  for (const char* probe : kProbes) {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_IN_ROOT;  // symlinks as the guest will see them
    const UniqueFd file(static_cast<int>(syscall(SYS_openat2, root, probe, &how, sizeof how)));
    Elf64_Ehdr header{};
    if (!file || pread(file.get(), &header, sizeof header, 0) < 20) continue;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) continue;
    // x32 and other 32-bit classes of a known machine do not run either.
    return header.e_machine == EM_X86_64 && header.e_ident[EI_CLASS] != ELFCLASS64 ? EM_386 : header.e_machine;
  }
  return 0;
}

std::string MachineName(unsigned machine) {
  switch (machine) {
    case EM_386: return "32-bit x86";
    case EM_AARCH64: return "arm64";
    case EM_ARM: return "32-bit ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "ppc64";
    case EM_S390: return "s390x";
    default: return format("machine number {}", machine);
  }
}

}  // namespace

std::string ExplainBadRootfs(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) < 0) {
    if (errno == ENOENT) return "does not exist; unpack a distribution there, or give another directory";
    return format("cannot be reached: {}; check the permissions of the directories above it", ErrorText(errno));
  }
  if (!S_ISDIR(status.st_mode)) return "is not a directory; unpack the archive or image first and give its directory";
  const UniqueFd root(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return format("is not readable: {}; it must belong to you", ErrorText(errno));
  struct statvfs file_system;
  if (fstatvfs(root.get(), &file_system) == 0) {
    if (file_system.f_flag & ST_NOEXEC) {
      return "is on a file system mounted noexec; move it with `cp -a` to one that allows programs, such as your home";
    }
    if (file_system.f_flag & ST_RDONLY) return "is on a file system mounted read-only; copy it to a writable one";
  }
  if (faccessat(root.get(), ".", W_OK | X_OK, AT_EACCESS) < 0) {
    return format("is not writable: {}; it must belong to you (unpack it as yourself, or `chown -R`)",
                  ErrorText(errno));
  }
  if (IsEmptyDirectory(root.get())) {
    return "is empty; unpack a distribution there, for example with `mmdebstrap --mode=fakeroot stable` or from a "
           "root file system archive";
  }
  const unsigned machine = Machine(root.get());
  if (machine != 0 && machine != EM_X86_64) {
    return format("holds programs for {}; USL runs x86-64 programs only", MachineName(machine));
  }
  return {};
}

}  // namespace usl::manager
