#include "kernel/ipc_registry.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <filesystem>

namespace usl::kernel {
namespace {

constexpr key_t kKey = 0x1234;

template <typename T>
int ErrorOf(const Result<T>& result) {
  return result ? 0 : result.error().code();
}

TEST(IpcRegistry, KeysAreItsOwn) {
  IpcRegistry first, second;
  const auto root = cred::RootCredentials();
  const int id = *first.Get(IpcKind::kSharedMemory, kKey, 4096, IPC_CREAT | 0600, root, 1);
  EXPECT_EQ(*first.Get(IpcKind::kSharedMemory, kKey, 0, 0, root, 1), id);
  EXPECT_EQ(ErrorOf(first.Get(IpcKind::kSharedMemory, kKey, 0, IPC_CREAT | IPC_EXCL, root, 1)), EEXIST);
  EXPECT_EQ(ErrorOf(first.Get(IpcKind::kSharedMemory, kKey, 4097, 0, root, 1)), EINVAL);
  EXPECT_EQ(ErrorOf(second.Get(IpcKind::kSharedMemory, kKey, 0, 0, root, 1)), ENOENT);
  EXPECT_EQ(ErrorOf(second.Find(IpcKind::kSharedMemory, id)), EINVAL);
  // Natively nobody finds it by the key.
  EXPECT_EQ(shmget(kKey, 0, 0), -1);
}

TEST(IpcRegistry, WhatAKilledKernelLeftIsRemoved) {
  char directory[] = "/tmp/usl-ipc-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const auto root = cred::RootCredentials();
  IpcRegistry registry;
  registry.RecordIn(directory);
  const int gone = *registry.Get(IpcKind::kSemaphores, IPC_PRIVATE, 1, IPC_CREAT | 0600, root, 1);
  const int left = *registry.Get(IpcKind::kSharedMemory, IPC_PRIVATE, 100, IPC_CREAT | 0600, root, 1);
  ASSERT_TRUE(registry.Remove(**registry.Find(IpcKind::kSemaphores, gone)));
  shmid_ds status;
  EXPECT_EQ(shmctl(left, IPC_STAT, &status), 0);
  RemoveIpcLeftovers(directory);
  EXPECT_EQ(shmctl(left, IPC_STAT, &status), -1);
  const std::string record = std::string(directory) + "/ipc";
  registry.RemoveAll();
  EXPECT_EQ(std::filesystem::file_size(record), 0u);
  std::filesystem::remove_all(directory);
}

TEST(IpcRegistry, LeavesNothingBehind) {
  int segment, semaphores;
  {
    IpcRegistry registry;
    const auto root = cred::RootCredentials();
    segment = *registry.Get(IpcKind::kSharedMemory, IPC_PRIVATE, 100, IPC_CREAT | 0600, root, 1);
    semaphores = *registry.Get(IpcKind::kSemaphores, IPC_PRIVATE, 3, IPC_CREAT | 0600, root, 1);
    EXPECT_GE(semctl(semaphores, 0, GETVAL), 0);
  }
  shmid_ds status;
  EXPECT_EQ(shmctl(segment, IPC_STAT, &status), -1);
  EXPECT_EQ(semctl(semaphores, 0, GETVAL), -1);
}

TEST(IpcRegistry, PermissionsAreTheGuests) {
  IpcRegistry registry;
  const auto owner = cred::UserCredentials(1000, 1000, {});
  const auto member = cred::UserCredentials(1001, 1001, {1000});
  const auto other = cred::UserCredentials(1002, 1002, {});
  const int id = *registry.Get(IpcKind::kMessages, IPC_PRIVATE, 0, IPC_CREAT | 0640, owner, 1);
  EXPECT_TRUE(registry.Check(IpcKind::kMessages, id, owner, kIpcRead | kIpcWrite));
  EXPECT_TRUE(registry.Check(IpcKind::kMessages, id, member, kIpcRead));
  EXPECT_EQ(ErrorOf(registry.Check(IpcKind::kMessages, id, member, kIpcWrite)), EACCES);
  EXPECT_EQ(ErrorOf(registry.Check(IpcKind::kMessages, id, other, kIpcRead)), EACCES);
  EXPECT_TRUE(registry.Check(IpcKind::kMessages, id, cred::RootCredentials(), kIpcWrite));
  EXPECT_EQ(ErrorOf(registry.CheckOwner(IpcKind::kMessages, id, member)), EPERM);
  EXPECT_TRUE(registry.Remove(**registry.CheckOwner(IpcKind::kMessages, id, owner)));
  EXPECT_EQ(ErrorOf(registry.Find(IpcKind::kMessages, id)), EINVAL);
}

TEST(IpcRegistry, ARemovedSegmentLivesWhileItIsAttached) {
  IpcRegistry registry;
  const auto root = cred::RootCredentials();
  const int id = *registry.Get(IpcKind::kSharedMemory, kKey, 4096, IPC_CREAT | 0600, root, 1);
  void* address = shmat(id, nullptr, 0);
  ASSERT_NE(address, reinterpret_cast<void*>(-1));
  ASSERT_TRUE(registry.Remove(**registry.Find(IpcKind::kSharedMemory, id)));
  EXPECT_TRUE(registry.Find(IpcKind::kSharedMemory, id));
  EXPECT_EQ(ErrorOf(registry.Get(IpcKind::kSharedMemory, kKey, 0, 0, root, 1)), ENOENT);
  shmdt(address);
  EXPECT_EQ(ErrorOf(registry.Find(IpcKind::kSharedMemory, id)), EINVAL);
}

}  // namespace
}  // namespace usl::kernel
