// Opening files: the kernel opens the host object and donates a descriptor with exactly the rights that were granted.
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vfs/fifo.h"
#include "vfs/handle_table.h"

namespace usl::syscalls {
namespace {

// A FIFO without its other end: the open waits for it without occupying the kernel.
Result<Reply> WaitForFifo(SyscallContext& context, std::shared_ptr<vfs::FifoTicket> ticket, bool close_on_exec) {
  const uint64_t key = ticket->wake_key();
  context.kernel().Park(context,
                        {.attempt = [ticket = std::move(ticket), close_on_exec](int) -> std::optional<Result<Reply>> {
                           auto fd = ticket->Attempt();
                           if (fd) return Reply::Donate(std::move(*fd), close_on_exec);
                           if (fd.error() == Error(EAGAIN)) return std::nullopt;
                           return Fail(fd.error());
                         },
                         .key = key});
  return Reply::Answered();
}

Result<Reply> OpenAt(SyscallContext& context, int dirfd_index, int path_index, const vfs::OpenHow& how) {
  USL_TRY_VOID(vfs::Vfs::CheckOpenFlags(how.flags));
  PathArgument path = USL_TRY(ReadPath(context, dirfd_index, path_index));
  // Here an absolute path starts at the directory, too.
  if (how.resolve & RESOLVE_IN_ROOT) path.at = USL_TRY(context.DirectoryArg(dirfd_index));
  auto result = context.vfs().Open(context.FsView(), path.location(), how);
  if (!result) {
    if (result.error() == Error(ENOENT) && !(how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) && how.resolve == 0) {
      PublishMissing(context, dirfd_index, path.text, !(how.flags & O_NOFOLLOW));
    }
    return Fail(result.error());
  }
  vfs::OpenedFile opened = *std::move(result);
  const bool close_on_exec = how.flags & O_CLOEXEC;
  if (opened.would_block) return WaitForFifo(context, std::move(opened.fifo), close_on_exec);
  if ((how.flags & O_PATH) && opened.path) opened.fd = USL_TRY(context.vfs().handles().OpenPathOnly(opened.path));
  return Reply::Donate(std::move(opened.fd), close_on_exec);
}

// struct open_how may be longer in programs newer than this: what we do not know must be zero.
Result<open_how> ReadOpenHow(const SyscallContext& context, GuestAddress from, uint64_t size) {
  const auto page_size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (size < sizeof(open_how)) return Fail(EINVAL);
  if (size > page_size) return Fail(E2BIG);
  std::vector<std::byte> bytes(size);
  USL_TRY_VOID(context.memory().Read(from, bytes.data(), bytes.size()));
  for (size_t i = sizeof(open_how); i < bytes.size(); ++i) {
    if (bytes[i] != std::byte{0}) return Fail(E2BIG);
  }
  open_how how{};
  std::memcpy(&how, bytes.data(), sizeof how);
  return how;
}

}  // namespace

Result<Reply> sys_open(SyscallContext& context) {
  return OpenAt(context, kNoDirfd, 0, {.flags = context.IntArg(1), .mode = context.UintArg(2)});
}

Result<Reply> sys_creat(SyscallContext& context) {
  return OpenAt(context, kNoDirfd, 0, {.flags = O_CREAT | O_WRONLY | O_TRUNC, .mode = context.UintArg(1)});
}

Result<Reply> sys_openat(SyscallContext& context) {
  return OpenAt(context, 0, 1, {.flags = context.IntArg(2), .mode = context.UintArg(3)});
}

Result<Reply> sys_openat2(SyscallContext& context) {
  const open_how how = USL_TRY(ReadOpenHow(context, context.AddressArg(2), context.Arg(3)));
  return OpenAt(context, 0, 1, USL_TRY(vfs::Vfs::CheckOpenHow(how)));
}

}  // namespace usl::syscalls
