// Types of system call arguments, as the trace output needs them. Structures that only some calls have are kPointer.
#pragma once

#include <cstdint>

namespace usl::abi {

// Enumerators in groups, many to a line.
// clang-format off
enum class ArgType : uint8_t {
  kNone,  // no argument in this register
  // Numbers.
  kInt, kUint, kLong, kHex, kSize, kOffset, kHexOffset, kPointer,
  // File descriptors and names.
  kFd, kAtFd, kPath, kString,
  // Bytes: the length is the next argument. kBufferOut shows what the result says was written.
  kBufferIn, kBufferOut,
  // Structures. "Out" ones are shown once the call has succeeded.
  kSockaddrIn,   // the length is the next argument
  kSockaddrOut,  // the next argument points to the length
  kStatOut, kStatxOut, kIovecIn, kIovecOut, kArgv, kEnvp, kMsghdr, kOpenHow, kPollFds, kEpollEvent, kFdPairOut, kIntOut,
  kTimespec, kTimespecOut, kTimespecPair, kTimeval, kTimevalOut, kItimerspec, kRusageOut, kRlimit, kRlimitOut,
  kSigSet, kSigSetOut, kSigaction, kSigactionOut,
  // Values with names.
  kOpenFlags, kMode, kModeType, kAccessMode, kAtFlags, kUnlinkFlags, kRenameFlags, kXattrFlags, kStatxMask,
  kFallocateMode, kFcntlCommand, kFcntlArgument, kFlockOperation, kIoctlRequest, kWhence, kSpliceFlags, kPipeFlags,
  kEventFdFlags, kMemfdFlags, kInotifyMask, kMountFlags, kUmountFlags, kDevice,
  kProt, kMapFlags, kMremapFlags, kMsyncFlags, kAdvice,
  kSignal, kSigHow, kPid, kUid, kGid, kCloneFlags, kUnshareFlags, kWaitOptions, kWaitIdType, kPidfdFlags,
  kPtraceRequest, kSeccompOperation, kPrctlOption, kArchPrctlOption, kPersona, kResource, kSchedPolicy,
  kPriorityWhich,   // PRIO_PROCESS...
  kPriorityWhich1,  // IOPRIO_WHO_PROCESS...
  kClockId, kTimerFlags, kItimerWhich, kFutexOperation, kEpollOperation, kRandomFlags,
  kSocketDomain, kSocketType, kSocketFlags, kSocketLevel, kSocketOption, kMsgFlags, kShutdownHow,
  kIpcKey, kIpcFlags, kShmFlags, kIpcCommand,
};
// clang-format on

}  // namespace usl::abi
