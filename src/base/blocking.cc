#include "base/blocking.h"

namespace usl {
namespace {
thread_local BlockingHooks* t_hooks = nullptr;
}

BlockingHooks* CurrentBlockingHooks() {
  return t_hooks;
}
void SetBlockingHooks(BlockingHooks* hooks) {
  t_hooks = hooks;
}

}  // namespace usl
