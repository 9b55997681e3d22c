// What is mounted: statmount(2), listmount(2).
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "fs/proc_source.h"
#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/mount_flags.h"

namespace usl::syscalls {
namespace {

// The structures of Linux 6.8 and later, which the C library's headers may not have.
struct MountIdRequest {
  uint32_t size;
  uint32_t spare;
  uint64_t id;
  uint64_t parameter;
  uint64_t name_space;  // since Linux 6.11
};
constexpr uint64_t kRequestVersion0 = 24;

struct StatMount {
  uint32_t size, mnt_opts;
  uint64_t mask;
  uint32_t sb_dev_major, sb_dev_minor;
  uint64_t sb_magic;
  uint32_t sb_flags, fs_type;
  uint64_t mnt_id, mnt_parent_id;
  uint32_t mnt_id_old, mnt_parent_id_old;
  uint64_t mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
  uint32_t mnt_root, mnt_point;
  uint64_t mnt_ns_id;
  uint32_t fs_subtype, sb_source, opt_num, opt_array, opt_sec_num, opt_sec_array;
  uint64_t supported_mask;
  uint32_t mnt_uidmap_num, mnt_uidmap, mnt_gidmap_num, mnt_gidmap;
  uint64_t spare[43];
};
static_assert(sizeof(StatMount) == 512 && offsetof(StatMount, mnt_ns_id) == 112 &&
              offsetof(StatMount, supported_mask) == 144);

enum : uint64_t {
  kSbBasic = 1,
  kMntBasic = 2,
  kPropagateFrom = 4,
  kMntRoot = 8,
  kMntPoint = 0x10,
  kFsType = 0x20,
  kMntNsId = 0x40,
  kMntOpts = 0x80,
  kSbSource = 0x200,
  kOptArray = 0x400,
  kSupportedMask = 0x1000,
  kSupported = kSbBasic | kMntBasic | kPropagateFrom | kMntRoot | kMntPoint | kFsType | kMntNsId | kMntOpts |
               kSbSource | kOptArray | kSupportedMask,
};
constexpr uint64_t kFirstUniqueId = (uint64_t{1} << 31) + 1;
constexpr uint64_t kRootOfAll = ~uint64_t{0};  // LSMT_ROOT

Result<MountIdRequest> ReadRequest(const SyscallContext& context) {
  const GuestAddress from = context.AddressArg(0);
  const uint32_t size = USL_TRY(context.memory().ReadObject<uint32_t>(from));
  if (size > static_cast<uint64_t>(sysconf(_SC_PAGESIZE))) return Fail(E2BIG);
  if (size < kRequestVersion0) return Fail(EINVAL);
  std::vector<std::byte> bytes(size);
  USL_TRY_VOID(context.memory().Read(from, bytes.data(), bytes.size()));
  MountIdRequest request{};
  std::memcpy(&request, bytes.data(), std::min(bytes.size(), sizeof request));
  for (size_t i = sizeof request; i < bytes.size(); ++i) {
    if (bytes[i] != std::byte{0}) return Fail(E2BIG);
  }
  if (request.spare != 0 || request.id < kFirstUniqueId) return Fail(EINVAL);
  // Only the caller's own namespace can be asked about.
  if (request.name_space != 0 && request.name_space != context.task().fs()->mounts->id()) return Fail(ENOENT);
  return request;
}

bool IsReachable(vfs::Path from, const vfs::Path& root) {
  while (from.mount != root.mount) {
    if (!from.mount->parent()) return false;
    from = vfs::Path{from.mount->parent_ref(), from.mount->mount_point()};
  }
  return from.dentry->IsBelow(*root.dentry);
}

// A mount that the caller may ask about: one below its root, or any with CAP_SYS_ADMIN.
Result<void> CheckVisible(const SyscallContext& context, const vfs::Mount& mount) {
  const vfs::Path place{Ref<vfs::Mount>(const_cast<vfs::Mount*>(&mount)), mount.root()};
  if (IsReachable(place, context.task().fs()->root)) return {};
  return RequireCapability(context, CAP_SYS_ADMIN);
}

class StatMountWriter {
 public:
  explicit StatMountWriter(uint64_t wanted) : wanted_(wanted) {}
  bool Wants(uint64_t what) const { return wanted_ & what; }
  void Text(uint64_t what, uint32_t StatMount::*member, std::string_view text) {
    if (!Wants(what)) return;
    out.*member = static_cast<uint32_t>(strings_.size());
    strings_.append(text).push_back('\0');
    out.mask |= what;
  }
  std::string Finish() {
    out.size = static_cast<uint32_t>(sizeof out + strings_.size());
    return std::string(reinterpret_cast<const char*>(&out), sizeof out) + strings_;
  }
  StatMount out{};

 private:
  uint64_t wanted_;
  std::string strings_;
};

void FillNumbers(StatMountWriter& writer, const vfs::Mount& mount, const fs::ProcMount& shown) {
  StatMount& out = writer.out;
  const vfs::Mount& parent = mount.parent() ? *mount.parent() : mount;
  if (writer.Wants(kMntBasic)) {
    out.mnt_id = mount.unique_id();
    out.mnt_id_old = static_cast<uint32_t>(mount.id());
    out.mnt_parent_id = parent.unique_id();
    out.mnt_parent_id_old = static_cast<uint32_t>(parent.id());
    out.mnt_attr = AttributesOfFlags(mount.flags());
    out.mnt_propagation = mount.propagation();
    out.mnt_peer_group = mount.peer_group();
    out.mnt_master = mount.master_group();
    out.mask |= kMntBasic;
  }
  if (writer.Wants(kPropagateFrom)) {
    out.propagate_from = shown.propagate_from;
    out.mask |= kPropagateFrom;
  }
  if (writer.Wants(kMntNsId)) {
    out.mnt_ns_id = mount.name_space()->id();
    out.mask |= kMntNsId;
  }
  if (writer.Wants(kSupportedMask)) {
    out.supported_mask = kSupported;
    out.mask |= kSupportedMask;
  }
}

std::string MakeStatMount(const SyscallContext& context, vfs::Mount& mount, uint64_t wanted) {
  StatMountWriter writer(wanted);
  vfs::Vfs& vfs = context.vfs();
  const fs::ProcMount shown = fs::DescribeMount(vfs, mount, context.task().fs()->root);
  FillNumbers(writer, mount, shown);
  if (writer.Wants(kSbBasic)) {
    writer.out.sb_dev_major = major(shown.device);
    writer.out.sb_dev_minor = minor(shown.device);
    if (auto status = mount.file_system().StatFs()) writer.out.sb_magic = static_cast<uint64_t>(status->f_type);
    writer.out.sb_flags = shown.is_file_system_read_only ? MS_RDONLY : 0;
    writer.out.mask |= kSbBasic;
  }
  writer.Text(kFsType, &StatMount::fs_type, shown.type);
  writer.Text(kMntRoot, &StatMount::mnt_root, shown.root);
  writer.Text(kMntPoint, &StatMount::mnt_point, shown.mount_point);
  if (!shown.options.empty()) writer.Text(kMntOpts, &StatMount::mnt_opts, shown.options);
  writer.Text(kSbSource, &StatMount::sb_source, shown.source);
  if (!shown.options.empty() && writer.Wants(kOptArray)) {
    std::string options = shown.options;
    writer.out.opt_num = 1 + static_cast<uint32_t>(std::ranges::count(options, ','));
    std::ranges::replace(options, ',', '\0');
    writer.Text(kOptArray, &StatMount::opt_array, options);
  }
  return writer.Finish();
}

}  // namespace

Result<Reply> sys_statmount(SyscallContext& context) {
  if (context.UintArg(3) != 0) return Fail(EINVAL);
  const MountIdRequest request = USL_TRY(ReadRequest(context));
  vfs::Mount* mount = context.task().fs()->mounts->FindByUniqueId(request.id);
  if (!mount) return Fail(ENOENT);
  USL_TRY_VOID(CheckVisible(context, *mount));
  const std::string text = MakeStatMount(context, *mount, request.parameter);
  const uint64_t room = context.Arg(2);
  if (room < sizeof(StatMount)) {
    // As much of the fixed part as fits; strings need all of it.
    if (text.size() > sizeof(StatMount)) return Fail(EOVERFLOW);
    USL_TRY_VOID(context.memory().Write(context.AddressArg(1), text.data(), room));
    return 0;
  }
  if (text.size() > room) return Fail(EOVERFLOW);
  USL_TRY_VOID(context.memory().Write(context.AddressArg(1), text.data(), text.size()));
  return 0;
}

Result<Reply> sys_listmount(SyscallContext& context) {
  constexpr unsigned kReverse = 1;
  constexpr uint64_t kMost = 1'000'000;
  const unsigned flags = context.UintArg(3);
  if (flags & ~kReverse) return Fail(EINVAL);
  if (context.Arg(2) > kMost) return Fail(EOVERFLOW);
  const MountIdRequest request = USL_TRY(ReadRequest(context));
  if (request.parameter != 0 && request.parameter < kFirstUniqueId) return Fail(EINVAL);
  vfs::MountNamespace& mounts = *context.task().fs()->mounts;
  vfs::Path from{mounts.root(), mounts.root()->root()};
  if (request.id == kRootOfAll) {
    from = context.task().fs()->root;
  } else {
    vfs::Mount* mount = mounts.FindByUniqueId(request.id);
    if (!mount) return Fail(ENOENT);
    from = vfs::Path{Ref<vfs::Mount>(mount), mount->root()};
    USL_TRY_VOID(CheckVisible(context, *mount));
  }
  std::vector<uint64_t> ids;
  for (const Ref<vfs::Mount>& mount : mounts.List()) {
    if (mount->unique_id() == request.id || !IsReachable(vfs::Path{mount, mount->root()}, from)) continue;
    ids.push_back(mount->unique_id());
  }
  std::ranges::sort(ids);
  if (flags & kReverse) std::ranges::reverse(ids);
  // The last one that an earlier call gave.
  std::erase_if(ids, [&](uint64_t id) {
    return request.parameter != 0 && ((flags & kReverse) ? id >= request.parameter : id <= request.parameter);
  });
  ids.resize(std::min<size_t>(ids.size(), context.Arg(2)));
  USL_TRY_VOID(context.memory().Write(context.AddressArg(1), ids.data(), ids.size() * sizeof(uint64_t)));
  return static_cast<int64_t>(ids.size());
}

}  // namespace usl::syscalls
