#include "platform/pico_page.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "platform/loader/embedded.h"
#include "platform/restart_map.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace usl::platform {
using protocol::kPicoPathMax;
using protocol::kPicoSize;

Result<PicoPage> PicoPage::Create(std::string_view loader_path, uint64_t base) {
  if (base % kPicoSize != 0 || base == 0 || base >= (uint64_t{1} << 32)) return Fail(EINVAL);
  if (loader_path.empty() || loader_path.front() != '/') return Fail(EINVAL);
  if (loader_path.size() + 1 > kPicoPathMax) return Fail(ENAMETOOLONG);
  if (loader::PicoStubCode().size() > protocol::kPicoLeaveOffset - protocol::kPicoStubOffset ||
      loader::PicoLeaveCode().size() > protocol::kPicoReturnOffset - protocol::kPicoLeaveOffset ||
      loader::PicoReturnCode().size() > protocol::kPicoFollowOffset - protocol::kPicoReturnOffset ||
      loader::PicoFollowCode().size() > protocol::kPicoSignalOffset - protocol::kPicoFollowOffset ||
      loader::PicoSignalCode().size() > protocol::kPicoRestartMapOffset - protocol::kPicoSignalOffset) {
    return Fail(EOVERFLOW);
  }
  // The page ends with zeros: the hypercalls' "paths" are empty ones, should they ever be run natively.
  auto page = loader::PicoPage(std::string(loader_path).c_str());
  std::ranges::copy(RestartMap(), page.begin() + protocol::kPicoRestartMapOffset);

  // Mapping it executable needs no exec permission, so the kind that hardened hosts (vm.memfd_noexec) demand will do.
  int raw = memfd_create("usl-pico", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (raw < 0 && errno == EINVAL) raw = memfd_create("usl-pico", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  UniqueFd writable(raw);
  if (!writable) return FailErrno();
  if (write(writable.get(), page.data(), page.size()) != static_cast<ssize_t>(page.size())) return Fail(EIO);
  if (fcntl(writable.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return FailErrno();
  }
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", writable.get());
  UniqueFd readable(open(path, O_RDONLY | O_CLOEXEC));
  if (!readable) return FailErrno();
  return PicoPage(std::move(readable), base);
}

Result<void> PicoPage::Map() const {
  void* wanted = reinterpret_cast<void*>(base_);  // NOLINT: a fixed address is the point
  void* at = mmap(wanted, kPicoSize, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd_.get(), 0);
  if (at == MAP_FAILED) return FailErrno();
  if (at != wanted) {  // a host before 4.17 ignores the flag
    munmap(at, kPicoSize);
    return Fail(EEXIST);
  }
  return {};
}

}  // namespace usl::platform
