// One file descriptor over a UNIX socket (SCM_RIGHTS, unix(7)).
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::platform {

// Sends `fd` with one byte of data. Async-signal-safe.
Result<void> SendFd(int socket, int fd);
// Receives a message that carries an fd. EBADMSG: the next message (left in the socket) carries none; ESRCH:
// end-of-file.
Result<UniqueFd> ReceiveFd(int socket);

}  // namespace usl::platform
