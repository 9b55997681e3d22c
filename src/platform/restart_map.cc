#include "platform/restart_map.h"

#include <sys/syscall.h>

#include <algorithm>

#include "abi/syscall_table.h"

namespace usl::platform {
namespace {

// Served calls that wait for others, so that a signal ends them. Not among them is open, which waits for a FIFO's other
// end only: the kernel tells that case (InterruptParked).
constexpr uint32_t kInterruptible[] = {
    SYS_ioctl,           SYS_fcntl,        SYS_flock,   SYS_connect,    SYS_accept,   SYS_accept4,
    SYS_sendto,          SYS_recvfrom,     SYS_sendmsg, SYS_recvmsg,    SYS_sendmmsg, SYS_recvmmsg,
    SYS_semop,           SYS_msgsnd,       SYS_msgrcv,  SYS_semtimedop, SYS_wait4,    SYS_waitid,
    SYS_clock_nanosleep, SYS_mq_timedsend, SYS_futex,   SYS_epoll_wait, SYS_poll,     SYS_getrandom};

}  // namespace

std::array<std::byte, protocol::kPicoRestartMapSize> RestartMap() {
  static_assert(abi::kSyscallLimit <= protocol::kPicoRestartMapSize * 8);
  std::array<std::byte, protocol::kPicoRestartMapSize> map{};
  for (const abi::SyscallRow& row : abi::AllSyscalls()) {
    if (!row.MayNotify() || std::ranges::find(kInterruptible, row.nr) != std::end(kInterruptible)) continue;
    map[row.nr / 8] |= std::byte{1} << (row.nr % 8);
  }
  return map;
}

}  // namespace usl::platform
