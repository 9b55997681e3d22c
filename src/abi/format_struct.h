// Formatting of what a call's pointers lead to. Each function gives nothing where the memory cannot be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "abi/arg_types.h"
#include "abi/memory_reader.h"

namespace usl::abi {

// "text\n" with C escapes.
std::string Quote(std::string_view bytes);

// `size` bytes of data, at most 32 of them shown.
std::optional<std::string> FormatBuffer(uint64_t address, uint64_t size, const MemoryReader& memory);

// A C string, at most `max` bytes of it.
std::optional<std::string> FormatString(uint64_t address, size_t max, const MemoryReader& memory);

// {sa_family=AF_INET, sin_port=htons(80), sin_addr=127.0.0.1}
std::optional<std::string> FormatSockaddr(uint64_t address, uint64_t length, const MemoryReader& memory);

// An array of `count` iovecs. With `data_limit`, that many bytes of their data; else only the pointers.
std::optional<std::string> FormatIovec(uint64_t address, uint64_t count, std::optional<uint64_t> data_limit,
                                       const MemoryReader& memory);

// ["ls", "-l"]
std::optional<std::string> FormatArgv(uint64_t address, const MemoryReader& memory);
// 0x7ffc... /* 20 vars */
std::optional<std::string> FormatEnvp(uint64_t address, const MemoryReader& memory);
// An array of `count` pollfds.
std::optional<std::string> FormatPollFds(uint64_t address, uint64_t count, const MemoryReader& memory);

// A structure of fixed size, by its type (kStatOut, kTimespec, kRlimit, ...).
std::optional<std::string> FormatStruct(ArgType type, uint64_t address, const MemoryReader& memory);

// Permission bits with three digits at least: 0644.
std::string FormatMode(uint32_t mode);

}  // namespace usl::abi
