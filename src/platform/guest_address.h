// An address in a guest's memory. A type of its own, so that nobody can dereference it in the kernel process.
#pragma once

#include <compare>
#include <cstdint>

namespace usl::platform {

class GuestAddress {
 public:
  constexpr GuestAddress() = default;
  explicit constexpr GuestAddress(uint64_t value) : value_(value) {}

  constexpr uint64_t value() const { return value_; }
  constexpr bool is_null() const { return value_ == 0; }
  // Wraps around like the guest's own arithmetic; an address that wrapped is unmapped or the guest's own affair.
  friend constexpr GuestAddress operator+(GuestAddress a, uint64_t offset) { return GuestAddress(a.value_ + offset); }
  friend constexpr GuestAddress operator-(GuestAddress a, uint64_t offset) { return GuestAddress(a.value_ - offset); }
  friend constexpr auto operator<=>(GuestAddress, GuestAddress) = default;

 private:
  uint64_t value_ = 0;
};

}  // namespace usl::platform
