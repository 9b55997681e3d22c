#include "init/exec_path.h"

#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace usl::init {
namespace {

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int kNotFound = 127;
constexpr int kNotExecutable = 126;

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// execve, and for scripts without a "#!" line the shell. Returns errno.
int TryExecute(const std::string& file, const std::vector<std::string>& argv, const std::vector<std::string>& env) {
  const auto environment = Pointers(env);
  execve(file.c_str(), Pointers(argv).data(), environment.data());
  if (errno != ENOEXEC) return errno;
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  char magic[SELFMAG] = {};
  const bool is_elf = fd >= 0 && read(fd, magic, sizeof magic) == SELFMAG && memcmp(magic, ELFMAG, SELFMAG) == 0;
  if (fd >= 0) close(fd);
  if (is_elf) return ENOEXEC;
  std::vector<std::string> shell{"/bin/sh", file};
  shell.insert(shell.end(), argv.begin() + 1, argv.end());
  execve("/bin/sh", Pointers(shell).data(), environment.data());
  return ENOEXEC;
}

// The machine of a foreign ELF file, or nothing.
std::string ForeignMachine(const std::string& file) {
  Elf64_Ehdr header{};
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t size = read(fd, &header, sizeof header);
  close(fd);
  if (size < 20 || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return {};
  if (header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_machine == EM_X86_64) return {};
  switch (header.e_machine) {
    case EM_X86_64: return "x32";
    case EM_386: return "32-bit x86";
    case EM_AARCH64: return "arm64";
    case EM_ARM: return "32-bit ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "ppc64";
    case EM_S390: return "s390x";
    default: return "machine number " + std::to_string(header.e_machine);
  }
}

ExecFailure Explain(const std::string& file, int error) {
  const std::string start = "cannot run \"" + file + "\": ";
  if (error == ENOENT && access(file.c_str(), F_OK) == 0) {
    return {kNotFound, start + "its interpreter is missing (what its #! line or its ELF header names is not there)"};
  }
  if (error == ENOENT) return {kNotFound, start + "there is no such file"};
  if (error == ENOTDIR) return {kNotFound, start + "a part of its path is not a directory"};
  if (error == ENOEXEC) {
    const std::string machine = ForeignMachine(file);
    if (!machine.empty()) {
      return {kNotExecutable, start + "it is a program for " + machine + "; USL runs x86-64 programs only"};
    }
  }
  return {kNotExecutable, start + strerror(error)};
}

std::string_view PathVariable(const std::vector<std::string>& env) {
  for (const std::string& entry : env) {
    if (entry.starts_with("PATH=")) return std::string_view(entry).substr(5);
  }
  return kDefaultPath;
}

}  // namespace

ExecFailure ExecuteCommand(const std::vector<std::string>& argv, const std::vector<std::string>& env,
                           bool login_shell) {
  const std::string& name = argv.front();
  std::vector<std::string> arguments = argv;
  if (login_shell) arguments[0] = "-" + name.substr(name.rfind('/') + 1);
  if (name.find('/') != std::string::npos) return Explain(name, TryExecute(name, arguments, env));
  if (name.empty()) return {kNotFound, "cannot run \"\": the name of the command is empty"};

  const std::string_view path = PathVariable(env);
  std::string denied;
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find(':', start), path.size());
    const std::string directory(path.substr(start, end - start));
    start = end + 1;
    const std::string file = (directory.empty() ? "." : directory) + "/" + name;
    const int error = TryExecute(file, arguments, env);
    switch (error) {
      case ENOENT:
        // Found, but its interpreter is missing: shells go on searching too, but the message should tell.
        if (denied.empty() && access(file.c_str(), X_OK) == 0) denied = file;
        continue;
      case ENOTDIR:
      case ELOOP:
      case ENAMETOOLONG: continue;
      case EACCES:
        if (denied.empty() && access(file.c_str(), F_OK) == 0) denied = file;
        continue;
      default: return Explain(file, error);
    }
  }
  if (!denied.empty()) return Explain(denied, access(denied.c_str(), X_OK) == 0 ? ENOENT : EACCES);
  return {kNotFound, "cannot run \"" + name + "\": no such command in PATH (" + std::string(path) + ")"};
}

}  // namespace usl::init
