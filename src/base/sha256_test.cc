#include "base/sha256.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

namespace usl {
namespace {

// The examples of FIPS 180-4.
TEST(Sha256Test, KnownDigests) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 hash;
  for (int i = 0; i < 1000; ++i) hash.Update(std::string(1000, 'a'));
  EXPECT_EQ(hash.HexDigest(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(hash.HexDigest(), Sha256Hex("")) << "starts anew";
}

TEST(Sha256Test, OfAFile) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(tmpfile(), fclose);
  ASSERT_TRUE(file);
  fputs("xabc", file.get());
  fflush(file.get());
  lseek(fileno(file.get()), 1, SEEK_SET);
  EXPECT_EQ(Sha256OfFile(fileno(file.get())).value_or(""), Sha256Hex("abc"));
  EXPECT_EQ(Sha256OfFile(-1).error().code(), EBADF);
}

}  // namespace
}  // namespace usl
