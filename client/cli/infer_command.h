// mlpserve-client infer: rows of a file through a block, and what comes of them.
#pragma once

#include <chrono>

#include "absl/status/status.h"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/client.h"

namespace mlpserve::client {

// Files are read and checked before the first request is sent. Prints one line with rows, time and
// rate, and one with the accuracy where there are labels.
absl::Status RunInfer(const InferCommand& command, Client& client,
                      std::chrono::milliseconds deadline, const Streams& streams);

}  // namespace mlpserve::client
