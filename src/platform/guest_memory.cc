#include "platform/guest_memory.h"

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>

namespace usl::platform {
namespace {

constexpr size_t kPage = 4096;
// Above this size process_vm_readv, which does not copy twice, is the cheaper one.
constexpr size_t kFileReadMax = 4096;
// Most paths end within the first read; it never crosses into another page.
constexpr size_t kFirstStringRead = 256;

// No user mapping has bit 63 set. The vsyscall page has, and is readable through ptrace but not for system calls.
bool IsKernelAddress(GuestAddress address) {
  return address.value() >> 63;
}

size_t ToPageEnd(GuestAddress address) {
  return kPage - address.value() % kPage;
}

// Whether all bytes of one page are zero among those read from `from`.
bool HasZeroPage(GuestAddress from, const char* bytes, size_t size) {
  while (size > 0) {
    size_t part = std::min(size, ToPageEnd(from));
    if (std::all_of(bytes, bytes + part, [](char byte) { return byte == 0; })) return true;
    bytes += part;
    from = from + part;
    size -= part;
  }
  return false;
}

Result<size_t> TransferError() {
  // EPERM and ESRCH pass; the rest means that nothing could be accessed.
  if (errno == EPERM || errno == ESRCH || errno == ENOMEM) return FailErrno();
  return Fail(EFAULT);
}

Result<size_t> ReadByCall(pid_t tid, GuestAddress from, void* to, size_t size) {
  iovec local{to, size};
  iovec remote{reinterpret_cast<void*>(from.value()), size};  // NOLINT: the host's interface wants a pointer
  ssize_t got = process_vm_readv(tid, &local, 1, &remote, 1, 0);
  if (got < 0) return TransferError();
  return static_cast<size_t>(got);
}

Result<size_t> WriteSome(pid_t tid, GuestAddress to, const void* from, size_t size) {
  iovec local{const_cast<void*>(from), size};
  iovec remote{reinterpret_cast<void*>(to.value()), size};  // NOLINT: as above
  ssize_t put = process_vm_writev(tid, &local, 1, &remote, 1, 0);
  if (put < 0) return TransferError();
  return static_cast<size_t>(put);
}

}  // namespace

Result<size_t> GuestMemory::ReadSome(GuestAddress from, void* to, size_t size) const {
  if (IsKernelAddress(from)) return Fail(EFAULT);
  if (file_ && size <= kFileReadMax) {
    auto got = file_->ReadSome(from, to, size);
    if (!got) return got;
    // The file also shows memory without PROT_READ, where a system call fails with EFAULT. Such memory (a guard page, a
    // test's bad address) is nearly always untouched and so reads as zeros: only then the stricter way has to decide.
    if (!HasZeroPage(from, static_cast<const char*>(to), *got)) return got;
  }
  return ReadByCall(tid_, from, to, size);
}

Result<void> GuestMemory::Read(GuestAddress from, void* to, size_t size) const {
  if (size == 0) return {};
  size_t got = USL_TRY(ReadSome(from, to, size));
  if (got != size) return Fail(EFAULT);
  return {};
}

Result<std::string> GuestMemory::ReadString(GuestAddress from, size_t max) const {
  std::string text;
  char chunk[kPage];
  size_t want = kFirstStringRead;
  while (text.size() <= max) {
    size_t size = std::min({want, ToPageEnd(from), max + 1 - text.size()});
    size_t got = USL_TRY(ReadSome(from, chunk, size));
    char* end = std::find(chunk, chunk + got, '\0');
    text.append(chunk, end);
    if (end != chunk + got) return text;
    from = from + got;
    want = kPage;
  }
  return Fail(ENAMETOOLONG);
}

Result<std::vector<GuestAddress>> GuestMemory::ReadPointers(GuestAddress from, size_t max) const {
  std::vector<GuestAddress> pointers;
  if (from.is_null()) return pointers;
  uint64_t chunk[kPage / sizeof(uint64_t)];
  for (;;) {
    // At least one element, which may cross into the next page; else the whole ones left in this page.
    size_t size = std::max(ToPageEnd(from) / sizeof(uint64_t), size_t{1}) * sizeof(uint64_t);
    USL_TRY_VOID(Read(from, chunk, size));
    for (size_t i = 0; i < size / sizeof(uint64_t); ++i) {
      if (chunk[i] == 0) return pointers;
      if (pointers.size() == max) return Fail(E2BIG);
      pointers.emplace_back(chunk[i]);
    }
    from = from + size;
  }
}

Result<std::vector<GuestIovec>> GuestMemory::ReadIovecs(GuestAddress from, uint64_t count) const {
  if (count > IOV_MAX) return Fail(EINVAL);
  std::vector<iovec> raw(count);
  USL_TRY_VOID(Read(from, raw.data(), count * sizeof(iovec)));
  std::vector<GuestIovec> vectors;
  vectors.reserve(count);
  uint64_t sum = 0;
  for (const iovec& one : raw) {
    if (one.iov_len > SSIZE_MAX || one.iov_len > SSIZE_MAX - sum) return Fail(EINVAL);
    sum += one.iov_len;
    vectors.push_back({GuestAddress(reinterpret_cast<uint64_t>(one.iov_base)), one.iov_len});
  }
  return vectors;
}

Result<void> GuestMemory::Write(GuestAddress to, const void* from, size_t size) const {
  if (size == 0) return {};
  if (IsKernelAddress(to)) return Fail(EFAULT);
  size_t put = USL_TRY(WriteSome(tid_, to, from, size));
  if (put != size) return Fail(EFAULT);
  return {};
}

Result<size_t> GuestMemory::WriteIovecs(const std::vector<GuestIovec>& to, const void* from, size_t size) const {
  size_t done = 0;
  for (const GuestIovec& one : to) {
    size_t part = std::min<size_t>(one.length, size - done);
    USL_TRY_VOID(Write(one.base, static_cast<const char*>(from) + done, part));
    done += part;
    if (done == size) break;
  }
  return done;
}

}  // namespace usl::platform
