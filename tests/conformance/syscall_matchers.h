// Matchers for the results of system calls, so that expectations read as sentences:
//   EXPECT_THAT(open("/", O_WRONLY), SyscallFailsWithErrno(EISDIR));
// The matched expression must be the last call before the matcher runs, as it looks at errno.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

namespace usl::conformance {

MATCHER(SyscallSucceeds, "succeeds") {
  if (arg != static_cast<arg_type>(-1)) return true;
  *result_listener << "with errno " << errno << " (" << strerror(errno) << ")";
  return false;
}

MATCHER_P(SyscallSucceedsWithValue, value, "succeeds with " + ::testing::PrintToString(value)) {
  if (arg == static_cast<arg_type>(-1)) {
    *result_listener << "with errno " << errno << " (" << strerror(errno) << ")";
    return false;
  }
  return arg == static_cast<arg_type>(value);
}

MATCHER_P(SyscallFailsWithErrno, expected, std::string("fails with ") + strerror(expected)) {
  const int error = errno;
  if (arg != static_cast<arg_type>(-1)) {
    *result_listener << "which succeeded";
    return false;
  }
  *result_listener << "with errno " << error << " (" << strerror(error) << ")";
  return error == expected;
}

}  // namespace usl::conformance
