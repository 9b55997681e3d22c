// The main of every conformance binary. The tests need root, natively and inside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  constexpr int kSkipped = 77;
  if (geteuid() != 0 && !::testing::GTEST_FLAG(list_tests)) {
    fprintf(stderr, "skipped: conformance tests must run as root (natively, or as the guest's root)\n");
    return kSkipped;
  }
  return RUN_ALL_TESTS();
}
