// libarchive's objects under RAII, and its errors.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <string>

namespace usl::manager {

struct ArchiveReadFree {
  void operator()(archive* handle) const { archive_read_free(handle); }
};
struct ArchiveWriteFree {
  void operator()(archive* handle) const { archive_write_free(handle); }
};
struct ArchiveEntryFree {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using ArchiveReadHandle = std::unique_ptr<archive, ArchiveReadFree>;
using ArchiveWriteHandle = std::unique_ptr<archive, ArchiveWriteFree>;
using ArchiveEntryHandle = std::unique_ptr<archive_entry, ArchiveEntryFree>;

inline std::string ArchiveText(archive* handle) {
  const char* text = archive_error_string(handle);
  return text ? text : "unknown error";
}

// For messages: names come from the archive.
std::string PrintableName(const std::string& name);

}  // namespace usl::manager
