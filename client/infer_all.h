// Runs more rows than fit into one request, several requests at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "client/remote_block.h"

namespace mlpserve::client {

struct InferAllOptions {
  int64_t rows_per_request = 0;        // 0: the block's max_rows. Batch statistics are per request.
  int in_flight = 4;                   // requests at once, at least 1
  std::chrono::milliseconds deadline;  // of each request; to be given
  // Called on the caller's thread at least five times a second with the rows whose result has come;
  // the last time, when there is nothing more to wait for.
  std::function<void(int64_t rows_done)> on_progress;
};

// Runs any number of rows, [n, input_features], in requests of rows_per_request, and returns their
// results in order. Stops with the first error, after the requests in flight have ended; nothing is
// retried.
absl::StatusOr<std::vector<float>> InferAll(const RemoteBlock& block, std::span<const float> rows,
                                            const InferAllOptions& options);

}  // namespace mlpserve::client
