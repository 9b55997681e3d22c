// Tells procfs what only the kernel's records know.
#pragma once

#include "fs/proc_source.h"
#include "kernel/kernel.h"

namespace usl::kernel {

class KernelProcSource final : public fs::ProcSource {
 public:
  explicit KernelProcSource(Kernel& kernel) : kernel_(kernel) {}

  std::vector<pid_t> Processes() override;
  bool HasProcess(pid_t pid) override;
  pid_t InitPid() override;
  std::optional<fs::ProcProcess> Find(pid_t pid, pid_t tid) override;
  std::optional<rlimit> VirtualLimit(pid_t pid, int resource) override;
  uint64_t NamespaceId(pid_t pid, fs::ProcNamespace kind) override;
  std::vector<fs::ProcMount> Mounts(pid_t pid) override;
  std::string PathText(const vfs::Path& path, const vfs::Path& root) override;
  Result<fs::ProcDescriptor> Descriptor(pid_t pid, int fd, const vfs::Path& reader_root) override;
  std::optional<fs::ProcFileName> MappedFile(pid_t pid, dev_t device, ino_t inode, std::string_view host_path) override;
  uint64_t PicoBase() override { return kernel_.options().pico_base; }
  Uts UtsNames(pid_t pid) override;
  Result<void> SetHostName(pid_t pid, std::string_view name) override;
  Result<void> SetDomainName(pid_t pid, std::string_view name) override;
  vfs::Protection* FileProtection() override { return &kernel_.vfs().protection(); }
  bool HasNetwork() override { return kernel_.options().network; }
  std::vector<std::string> SysvObjects(fs::SysvKind kind) override;
  std::string Keys(const vfs::Context& context) override;
  std::string KeyUsers() override { return kernel_.keys().DescribeUsers(); }
  Result<UniqueFd> OpenKernelLog(int flags) override {
    return kernel_.log_files().Open(KernelLogFiles::Form::kSyslog, flags);
  }
  std::map<ino_t, uid_t> Sockets() override;
  std::string UnixSocketName(std::string_view host_name) override { return kernel_.NameUnixSocket(host_name); }
  std::optional<std::string> SysctlValue(std::string_view path) override;
  void SysctlWritten(std::string_view path, std::string_view value) override;

 private:
  Kernel& kernel_;
};

}  // namespace usl::kernel
