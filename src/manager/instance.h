// One run of `usl run`: from the options to the exit status.
#pragma once

#include "manager/run_options.h"

namespace usl::manager {

// Starts an instance, runs the one session in it and tears everything down again. Returns the exit status of the
// command (128 + n for signals; 126 and 127 as shells), or 125 after one line on standard error that says what USL
// could not do. Call it while the process is single-threaded.
int RunInstance(const RunOptions& options);

}  // namespace usl::manager
