// The kernel lock's way out. All kernel and VFS state is guarded by one lock, held by the thread that serves a call
// (see ARCHITECTURE.md: one receiver serves faster than two). Code that is about to wait for the host for long (a
// copy-up of a large file, an fsync, a blocking open) declares a BlockingScope around the wait: the thread gives up the
// lock and the receiver's role, and has the lock again when the scope ends. Whoever opens a scope holds no reference
// into guarded containers across it, and looks at guarded state anew afterwards.
#pragma once

namespace usl {

class BlockingHooks {
 public:
  virtual ~BlockingHooks() = default;
  virtual void EnterBlocking() = 0;
  virtual void LeaveBlocking() = 0;
};

// The hooks of this thread, or null (in tests and single-threaded programs, where scopes do nothing).
BlockingHooks* CurrentBlockingHooks();
void SetBlockingHooks(BlockingHooks* hooks);

class BlockingScope {
 public:
  BlockingScope() : hooks_(CurrentBlockingHooks()) {
    if (hooks_) hooks_->EnterBlocking();
  }
  ~BlockingScope() {
    if (hooks_) hooks_->LeaveBlocking();
  }
  BlockingScope(const BlockingScope&) = delete;
  BlockingScope& operator=(const BlockingScope&) = delete;

 private:
  BlockingHooks* hooks_;
};

}  // namespace usl
