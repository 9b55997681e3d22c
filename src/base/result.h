// Result<T>: the one way an operation fails. It carries a Linux errno; C's errno exists only where a host call returns.
#pragma once

#include <cerrno>
#include <expected>
#include <utility>

namespace usl {

// A Linux errno value, always positive (ENOENT, not -ENOENT).
class [[nodiscard]] Error {
 public:
  explicit constexpr Error(int code) : code_(code) {}
  // The errno that the last failed host call of this thread left behind.
  static Error FromErrno() { return Error(errno); }
  constexpr int code() const { return code_; }
  friend constexpr bool operator==(Error, Error) = default;

 private:
  int code_;
};

template <typename T = void>
using Result = std::expected<T, Error>;

// `return Fail(ENOENT);` in a function that returns any Result<T>.
inline std::unexpected<Error> Fail(int code) {
  return std::unexpected(Error(code));
}
inline std::unexpected<Error> Fail(Error error) {
  return std::unexpected(error);
}
inline std::unexpected<Error> FailErrno() {
  return std::unexpected(Error::FromErrno());
}

// Kernel-internal errno values that a served call may answer with; the host kernel restarts or converts them
// (include/linux/errno.h of Linux).
inline constexpr int kERESTARTSYS = 512;
inline constexpr int kERESTARTNOINTR = 513;
inline constexpr int kERESTARTNOHAND = 514;

}  // namespace usl

// Evaluates to the value of a Result, or returns its error from the enclosing function. A GNU statement expression:
// both compilers that build USL have it, and it captures nothing of the enclosing scope.
#define USL_TRY(expression)                                              \
  ({                                                                     \
    auto&& usl_try_result = (expression);                                \
    if (!usl_try_result) return std::unexpected(usl_try_result.error()); \
    std::move(usl_try_result).value();                                   \
  })

// The same for Result<void>.
#define USL_TRY_VOID(expression)                                         \
  do {                                                                   \
    auto&& usl_try_result = (expression);                                \
    if (!usl_try_result) return std::unexpected(usl_try_result.error()); \
  } while (false)
