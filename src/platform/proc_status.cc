#include "platform/proc_status.h"

#include <fcntl.h>

#include <cstdlib>
#include <cstring>

#include "base/unique_fd.h"

namespace usl::platform {

Result<size_t> ReadSmallFile(const char* path, char* buffer, size_t size) {
  UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno();
  size_t done = 0;
  while (done < size - 1) {
    ssize_t got = read(fd.get(), buffer + done, size - 1 - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno();
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  buffer[done] = '\0';
  return done;
}

bool FindStatusField(const char* text, const char* name, int base, uint64_t* value) {
  size_t length = strlen(name);
  for (const char* line = text; line; line = strchr(line, '\n')) {
    if (*line == '\n') ++line;
    if (strncmp(line, name, length) == 0) {
      *value = strtoull(line + length, nullptr, base);
      return true;
    }
  }
  return false;
}

Result<uint64_t> ReadStatusField(const char* path, const char* name, int base) {
  char text[4096];
  USL_TRY(ReadSmallFile(path, text, sizeof text));
  uint64_t value;
  if (!FindStatusField(text, name, base, &value)) return Fail(ENOENT);
  return value;
}

}  // namespace usl::platform
