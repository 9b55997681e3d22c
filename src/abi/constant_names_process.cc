// Names for calls on processes, signals, time and IPC.
#include <asm/prctl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "abi/constant_names.h"
#include "abi/constants.h"

// Lists, many to a line.
// clang-format off
namespace usl::abi {
namespace {

#define N(name) {static_cast<uint64_t>(name), #name}

constexpr ConstantName kSignals[] = {
    N(SIGHUP), N(SIGINT), N(SIGQUIT), N(SIGILL), N(SIGTRAP), N(SIGABRT), N(SIGBUS), N(SIGFPE), N(SIGKILL), N(SIGUSR1),
    N(SIGSEGV), N(SIGUSR2), N(SIGPIPE), N(SIGALRM), N(SIGTERM), N(SIGSTKFLT), N(SIGCHLD), N(SIGCONT), N(SIGSTOP),
    N(SIGTSTP), N(SIGTTIN), N(SIGTTOU), N(SIGURG), N(SIGXCPU), N(SIGXFSZ), N(SIGVTALRM), N(SIGPROF), N(SIGWINCH),
    N(SIGIO), N(SIGPWR), N(SIGSYS)};
constexpr ConstantName kCloneFlags[] = {
    N(CLONE_VM), N(CLONE_FS), N(CLONE_FILES), N(CLONE_SIGHAND), {0x1000, "CLONE_PIDFD"}, N(CLONE_PTRACE),
    N(CLONE_VFORK), N(CLONE_PARENT), N(CLONE_THREAD), N(CLONE_NEWNS), N(CLONE_SYSVSEM), N(CLONE_SETTLS),
    N(CLONE_PARENT_SETTID), N(CLONE_CHILD_CLEARTID), N(CLONE_DETACHED), N(CLONE_UNTRACED), N(CLONE_CHILD_SETTID),
    N(CLONE_NEWCGROUP), N(CLONE_NEWUTS), N(CLONE_NEWIPC), N(CLONE_NEWUSER), N(CLONE_NEWPID), N(CLONE_NEWNET),
    N(CLONE_IO)};
constexpr ConstantName kUnshareFlags[] = {
    {0x80, "CLONE_NEWTIME"}, N(CLONE_FS), N(CLONE_FILES), N(CLONE_NEWNS), N(CLONE_SYSVSEM), N(CLONE_NEWCGROUP),
    N(CLONE_NEWUTS), N(CLONE_NEWIPC), N(CLONE_NEWUSER), N(CLONE_NEWPID), N(CLONE_NEWNET)};
constexpr ConstantName kWaitOptions[] = {
    N(WNOHANG), N(WUNTRACED), N(WEXITED), N(WCONTINUED), N(WNOWAIT), N(__WNOTHREAD), N(__WALL), N(__WCLONE)};
constexpr ConstantName kWaitIdTypes[] = {N(P_ALL), N(P_PID), N(P_PGID), {3, "P_PIDFD"}};
constexpr ConstantName kPidfdFlags[] = {N(PIDFD_NONBLOCK), N(PIDFD_THREAD)};
constexpr ConstantName kSigHows[] = {N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK)};
constexpr ConstantName kPtraceRequests[] = {
    N(PTRACE_TRACEME), N(PTRACE_PEEKTEXT), N(PTRACE_PEEKDATA), N(PTRACE_PEEKUSER), N(PTRACE_POKETEXT),
    N(PTRACE_POKEDATA), N(PTRACE_POKEUSER), N(PTRACE_CONT), N(PTRACE_KILL), N(PTRACE_SINGLESTEP), N(PTRACE_GETREGS),
    N(PTRACE_SETREGS), N(PTRACE_GETFPREGS), N(PTRACE_SETFPREGS), N(PTRACE_ATTACH), N(PTRACE_DETACH),
    N(PTRACE_SYSCALL), N(PTRACE_SETOPTIONS), N(PTRACE_GETEVENTMSG), N(PTRACE_GETSIGINFO), N(PTRACE_SETSIGINFO),
    N(PTRACE_GETREGSET), N(PTRACE_SETREGSET), N(PTRACE_SEIZE), N(PTRACE_INTERRUPT), N(PTRACE_LISTEN),
    N(PTRACE_PEEKSIGINFO), N(PTRACE_GETSIGMASK), N(PTRACE_SETSIGMASK), N(PTRACE_SECCOMP_GET_FILTER),
    {0x420e, "PTRACE_GET_SYSCALL_INFO"}};
constexpr ConstantName kSeccompOperations[] = {
    N(SECCOMP_SET_MODE_STRICT), N(SECCOMP_SET_MODE_FILTER), N(SECCOMP_GET_ACTION_AVAIL), N(SECCOMP_GET_NOTIF_SIZES)};
constexpr ConstantName kPrctlOptions[] = {
    N(PR_SET_PDEATHSIG), N(PR_GET_PDEATHSIG), N(PR_GET_DUMPABLE), N(PR_SET_DUMPABLE), N(PR_GET_KEEPCAPS),
    N(PR_SET_KEEPCAPS), N(PR_GET_TIMING), N(PR_SET_TIMING), N(PR_SET_NAME), N(PR_GET_NAME), N(PR_GET_SECCOMP),
    N(PR_SET_SECCOMP), N(PR_CAPBSET_READ), N(PR_CAPBSET_DROP), N(PR_GET_TSC), N(PR_SET_TSC), N(PR_GET_SECUREBITS),
    N(PR_SET_SECUREBITS), N(PR_SET_TIMERSLACK), N(PR_GET_TIMERSLACK), N(PR_SET_MM), N(PR_SET_CHILD_SUBREAPER),
    N(PR_GET_CHILD_SUBREAPER), N(PR_SET_NO_NEW_PRIVS), N(PR_GET_NO_NEW_PRIVS), N(PR_GET_TID_ADDRESS),
    N(PR_SET_THP_DISABLE), N(PR_GET_THP_DISABLE), N(PR_CAP_AMBIENT), N(PR_GET_SPECULATION_CTRL),
    N(PR_SET_SPECULATION_CTRL), N(PR_SET_IO_FLUSHER), N(PR_GET_IO_FLUSHER), N(PR_SET_SYSCALL_USER_DISPATCH),
    N(PR_SCHED_CORE), {65, "PR_SET_MDWE"}, {66, "PR_GET_MDWE"}, {67, "PR_SET_MEMORY_MERGE"},
    {68, "PR_GET_MEMORY_MERGE"}, {0x53564d41, "PR_SET_VMA"}, {0x59616d61, "PR_SET_PTRACER"},
    {0x41555856, "PR_GET_AUXV"}};
constexpr ConstantName kArchPrctlOptions[] = {
    N(ARCH_SET_GS), N(ARCH_SET_FS), N(ARCH_GET_FS), N(ARCH_GET_GS), N(ARCH_GET_CPUID), N(ARCH_SET_CPUID),
    N(ARCH_GET_XCOMP_SUPP), N(ARCH_GET_XCOMP_PERM), N(ARCH_REQ_XCOMP_PERM), N(ARCH_MAP_VDSO_X32),
    N(ARCH_MAP_VDSO_32), N(ARCH_MAP_VDSO_64), {0x4001, "ARCH_GET_UNTAG_MASK"}, {0x4002, "ARCH_ENABLE_TAGGED_ADDR"},
    {0x5001, "ARCH_SHSTK_ENABLE"}, {0x5002, "ARCH_SHSTK_DISABLE"}, {0x5003, "ARCH_SHSTK_LOCK"},
    {0x5004, "ARCH_SHSTK_UNLOCK"}, {0x5005, "ARCH_SHSTK_STATUS"}};
constexpr ConstantName kPersonas[] = {N(PER_LINUX), N(PER_LINUX32), {0xff, "0xff"}};
constexpr ConstantName kPersonaFlags[] = {
    N(UNAME26), N(ADDR_NO_RANDOMIZE), N(FDPIC_FUNCPTRS), N(MMAP_PAGE_ZERO), N(ADDR_COMPAT_LAYOUT),
    N(READ_IMPLIES_EXEC), N(ADDR_LIMIT_32BIT), N(SHORT_INODE), N(WHOLE_SECONDS), N(STICKY_TIMEOUTS),
    N(ADDR_LIMIT_3GB)};
constexpr ConstantName kResources[] = {
    N(RLIMIT_CPU), N(RLIMIT_FSIZE), N(RLIMIT_DATA), N(RLIMIT_STACK), N(RLIMIT_CORE), N(RLIMIT_RSS), N(RLIMIT_NPROC),
    N(RLIMIT_NOFILE), N(RLIMIT_MEMLOCK), N(RLIMIT_AS), N(RLIMIT_LOCKS), N(RLIMIT_SIGPENDING), N(RLIMIT_MSGQUEUE),
    N(RLIMIT_NICE), N(RLIMIT_RTPRIO), N(RLIMIT_RTTIME)};
constexpr ConstantName kSchedPolicies[] = {
    N(SCHED_OTHER), N(SCHED_FIFO), N(SCHED_RR), N(SCHED_BATCH), N(SCHED_IDLE), N(SCHED_DEADLINE)};
constexpr ConstantName kSchedFlags[] = {N(SCHED_RESET_ON_FORK)};
constexpr ConstantName kPriorityWhich[] = {N(PRIO_PROCESS), N(PRIO_PGRP), N(PRIO_USER)};
constexpr ConstantName kIoPriorityWhich[] = {
    {1, "IOPRIO_WHO_PROCESS"}, {2, "IOPRIO_WHO_PGRP"}, {3, "IOPRIO_WHO_USER"}};
constexpr ConstantName kClockIds[] = {
    N(CLOCK_REALTIME), N(CLOCK_MONOTONIC), N(CLOCK_PROCESS_CPUTIME_ID), N(CLOCK_THREAD_CPUTIME_ID),
    N(CLOCK_MONOTONIC_RAW), N(CLOCK_REALTIME_COARSE), N(CLOCK_MONOTONIC_COARSE), N(CLOCK_BOOTTIME),
    N(CLOCK_REALTIME_ALARM), N(CLOCK_BOOTTIME_ALARM), N(CLOCK_TAI)};
constexpr ConstantName kTimerFlags[] = {N(TIMER_ABSTIME)};
constexpr ConstantName kItimers[] = {N(ITIMER_REAL), N(ITIMER_VIRTUAL), N(ITIMER_PROF)};
constexpr ConstantName kFutexOperations[] = {
    N(FUTEX_WAIT), N(FUTEX_WAKE), N(FUTEX_FD), N(FUTEX_REQUEUE), N(FUTEX_CMP_REQUEUE), N(FUTEX_WAKE_OP),
    N(FUTEX_LOCK_PI), N(FUTEX_UNLOCK_PI), N(FUTEX_TRYLOCK_PI), N(FUTEX_WAIT_BITSET), N(FUTEX_WAKE_BITSET),
    N(FUTEX_WAIT_REQUEUE_PI), N(FUTEX_CMP_REQUEUE_PI), {13, "FUTEX_LOCK_PI2"}};
constexpr ConstantName kFutexFlags[] = {N(FUTEX_PRIVATE_FLAG), N(FUTEX_CLOCK_REALTIME)};
constexpr ConstantName kRandomFlags[] = {N(GRND_NONBLOCK), N(GRND_RANDOM), {4, "GRND_INSECURE"}};
constexpr ConstantName kIpcFlags[] = {N(IPC_CREAT), N(IPC_EXCL), N(IPC_NOWAIT)};
constexpr ConstantName kShmFlags[] = {N(SHM_RDONLY), N(SHM_RND), N(SHM_REMAP), N(SHM_EXEC)};
constexpr ConstantName kIpcCommands[] = {
    N(IPC_RMID), N(IPC_SET), N(IPC_STAT), N(IPC_INFO), N(GETPID), N(GETVAL), N(GETALL), N(GETNCNT), N(GETZCNT),
    N(SETVAL), N(SETALL), N(SEM_STAT), N(SEM_INFO)};

#undef N

constexpr uint64_t kAll = ~uint64_t{0};

constexpr ConstantTable kTables[] = {
    {ArgType::kCloneFlags, CSIGNAL, kSignals, kCloneFlags, true},
    {ArgType::kUnshareFlags, 0, {}, kUnshareFlags},
    {ArgType::kWaitOptions, 0, {}, kWaitOptions},
    {ArgType::kWaitIdType, kAll, kWaitIdTypes, {}},
    {ArgType::kPidfdFlags, 0, {}, kPidfdFlags},
    {ArgType::kSigHow, kAll, kSigHows, {}},
    {ArgType::kPtraceRequest, kAll, kPtraceRequests, {}},
    {ArgType::kSeccompOperation, kAll, kSeccompOperations, {}},
    {ArgType::kPrctlOption, kAll, kPrctlOptions, {}},
    {ArgType::kArchPrctlOption, kAll, kArchPrctlOptions, {}},
    {ArgType::kPersona, 0xff, kPersonas, kPersonaFlags},
    {ArgType::kResource, kAll, kResources, {}},
    {ArgType::kSchedPolicy, 0xff, kSchedPolicies, kSchedFlags},
    {ArgType::kPriorityWhich, kAll, kPriorityWhich, {}},
    {ArgType::kPriorityWhich1, kAll, kIoPriorityWhich, {}},
    {ArgType::kClockId, kAll, kClockIds, {}},
    {ArgType::kTimerFlags, 0, {}, kTimerFlags},
    {ArgType::kItimerWhich, kAll, kItimers, {}},
    {ArgType::kFutexOperation, 0x7f, kFutexOperations, kFutexFlags},
    {ArgType::kRandomFlags, 0, {}, kRandomFlags},
    {ArgType::kShmFlags, 0, {}, kShmFlags},
    {ArgType::kIpcFlags, 0, {}, kIpcFlags},
    {ArgType::kIpcCommand, kAll, kIpcCommands, {}},
};

}  // namespace

std::span<const ConstantTable> ProcessConstantTables() { return kTables; }

}  // namespace usl::abi
