// The objects behind /proc/PID/ns/*, as setns(2) finds them.
#pragma once

#include <cstdint>
#include <optional>

#include "fs/proc_source.h"
#include "vfs/file_system.h"

namespace usl::fs {

struct NamespaceIdentity {
  ProcNamespace kind;
  uint64_t number;  // ProcSource::NamespaceId
};

// Which namespace the inode of an open /proc/PID/ns file stands for; nullopt when it is another file.
std::optional<NamespaceIdentity> NamespaceOf(const vfs::Inode& inode);

}  // namespace usl::fs
