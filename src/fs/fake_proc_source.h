// A ProcSource for tests: the "instance" is the test process and what it adds.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <map>

#include "fs/proc_source.h"
#include "fs/synthetic.h"

namespace usl::fs {

class FakeProcSource : public ProcSource {
 public:
  explicit FakeProcSource(vfs::Vfs* vfs = nullptr) : vfs_(vfs) { AddProcess(getpid()); }

  ProcProcess& AddProcess(pid_t pid) {
    ProcProcess& process = processes_[pid];
    process.serial = next_serial_++;
    process.credentials = std::make_shared<cred::Credentials>(cred::RootCredentials());
    return process;
  }
  ProcProcess& process(pid_t pid) { return processes_.at(pid); }
  void Remove(pid_t pid) { processes_.erase(pid); }

  std::vector<pid_t> Processes() override {
    std::vector<pid_t> pids;
    for (const auto& [pid, process] : processes_) pids.push_back(pid);
    return pids;
  }
  bool HasProcess(pid_t pid) override { return processes_.contains(pid); }
  pid_t InitPid() override { return init; }
  std::optional<ProcProcess> Find(pid_t pid, pid_t) override {
    const auto found = processes_.find(pid);
    return found == processes_.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<rlimit> VirtualLimit(pid_t, int resource) override {
    return resource == RLIMIT_CORE ? std::optional(rlimit{0, RLIM_INFINITY}) : std::nullopt;
  }
  uint64_t NamespaceId(pid_t, ProcNamespace kind) override { return 4026531834 + static_cast<uint64_t>(kind); }
  std::vector<ProcMount> Mounts(pid_t) override { return mounts; }
  std::string PathText(const vfs::Path& path, const vfs::Path& root) override {
    return vfs_ ? vfs_->PathText(path, root) : "/guest/path";
  }
  Result<ProcDescriptor> Descriptor(pid_t tid, int fd, const vfs::Path& root) override {
    const std::string link = "/proc/" + std::to_string(tid) + "/fd/" + std::to_string(fd);
    ProcDescriptor found;
    auto text = ReadHostLink(AT_FDCWD, link.c_str());
    if (!text) return Fail(EBADF);
    found.text = *text;
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));  // the test process's own
    if (!copy) return Fail(EBADF);
    if (vfs_) found.path = vfs_->Identify(copy.get()).path;
    if (found.path) {
      found.text = vfs_->PathText(found.path, root);
    } else {
      found.object = std::move(copy);
    }
    return found;
  }
  std::optional<ProcFileName> MappedFile(pid_t, dev_t, ino_t inode, std::string_view path) override {
    if (path.starts_with("/usr/lib/")) return ProcFileName{"/guest" + std::string(path), 77, inode};
    return std::nullopt;
  }
  uint64_t PicoBase() override { return 0x10000; }
  Uts UtsNames(pid_t) override { return {host_name, "(none)", "6.1.0-usl", "#1 SMP"}; }
  Result<void> SetHostName(pid_t, std::string_view name) override {
    host_name = name;
    return {};
  }
  Result<void> SetDomainName(pid_t, std::string_view) override { return Fail(EPERM); }
  bool HasNetwork() override { return network; }
  std::map<ino_t, uid_t> Sockets() override { return sockets; }
  std::string UnixSocketName(std::string_view) override { return "/s"; }

  pid_t init = 0;
  bool network = true;
  std::map<ino_t, uid_t> sockets;
  std::string host_name = "guest";
  std::vector<ProcMount> mounts;

 private:
  vfs::Vfs* vfs_;
  std::map<pid_t, ProcProcess> processes_;
  uint64_t next_serial_ = 1;
};

}  // namespace usl::fs
