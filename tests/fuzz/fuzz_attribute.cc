// Attribute records from hostile bytes: no crash, and what is accepted survives being written and read again.
#include <cstdlib>

#include "fs/attribute_record.h"

using namespace usl;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto record = fs::DecodeRecord(std::as_bytes(std::span(data, size)));
  if (!record) return record.error().code() == EIO ? 0 : (std::abort(), 0);
  const auto again = fs::DecodeRecord(fs::EncodeRecord(*record));
  if (!again || *again != *record) std::abort();
  return 0;
}
