// Sentences that many rows of syscalls.def share; they are printed in docs/compatibility.md. Macros, so that a row can
// add a sentence of its own by string concatenation. Only syscall_table.cc includes this.
#pragma once

// Native.
#define WHY_DONATED "Data moves on an fd that was donated with exactly the rights that the guest was granted."
#define WHY_FD_TABLE "The fd table is the host's."
#define WHY_WAIT "It waits on fds or time only."
#define WHY_OWN "It concerns the caller's own memory only."
#define WHY_OWN_SIGNALS "It concerns the caller's own signals only."
#define WHY_OWN_THREAD "It concerns the caller's own thread or address space only."
#define WHY_OWN_TIMERS "It concerns the caller's own timers only."
#define WHY_TIME "Time is the host's, and only read."
#define WHY_BOTH_FDS "Data moves between donated fds; the file modes give the rights."
#define WHY_CHILDREN "The guest's children are the host's."
#define WHY_SESSIONS "Groups and sessions are the host's."
#define WHY_DURABLE "It concerns the durability of donated fds."
#define WHY_OWN_WRITE "It needs an fd with write rights; set-id bits are cleared when such an fd is opened."
#define WHY_AIO "Requests name donated fds only."
#define WHY_QUEUE "It acts on a donated queue."
#define WHY_ANONYMOUS "The object has no name."
#define WHY_PAGE "Native, but what would replace, move or drop the sealed pico page gives EPERM."

// Decided on registers.
#define WHY_NULL_ADDRESS "Native with no address; else served, as AF_UNIX addresses are paths."
#define WHY_PID_ZERO "Native for pid 0; else the process must be the instance's."
#define WHY_AFFINITY "The kernel lends a busy caller the CPU of its own; guests see the mask that they set."
#define WHY_CLOCK_IDS \
  "Native for named clocks and the caller's own CPU clocks; the clock of another process is checked."
#define WHY_LIMITS "Limits that the host enforces are read natively; core, locks, processes and priorities are virtual."
#define WHY_SET_LIMITS "Limits are set by the kernel from outside; a hard limit cannot rise above the host's."

// Checked.
#define WHY_IPC_ID "The object is named by an id in a register, which must be the instance's; then the host does it."
#define WHY_RECEIVE "Served where credentials are passed, else the host receives: a race could harm nobody."
#define WHY_CLONE "The flags are in a register; the kernel notes who forks."
#define WHY_SIGNAL_PROCESS \
  "The target must be the instance's and signalable by the guest's credentials; kill(-1) reaches the instance only."
#define WHY_PRIORITY \
  "The process or group must be the instance's; the per-user form covers the instance's processes only."
#define WHY_PROCESS_MEMORY "Both processes must be the instance's, and traceable by the caller."

// Served.
#define WHY_PATH "Paths belong to the guest's tree."
#define WHY_METADATA "Owners, modes and numbers of the host's file must not show."
#define WHY_FD_METADATA "The host would let it through on a read-only fd; owner and mode are the guest's."
#define WHY_CWD "The working directory belongs to the guest's tree."
#define WHY_IDENTITY "Identity is virtual."
#define WHY_VIRTUAL "The answer belongs to the instance, not to the host."
#define WHY_CLOCK "The host's clock cannot be set: EPERM; reading it works."
#define WHY_SYNC "It flushes the instance's own file systems, not the whole host."
#define WHY_MOUNTS "The mount table is the instance's own."
#define WHY_NO_SWAP "Swapping is the host's: EPERM."
#define WHY_IPC_KEY "Keys are the instance's; the host object is made private."
#define WHY_IPC_CONTROL "The structure is in memory, and owner and mode are the guest's."
#define WHY_QUEUE_NAMES "Queue names are the instance's; the queue itself is the host's."
#define WHY_ADDRESS "The address is in memory; the kernel acts on its own duplicate of the socket."
#define WHY_MESSAGE \
  "Address and control data are in memory; the kernel copies them once and sends on its own duplicate."
#define WHY_NAMES "Names of AF_UNIX and netlink sockets are the guest's."

// Refused.
#define WHY_GONE "Linux has removed it or never had it on x86-64."
#define WHY_HARDWARE "It would reach the host's hardware or kernel."
#define WHY_MODULES "Modules belong to the host's kernel."
#define WHY_KEYS "Keys and keyrings are the instance's own; the host's are never reached."
#define WHY_IO_URING "Its requests would pass the filter by; programs fall back to epoll or threads."
#define WHY_LANDLOCK "Guest files are opened outside the guest's domain, so a native ruleset would enforce nothing."
#define WHY_LSM "The host's security modules are not shown."
#define WHY_HOST_KERNEL "It would show or change the host's kernel."
#define WHY_HOST_NAMES "It would watch the host's file systems."
#define WHY_HANDLES "File handles would bypass paths."
#define WHY_NEW_PATH "A new call on paths that programs do not rely on yet."
