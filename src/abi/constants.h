// Linux constants and structures that are newer than Debian 12's headers (Linux 6.1), and compile-time checks of the
// layouts that USL relies on. Include this rather than <linux/seccomp.h> and friends where one of them is needed.
#pragma once

#include <dirent.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <linux/stat.h>
#include <linux/types.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>

// seccomp(2): user notification.
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)  // 5.19
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)  // 6.6
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)  // 5.14
#endif

// pidfd_open(2), pidfd_send_signal(2).
#ifndef PIDFD_NONBLOCK
#define PIDFD_NONBLOCK 04000
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD 0200  // 6.9; the value of O_EXCL
#endif
#ifndef PIDFD_SIGNAL_THREAD
#define PIDFD_SIGNAL_THREAD (1UL << 0)
#define PIDFD_SIGNAL_THREAD_GROUP (1UL << 1)
#define PIDFD_SIGNAL_PROCESS_GROUP (1UL << 2)
#endif

// memfd_create(2).
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // 6.3
#define MFD_EXEC 0x0010U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020  // 6.3
#endif

// fcntl(2).
#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY 1027  // 6.10
#endif
#ifndef F_CREATED_QUERY
#define F_CREATED_QUERY 1028  // 6.12
#endif

// Socket options.
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76  // 6.5
#define SO_PEERPIDFD 77
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83  // 6.16
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

// statx(2).
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U  // 6.8
#endif
#ifndef STATX_SUBVOL
#define STATX_SUBVOL 0x8000U  // 6.10
#endif
#ifndef STATX_WRITE_ATOMIC
#define STATX_WRITE_ATOMIC 0x10000U  // 6.11
#endif

// Calls, in numerical order.
#ifndef SYS_uretprobe
#define SYS_uretprobe 335
#endif
#ifndef SYS_uprobe
#define SYS_uprobe 336
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#define SYS_futex_requeue 456
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#define SYS_listmount 458
#endif
#ifndef SYS_lsm_get_self_attr
#define SYS_lsm_get_self_attr 459
#define SYS_lsm_set_self_attr 460
#define SYS_lsm_list_modules 461
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif
#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif
#ifndef SYS_file_getattr
#define SYS_file_getattr 468
#define SYS_file_setattr 469
#endif
#ifndef SYS_listns
#define SYS_listns 470
#endif

namespace usl::abi {

// A directory entry as getdents64(2) writes it: d_reclen bytes each, the name NUL-terminated, padded to 8 bytes.
struct LinuxDirent64 {
  uint64_t d_ino;
  int64_t d_off;
  uint16_t d_reclen;
  uint8_t d_type;
  char d_name[1];
};
inline constexpr size_t kDirent64NameOffset = 19;
static_assert(offsetof(LinuxDirent64, d_name) == kDirent64NameOffset);

// The entry of the old getdents(2): the type is the last byte of the record, behind the name's padding.
struct LinuxDirent {
  uint64_t d_ino;
  uint64_t d_off;
  uint16_t d_reclen;
  char d_name[1];
};
inline constexpr size_t kDirentNameOffset = 18;
static_assert(offsetof(LinuxDirent, d_name) == kDirentNameOffset);

// x86-64's struct stat is the C library's own; the kernel's statx is in <linux/stat.h>.
static_assert(sizeof(struct stat) == 144 && offsetof(struct stat, st_mode) == 24 &&
              offsetof(struct stat, st_size) == 48);
static_assert(sizeof(struct statx) == 256 && offsetof(struct statx, stx_mnt_id) == 0x90);
static_assert(sizeof(struct statfs) == 120);
static_assert(sizeof(struct open_how) == 24);

static_assert(sizeof(seccomp_data) == 64 && offsetof(seccomp_data, args) == 16);
static_assert(sizeof(seccomp_notif) == 80 && offsetof(seccomp_notif, data) == 16);
static_assert(sizeof(seccomp_notif_resp) == 24);
static_assert(sizeof(seccomp_notif_addfd) == 24);
static_assert(sizeof(sock_filter) == 8 && sizeof(sock_fprog) == 16);

}  // namespace usl::abi
