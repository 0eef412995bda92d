// What one version of one block counts: requests, batches, failures, evictions.
//
// The record functions are the hot path: no mutex, no allocation but for a thread's first record of
// a block, no clock, and no locked instruction in the common case. Each thread adds to a shard that
// it alone writes (thread_slot.h); a scrape sums the shards. A sum may be ahead of a count by the
// requests recorded while it was read, but every count is exact once its threads have returned, and
// never falls.
//
// Not here: where the figures come from. The caller has timed the request and passes the values.
//
// Threads: every function may be called from any thread at any time.
// Ownership: shared between Metrics (which exports it) and whoever records.
// Bound: a shard of 2.7 KiB for each thread that has recorded something for the block, kThreadSlots
// + 1 at most; at most kMaxBuckets distinct bucket labels, what goes beyond is counted under
// bucket="other".
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/metrics/metric_table.h"
#include "server/metrics/thread_slot.h"
#include "server/vocabulary/eviction.h"

namespace mlpserve {

// A request that was answered with its rows.
struct RequestSample {
  std::chrono::nanoseconds total{};           // whole message received .. response handed over
  std::chrono::nanoseconds queue{};           // received .. its first batch started
  std::chrono::nanoseconds compute_input{};   // batch started .. rows are where they are read
  std::chrono::nanoseconds compute_infer{};   // the arithmetic
  std::chrono::nanoseconds compute_output{};  // arithmetic ended .. results can be sent
  int64_t rows = 0;
  int64_t received_bytes = 0;  // of the request message
  int64_t sent_bytes = 0;      // of the response message
  std::chrono::steady_clock::time_point done;
};

// A batch that ran.
struct BatchSample {
  int64_t rows = 0;
  int64_t bucket = 0;  // rows that were computed, padding included; at least `rows`
  std::chrono::nanoseconds compute_input{};
  std::chrono::nanoseconds compute_infer{};
  std::chrono::nanoseconds compute_output{};
};

// Requests by duration: one count for each of kDurationBoundsNs, and one for what is longer.
using DurationCounts = std::array<uint64_t, kDurationBoundsNs.size() + 1>;

struct CountAndTime {
  uint64_t count = 0;
  uint64_t ns = 0;
};

// What the protocol's ModelStatistics says.
struct BlockStatistics {
  struct Batch {
    int64_t batch_size = 0;  // the bucket: rows computed, padding included
    CountAndTime compute_input, compute_infer, compute_output;
  };

  uint64_t last_inference_ms = 0;  // since the epoch; 0: none yet
  uint64_t inference_count = 0;    // rows of successful requests
  uint64_t execution_count = 0;    // batches
  // Of requests. `queue` and `compute_*` count successful requests, one each.
  CountAndTime success, fail, queue, compute_input, compute_infer, compute_output;
  DurationCounts durations{};  // of successful requests
  std::vector<Batch> batches;  // ascending by size, at most BlockMetrics::kMaxBuckets
};

class FamilyWriter;

// How much of a block is shown.
enum class Detail : uint8_t {
  kFull,  // everything that it has counted
  kLean,  // of the histograms the requests' duration alone, and no counter that is zero
};

class BlockMetrics {
 public:
  static constexpr size_t kMaxBuckets = 32;

  BlockMetrics(std::string model, int64_t version);
  ~BlockMetrics();
  BlockMetrics(const BlockMetrics&) = delete;
  BlockMetrics& operator=(const BlockMetrics&) = delete;

  const std::string& model() const { return model_; }
  int64_t version() const { return version_; }

  // Negative durations, rows and bytes count as zero.
  void RecordRequest(const RequestSample& sample);
  // A request that was answered with an error; `total` as in RequestSample. An evicted request is
  // recorded here too, beside RecordEviction.
  void RecordFailure(absl::StatusCode code, std::chrono::nanoseconds total);
  void RecordBatch(const BatchSample& sample);
  void RecordEviction(Eviction reason);

  BlockStatistics Statistics() const;

  // Appends this block's families; for Metrics. A histogram begins with its first observation.
  void Export(FamilyWriter& writer, Detail detail) const;

 private:
  struct Shard;
  struct Totals;

  Totals Sum() const;
  BlockStatistics Statistics(const Totals& totals) const;
  void ExportHistograms(FamilyWriter& writer, const Totals& totals, Detail detail) const;
  void ExportCounters(FamilyWriter& writer, const Totals& totals, Detail detail) const;
  void ExportNv(FamilyWriter& writer, const Totals& totals) const;
  size_t BucketIndex(int64_t bucket);
  Shard& ShardOf(int slot);

  const std::string model_;
  const int64_t version_;
  // By thread_slot.h's number, the last is shared; null until the thread records something.
  std::array<std::atomic<Shard*>, kThreadSlots + 1> shards_{};
  // The distinct buckets in the order in which they were first seen; 0: free. Never shrinks.
  std::array<std::atomic<int64_t>, kMaxBuckets> buckets_{};
};

}  // namespace mlpserve
