// Where a guest reaches the programs of its host, when its instance serves that (docs/interop.md).
//
// A connection is one program: the guest sends kLaunch (argv; the guest's directory in `cwd`; in `env` its variables;
// ids are not looked at) with three standard descriptors, then kSignal for its process group; kExited comes back, and
// closing the connection hangs the program up.
#pragma once

namespace usl::protocol {

inline constexpr char kInteropDirectory[] = "/run/usl/interop";
inline constexpr char kInteropSocketName[] = "host";
inline constexpr char kInteropSocket[] = "/run/usl/interop/host";
inline constexpr char kSshAgentSocketName[] = "ssh-agent";
inline constexpr char kSshAgentSocket[] = "/run/usl/interop/ssh-agent";
// The program for it, and the name by which it is found in PATH: a symlink.
inline constexpr char kInteropProgram[] = "/run/usl/bin/usl-host";
inline constexpr char kInteropCommand[] = "/usr/local/bin/usl-host";

}  // namespace usl::protocol
