// What blocks did lately: counters read now and then, and the difference to those of a minute ago.
//
// Pure: time is an argument. Not thread-safe. Bound: readings of the last minute, at most one each
// five seconds, of 27 numbers a block.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "server/metrics/block_metrics.h"

namespace mlpserve {

// Counted since the block was loaded.
struct BlockCounts {
  uint64_t requests = 0;  // answered with their rows
  uint64_t failures = 0;
  uint64_t rows = 0;
  uint64_t batches = 0;
  uint64_t computed_rows = 0;  // with the padding of batches
  DurationCounts durations{};  // of the requests, by kDurationBoundsNs

  static BlockCounts Of(const BlockStatistics& statistics);
};

using BlockKey = std::pair<std::string, int64_t>;  // name, version
using AllCounts = std::map<BlockKey, BlockCounts>;

// What a block did in a while.
struct Activity {
  double requests_per_second = 0;
  double rows_per_second = 0;
  double failures_per_second = 0;
  double fill = 0;                        // rows over computed rows, 0..1; 0: no batch
  std::chrono::nanoseconds p50{}, p99{};  // of the requests; 0: none
};

// The duration that `quantile` (0..1) of the counted requests did not exceed, interpolated within
// its bucket; the last bound for what lies beyond it, 0 of no requests.
std::chrono::nanoseconds Quantile(const DurationCounts& counts, double quantile);

class History {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  static constexpr std::chrono::seconds kSpan{60};
  static constexpr std::chrono::seconds kInterval{5};

  // Takes a reading, unless the last one is younger than the interval; forgets those that are not
  // needed any more.
  void Record(TimePoint now, const AllCounts& counts);

  // What the block did since the reading a minute ago, or since the oldest where there is none so
  // old. A block that was not there then began with zeros.
  Activity Since(TimePoint now, const BlockKey& block, const BlockCounts& counts) const;

 private:
  std::deque<std::pair<TimePoint, AllCounts>> readings_;  // oldest first
};

}  // namespace mlpserve
