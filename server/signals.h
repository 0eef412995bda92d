// SIGTERM and SIGINT as something to wait for.
#pragma once

#include <chrono>

namespace mlpserve {

// Blocks both signals in this thread and in every thread started from it: call it before any other
// thread exists. Also ignores SIGPIPE, since a client that leaves is no reason to die.
void BlockStopSignals();

// Returns the signal's number.
int WaitForStopSignal();

// True if a signal came within `timeout`.
bool WaitForStopSignal(std::chrono::milliseconds timeout);

}  // namespace mlpserve
