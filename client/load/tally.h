// What a worker counts.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "client/load/histogram.h"

namespace mlpserve::load {

using Clock = std::chrono::steady_clock;

struct Failure {
  uint64_t count = 0;
  std::string first;  // message
};
using Failures = std::map<absl::StatusCode, Failure>;

struct Tally {
  Histogram latency;   // of what was answered well, within the counted time
  Histogram lateness;  // open loop: how long after the intended time the request was sent
  Failures failures;
  uint64_t unsent = 0;              // open loop: arrivals that could not be sent any more
  Clock::time_point last_answer{};  // of those counted
  // Answers of any kind, at any time; read by others while the worker runs.
  std::atomic<uint64_t> answers = 0;

  void CountAnswer() {
    answers.store(answers.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  void Record(const absl::Status& status, Clock::time_point from, Clock::time_point now) {
    last_answer = now;
    if (status.ok()) {
      latency.Record(now - from);
      return;
    }
    Failure& failure = failures[status.code()];
    if (failure.count++ == 0) failure.first = std::string(status.message());
  }
};

}  // namespace mlpserve::load
