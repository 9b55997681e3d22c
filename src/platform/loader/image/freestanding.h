// What the loader has instead of a libc: raw system calls and memory functions.
//
// Forbidden here and in loader.cc: libc, thread-local storage, static constructors, virtual functions and tables of
// pointers (each would need relocations or a set-up that nobody does), SSE (the guest expects cleared registers), and
// any system call that ld.so does not use too (a seccomp filter of the guest's own may already be in force).
#pragma once

#include <cstddef>
#include <cstdint>

namespace usl::platform::loader {

inline int64_t Syscall(uint64_t number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0, uint64_t e = 0,
                       uint64_t f = 0) {
  register uint64_t r10 asm("r10") = d;
  register uint64_t r8 asm("r8") = e;
  register uint64_t r9 asm("r9") = f;
  int64_t result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

// Ends the process as Linux ends one whose exec fails half-way: by SIGSEGV. A system call could be filtered, this
// cannot.
[[noreturn]] inline void Die() {
  for (;;) asm volatile("hlt");
}

// Copies upwards: overlapping is fine where `to` is below `from`.
inline void CopyUp(void* to, const void* from, size_t size) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

inline void Zero(void* at, size_t size) {
  asm volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(0) : "memory");
}

inline size_t Length(const char* string) {
  size_t n = 0;
  while (string[n] != '\0') {
    ++n;
    asm volatile("");  // keeps the compiler from making a strlen call of this
  }
  return n;
}

inline constexpr uint64_t kPage = 4096;
constexpr uint64_t PageDown(uint64_t value) {
  return value & ~(kPage - 1);
}
constexpr uint64_t PageUp(uint64_t value) {
  return PageDown(value + kPage - 1);
}

}  // namespace usl::platform::loader
