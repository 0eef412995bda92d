// One run: a load on a server for a while, and what came of it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/arrivals.h"
#include "client/load/expected_outputs.h"
#include "client/load/request_set.h"
#include "client/load/server_side.h"
#include "client/load/tally.h"

namespace mlpserve::load {

// A point of a sweep. A closed loop where rate is 0, an open loop otherwise.
struct Point {
  int64_t rows = 1;     // of each request
  int concurrency = 1;  // closed loop: requests in flight
  double rate = 0;      // open loop: requests a second

  bool open() const { return rate > 0; }
};

// "16 rows, 32 at a time"; "1 row, 2,500/s".
std::string Describe(const Point& point);

inline const std::atomic<bool> kNeverStopped = false;

struct RunOptions {
  std::string address;
  std::string model;
  std::string version;
  std::chrono::nanoseconds warm_up{};    // before the counted time, under the same load
  std::chrono::nanoseconds duration{};   // the counted time
  std::chrono::milliseconds deadline{};  // of each request; 0: none; must be 0 with `streaming`
  bool streaming = false;                // a stream for each request in flight
  ArrivalKind arrivals = ArrivalKind::kPoisson;
  uint64_t seed = 1;
  int max_in_flight = 4096;      // open loop
  int connections = 0;           // 0: by the load
  int threads = 0;               // 0: by the machine
  std::vector<int> server_pids;  // of which processor time is measured; empty: none
  // Set: the run ends soon, with what was counted.
  const std::atomic<bool>* stop = &kNeverStopped;
};

struct Result {
  Point point;
  double seconds = 0;  // that were counted; in an open loop until the last answer
  Histogram latency;
  Histogram lateness;
  Failures failures;
  uint64_t unsent = 0;
  int64_t request_bytes = 0;            // of a message
  std::optional<ServerSplit> server;    // none: the server does not say
  std::optional<double> server_cpu_us;  // of a request; none: not measured
  double client_cpu_us = 0;             // of a request: this process

  uint64_t succeeded() const { return latency.count(); }
  uint64_t failed() const;  // unsent ones among them
  double requests_per_second() const;
  double rows_per_second() const;
};

// Called about ten times a second: how much of the run is over, 0..1, and answers a second lately.
using OnProgress = std::function<void(double done, double rate)>;

// Errors: UNAVAILABLE, no connection; NOT_FOUND, no such process to measure. That requests fail is
// no error, but part of the result.
absl::StatusOr<Result> Run(const RunOptions& options, const Point& point,
                           const RequestSet& requests, const ExpectedOutputs* expected,
                           const OnProgress& on_progress);

}  // namespace mlpserve::load
