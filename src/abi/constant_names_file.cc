// Names for calls on files and memory.
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "abi/constant_names.h"
#include "abi/constants.h"

// Lists, many to a line.
// clang-format off
namespace usl::abi {
namespace {

#define N(name) {static_cast<uint64_t>(name), #name}

constexpr ConstantName kOpenModes[] = {N(O_RDONLY), N(O_WRONLY), N(O_RDWR), {3, "O_ACCMODE"}};
// Flags that contain others (O_SYNC, O_TMPFILE) come first.
constexpr ConstantName kOpenFlags[] = {
    N(O_CREAT), N(O_EXCL), N(O_NOCTTY), N(O_TRUNC), N(O_APPEND), N(O_NONBLOCK), N(O_SYNC), N(O_DSYNC), N(O_TMPFILE),
    {040000, "O_DIRECT"}, {0100000, "O_LARGEFILE"}, N(O_DIRECTORY), N(O_NOFOLLOW), N(O_NOATIME), N(O_CLOEXEC),
    N(O_PATH), N(O_ASYNC)};
constexpr ConstantName kPipeFlags[] = {N(O_CLOEXEC), N(O_NONBLOCK), {040000, "O_DIRECT"}};
constexpr ConstantName kEventFdFlags[] = {N(EFD_CLOEXEC), N(EFD_NONBLOCK), N(EFD_SEMAPHORE)};
constexpr ConstantName kAtFlags[] = {
    N(AT_SYMLINK_NOFOLLOW), N(AT_REMOVEDIR), N(AT_SYMLINK_FOLLOW), N(AT_NO_AUTOMOUNT), N(AT_EMPTY_PATH),
    N(AT_STATX_FORCE_SYNC), N(AT_STATX_DONT_SYNC), {0x8000, "AT_RECURSIVE"}};
constexpr ConstantName kUnlinkFlags[] = {N(AT_REMOVEDIR)};
constexpr ConstantName kAccessModes[] = {N(F_OK), N(R_OK), N(W_OK), N(X_OK)};
constexpr ConstantName kRenameFlags[] = {{1, "RENAME_NOREPLACE"}, {2, "RENAME_EXCHANGE"}, {4, "RENAME_WHITEOUT"}};
constexpr ConstantName kXattrFlags[] = {N(XATTR_CREATE), N(XATTR_REPLACE)};
constexpr ConstantName kStatxMask[] = {
    N(STATX_ALL), N(STATX_BASIC_STATS), N(STATX_TYPE), N(STATX_MODE), N(STATX_NLINK), N(STATX_UID), N(STATX_GID),
    N(STATX_ATIME), N(STATX_MTIME), N(STATX_CTIME), N(STATX_INO), N(STATX_SIZE), N(STATX_BLOCKS), N(STATX_BTIME),
    N(STATX_MNT_ID), N(STATX_DIOALIGN), N(STATX_MNT_ID_UNIQUE), N(STATX_SUBVOL), N(STATX_WRITE_ATOMIC)};
constexpr ConstantName kFallocateModes[] = {
    N(FALLOC_FL_KEEP_SIZE), N(FALLOC_FL_PUNCH_HOLE), {4, "FALLOC_FL_NO_HIDE_STALE"}, N(FALLOC_FL_COLLAPSE_RANGE),
    N(FALLOC_FL_ZERO_RANGE), N(FALLOC_FL_INSERT_RANGE), N(FALLOC_FL_UNSHARE_RANGE)};
constexpr ConstantName kFileTypes[] = {
    {0, "0"}, N(S_IFREG), N(S_IFDIR), N(S_IFLNK), N(S_IFCHR), N(S_IFBLK), N(S_IFIFO), N(S_IFSOCK)};
constexpr ConstantName kWhence[] = {N(SEEK_SET), N(SEEK_CUR), N(SEEK_END), N(SEEK_DATA), N(SEEK_HOLE)};
constexpr ConstantName kFlockOperations[] = {N(LOCK_SH), N(LOCK_EX), N(LOCK_UN), N(LOCK_NB)};
constexpr ConstantName kSpliceFlags[] = {
    N(SPLICE_F_MOVE), N(SPLICE_F_NONBLOCK), N(SPLICE_F_MORE), N(SPLICE_F_GIFT)};
constexpr ConstantName kMemfdFlags[] = {
    N(MFD_CLOEXEC), N(MFD_ALLOW_SEALING), N(MFD_HUGETLB), N(MFD_NOEXEC_SEAL), N(MFD_EXEC)};
constexpr ConstantName kInotifyMask[] = {
    N(IN_ALL_EVENTS), N(IN_MOVE), N(IN_CLOSE), N(IN_ACCESS), N(IN_MODIFY), N(IN_ATTRIB), N(IN_CLOSE_WRITE),
    N(IN_CLOSE_NOWRITE), N(IN_OPEN), N(IN_MOVED_FROM), N(IN_MOVED_TO), N(IN_CREATE), N(IN_DELETE), N(IN_DELETE_SELF),
    N(IN_MOVE_SELF), N(IN_ONLYDIR), N(IN_DONT_FOLLOW), N(IN_EXCL_UNLINK), N(IN_MASK_CREATE), N(IN_MASK_ADD),
    N(IN_ISDIR), N(IN_ONESHOT)};
constexpr ConstantName kMountFlags[] = {
    N(MS_RDONLY), N(MS_NOSUID), N(MS_NODEV), N(MS_NOEXEC), N(MS_SYNCHRONOUS), N(MS_REMOUNT), N(MS_MANDLOCK),
    N(MS_DIRSYNC), {256, "MS_NOSYMFOLLOW"}, N(MS_NOATIME), N(MS_NODIRATIME), N(MS_BIND), N(MS_MOVE), N(MS_REC),
    N(MS_SILENT), N(MS_UNBINDABLE), N(MS_PRIVATE), N(MS_SLAVE), N(MS_SHARED), N(MS_RELATIME), N(MS_STRICTATIME),
    N(MS_LAZYTIME)};
constexpr ConstantName kUmountFlags[] = {N(MNT_FORCE), N(MNT_DETACH), N(MNT_EXPIRE), N(UMOUNT_NOFOLLOW)};
constexpr ConstantName kProt[] = {
    N(PROT_NONE), N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC), N(PROT_GROWSDOWN), N(PROT_GROWSUP)};
constexpr ConstantName kMapTypes[] = {
    {0, "MAP_FILE"}, N(MAP_SHARED), N(MAP_PRIVATE), N(MAP_SHARED_VALIDATE)};
constexpr ConstantName kMapFlags[] = {
    N(MAP_FIXED), N(MAP_ANONYMOUS), N(MAP_32BIT), N(MAP_GROWSDOWN), N(MAP_DENYWRITE), N(MAP_EXECUTABLE),
    N(MAP_LOCKED), N(MAP_NORESERVE), N(MAP_POPULATE), N(MAP_NONBLOCK), N(MAP_STACK), N(MAP_HUGETLB), N(MAP_SYNC),
    N(MAP_FIXED_NOREPLACE)};
constexpr ConstantName kMremapFlags[] = {N(MREMAP_MAYMOVE), N(MREMAP_FIXED), {4, "MREMAP_DONTUNMAP"}};
constexpr ConstantName kMsyncFlags[] = {N(MS_ASYNC), N(MS_INVALIDATE), N(MS_SYNC)};
constexpr ConstantName kAdvice[] = {
    N(MADV_NORMAL), N(MADV_RANDOM), N(MADV_SEQUENTIAL), N(MADV_WILLNEED), N(MADV_DONTNEED), N(MADV_FREE),
    N(MADV_REMOVE), N(MADV_DONTFORK), N(MADV_DOFORK), N(MADV_MERGEABLE), N(MADV_UNMERGEABLE), N(MADV_HUGEPAGE),
    N(MADV_NOHUGEPAGE), N(MADV_DONTDUMP), N(MADV_DODUMP), N(MADV_WIPEONFORK), N(MADV_KEEPONFORK), N(MADV_COLD),
    N(MADV_PAGEOUT), {22, "MADV_POPULATE_READ"}, {23, "MADV_POPULATE_WRITE"}, {24, "MADV_DONTNEED_LOCKED"},
    {25, "MADV_COLLAPSE"}, {102, "MADV_GUARD_INSTALL"}, {103, "MADV_GUARD_REMOVE"}};

#undef N

constexpr uint64_t kAll = ~uint64_t{0};

constexpr ConstantTable kTables[] = {
    {ArgType::kOpenFlags, O_ACCMODE, kOpenModes, kOpenFlags},
    {ArgType::kPipeFlags, 0, {}, kPipeFlags},
    {ArgType::kEventFdFlags, 0, {}, kEventFdFlags},
    {ArgType::kAtFlags, 0, {}, kAtFlags},
    {ArgType::kUnlinkFlags, 0, {}, kUnlinkFlags},
    {ArgType::kAccessMode, 0, {}, kAccessModes},
    {ArgType::kRenameFlags, 0, {}, kRenameFlags},
    {ArgType::kXattrFlags, 0, {}, kXattrFlags},
    {ArgType::kStatxMask, 0, {}, kStatxMask},
    {ArgType::kFallocateMode, 0, {}, kFallocateModes},
    {ArgType::kModeType, S_IFMT, kFileTypes, {}},
    {ArgType::kWhence, kAll, kWhence, {}},
    {ArgType::kFlockOperation, 0, {}, kFlockOperations},
    {ArgType::kSpliceFlags, 0, {}, kSpliceFlags},
    {ArgType::kMemfdFlags, 0, {}, kMemfdFlags},
    {ArgType::kInotifyMask, 0, {}, kInotifyMask},
    {ArgType::kMountFlags, 0, {}, kMountFlags},
    {ArgType::kUmountFlags, 0, {}, kUmountFlags},
    {ArgType::kProt, 0, {}, kProt},
    {ArgType::kMapFlags, MAP_TYPE, kMapTypes, kMapFlags},
    {ArgType::kMremapFlags, 0, {}, kMremapFlags},
    {ArgType::kMsyncFlags, 0, {}, kMsyncFlags},
    {ArgType::kAdvice, kAll, kAdvice, {}},
};

}  // namespace

std::span<const ConstantTable> FileConstantTables() { return kTables; }

}  // namespace usl::abi
