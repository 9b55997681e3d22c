// The kernel's side of the fast path (protocol/fast_path.h): which answers are published, when they are void, and which
// call sites of which processes are patched. README-fast-path.md tells why this is right and safe. Guarded by the
// kernel lock.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/syscall_context.h"
#include "platform/fast_memory.h"
#include "protocol/exec_plan.h"
#include "vfs/name_observer.h"
#include "vfs/vfs.h"

namespace usl::kernel {

// What is known of one address space.
struct FastProcess {
  struct Site {
    uint64_t instruction_end = 0;
    uint32_t calls = 0;
    bool settled = false;  // patched, or never to be
  };
  uint64_t area = 0;  // 0: it has no fast path
  bool has_stubs = false;
  bool off = false;     // no more patches; switched off if there are any
  bool shared = false;  // with the process that made this one by vfork
  std::array<Site, 16> sites{};
  uint32_t next_site = 0;
};

class FastPath : public vfs::NameObserver {
 public:
  // `kernel` outlives this object. Errors of FastMemory::Create.
  static Result<std::unique_ptr<FastPath>> Create(Kernel& kernel);

  // A new program of `process` is about to be handed to its loader, whose plan lies at `loader_address` in the guest:
  // fills the plan's address (the descriptor is the caller's to donate). False: this process is to have no fast path.
  bool PrepareExec(Process& process, uint64_t loader_address, protocol::ExecPlan& plan);
  int fd() const { return memory_.fd(); }

  // Before a call is served: counts it, and patches the place that it comes from when it comes often.
  void BeforeCall(SyscallContext& context);
  // After a call (its number) that moved the task in the tree, or the tree itself: one for which MovesTasks() is true.
  void AfterMove(Task& task, int number);
  static bool MovesTasks(int number);
  // Before the task makes a process or thread with these CLONE_* flags.
  void BeforeFork(Task& task, uint64_t flags);
  // Before the task makes a process that starts with `child`, places in a mount namespace of its own.
  void BeforeNamespaceFork(Task& task, FsContext& child);
  // For good: the process is traced, or filters its own calls, and so must make them.
  void SwitchOff(Process& process);

  // Does the process come here before it calls? For others nothing is published.
  bool ServesFrom(const Process& process) const;

  // Publishes what a served call found: `path` as the guest wrote it, relative to the working directory or absolute.
  // Looks whether everybody may know it, and whether it rests. Cheap where it does not.
  void PublishFile(const SyscallContext& context, std::string_view path, bool follow, const vfs::Path& found,
                   const vfs::Attributes& attributes, const struct statx& status);
  void PublishMissing(const SyscallContext& context, std::string_view path, bool follow);
  // That a published file has no extended attributes.
  void PublishNoXattrs(const SyscallContext& context, std::string_view path, bool follow, vfs::Inode& inode);

  // vfs::NameObserver
  void Changed(vfs::Dentry& dentry) override;
  void TreeChanged() override;

 private:
  FastPath(Kernel& kernel, platform::FastMemory memory);
  // What the path is looked up in; 0 = nothing is published for this caller.
  uint32_t ContextOf(const SyscallContext& context, std::string_view path) const;
  void Publish(vfs::Dentry& dentry, const platform::FastAnswer& answer);
  void Disown(uint32_t slot);
  static bool MayPatch(const Process& process);
  void WriteState(Task& task);
  platform::FastState StateFor(const Task& task) const;
  void DropOld();

  Kernel& kernel_;
  platform::FastMemory memory_;
  // For each slot the dentry that it hangs on, and the next slot of that dentry plus one. Dentry::mark() is its first
  // slot plus one.
  struct Owner {
    vfs::Dentry* dentry = nullptr;
    uint32_t next = 0;
  };
  std::vector<Owner> owners_;
  uint32_t last_context_ = 1;  // 1 is the first process's
  int64_t cleared_at_ = 0;     // CLOCK_BOOTTIME seconds
};

}  // namespace usl::kernel
