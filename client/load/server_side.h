// What the server says and costs during a run: where its requests spent their time, and processor
// time.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mlpserve::load {

// The server's own account of a model, from ModelStatistics: counted since it started.
struct ServerCounters {
  uint64_t requests = 0;  // answered well
  uint64_t batches = 0;
  uint64_t rows = 0;
  std::chrono::nanoseconds queue{};    // sums over requests
  std::chrono::nanoseconds compute{};  // input, arithmetic and output
};

// Of the requests between two readings.
struct ServerSplit {
  double queue_us = 0;    // of a request, on average
  double compute_us = 0;  // as well
  double batch_rows = 0;  // of a batch, on average
};

// All versions together where `version` is empty. UNIMPLEMENTED: the server does not count.
absl::StatusOr<ServerCounters> ReadCounters(const std::string& address, const std::string& model,
                                            const std::string& version,
                                            std::chrono::milliseconds deadline);

// None where no request was answered in between, or a counter fell (the server started again).
std::optional<ServerSplit> Split(const ServerCounters& before, const ServerCounters& after);

// Processor time of the processes so far, user and system. NOT_FOUND: no such process.
absl::StatusOr<double> CpuSeconds(const std::vector<int>& pids);

}  // namespace mlpserve::load
