#include "fs/mqueuefs.h"

#include <dirent.h>
#include <fcntl.h>

#include "fs/synthetic_directory.h"

namespace usl::fs {
namespace {

constexpr int64_t kMagic = 0x19800202;  // MQUEUE_MAGIC
constexpr uint64_t kShownSize = 80;     // FILENT_SIZE of Linux's ipc/mqueue.c

class QueueFile final : public SyntheticInode {
 public:
  QueueFile(SyntheticFileSystem& file_system, std::string path, QueueSource& source, std::string name, mode_t mode)
      : SyntheticInode(file_system, std::move(path), S_IFREG | mode), source_(source), name_(std::move(name)) {}

  Result<vfs::Attributes> GetAttributes() override {
    if (!source_.Find(name_)) return Fail(ENOENT);
    vfs::Attributes attributes = USL_TRY(SyntheticInode::GetAttributes());
    attributes.size = kShownSize;
    return attributes;
  }
  Result<UniqueFd> Open(int flags, const vfs::Context&) override {
    if (flags & O_PATH) return Fail(EOPNOTSUPP);  // Vfs has handles for these
    return source_.OpenFile(name_, flags);
  }

 protected:
  void FillOwner(vfs::Attributes& attributes) override {
    const auto queue = source_.Find(name_);
    if (!queue) return;
    attributes.uid = queue->uid;
    attributes.gid = queue->gid;
  }

 private:
  QueueSource& source_;
  const std::string name_;
};

class QueueDirectory final : public SyntheticDirectory {
 public:
  QueueDirectory(SyntheticFileSystem& file_system, QueueSource& source)
      : SyntheticDirectory(file_system, "/", 01777), source_(source) {}

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context&) override {
    const auto queue = source_.Find(name);
    if (!queue) return Fail(ENOENT);
    const std::string path = ChildPath(name);
    if (auto live = synthetic().FindLive(path)) return Ref<vfs::Inode>(live);
    return Ref<vfs::Inode>(MakeRef<QueueFile>(synthetic(), path, source_, std::string(name), queue->mode & 0777));
  }
  Result<Ref<vfs::Inode>> Create(std::string_view name, const vfs::NewInode& spec) override {
    if ((spec.mode & S_IFMT) != S_IFREG) return Fail(EPERM);
    USL_TRY_VOID(source_.Make(name, {.uid = spec.uid, .gid = spec.gid, .mode = spec.mode & 0777}));
    return Ref<vfs::Inode>(
        MakeRef<QueueFile>(synthetic(), ChildPath(name), source_, std::string(name), spec.mode & 0777));
  }
  Result<void> Unlink(std::string_view name, vfs::Inode&) override { return source_.Remove(name); }
  // mq_open(2) and mq_unlink(2) change it too.
  bool CacheableNames() const override { return false; }

 protected:
  Result<std::vector<SyntheticEntry>> List() override {
    std::vector<SyntheticEntry> entries;
    for (const std::string& name : source_.Names()) entries.push_back({name, DT_REG, 0});
    SortByHash(entries);
    return entries;
  }

 private:
  QueueSource& source_;
};

class MessageQueueFs final : public SyntheticFileSystem {
 public:
  MessageQueueFs(QueueSource& source, const SyntheticInstance& instance)
      : SyntheticFileSystem("mqueue", kMagic, instance) {
    SetRoot(MakeRef<QueueDirectory>(*this, source));
  }
};

}  // namespace

Ref<SyntheticFileSystem> MakeMessageQueueFs(QueueSource& source, const SyntheticInstance& instance) {
  return MakeRef<MessageQueueFs>(source, instance);
}

}  // namespace usl::fs
