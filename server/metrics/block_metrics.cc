#include "server/metrics/block_metrics.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "server/metrics/bucket_search.h"
#include "server/metrics/family_writer.h"
#include "server/metrics/metric_table.h"
#include "server/metrics/status_label.h"
#include "server/metrics/thread_slot.h"

namespace mlpserve {
namespace {

using Nanoseconds = std::chrono::nanoseconds;

uint64_t NotNegative(int64_t value) { return value < 0 ? 0 : static_cast<uint64_t>(value); }
uint64_t NotNegative(Nanoseconds value) { return NotNegative(value.count()); }

// A shard's counters, one after another, so that shards are summed by one loop. A histogram takes
// one cell per bucket (one above the last bound included) and one for the sum.
constexpr size_t kDurationCells = kDurationBoundsNs.size() + 2;
constexpr size_t kRowCells = kRowBounds.size() + 2;
constexpr size_t kFillCells = kFillBoundsPpm.size() + 2;

constexpr size_t kTotal = 0;
constexpr size_t kQueue = kTotal + kDurationCells;
constexpr size_t kInput = kQueue + kDurationCells;
constexpr size_t kInfer = kInput + kDurationCells;
constexpr size_t kOutput = kInfer + kDurationCells;
constexpr size_t kRequestRows = kOutput + kDurationCells;
constexpr size_t kBatchRows = kRequestRows + kRowCells;
constexpr size_t kBatchFill = kBatchRows + kRowCells;
constexpr size_t kReceivedBytes = kBatchFill + kFillCells;
constexpr size_t kSentBytes = kReceivedBytes + 1;
constexpr size_t kFailures = kSentBytes + 1;  // by code
constexpr size_t kFailureNs = kFailures + kStatusCodes;
constexpr size_t kEvictions = kFailureNs + 1;  // by reason
constexpr std::array<const char*, 3> kEvictionReasons = {"deadline", "timeout", "cancelled"};
// By bucket, the last for all buckets beyond the bound.
constexpr size_t kBatches = kEvictions + kEvictionReasons.size();
constexpr size_t kBatchCells = 4;  // count, input ns, infer ns, output ns
constexpr size_t kCells = kBatches + kBatchCells * (BlockMetrics::kMaxBuckets + 1);

// The record carries the steady clock's time, which costs nothing more; the wall's is found here.
uint64_t LastInferenceMs(int64_t done_ns) {
  if (done_ns == 0) return 0;
  const Nanoseconds age =
      std::chrono::steady_clock::now().time_since_epoch() - Nanoseconds(done_ns);
  const auto last = std::chrono::system_clock::now().time_since_epoch() - age;
  return NotNegative(std::chrono::duration_cast<std::chrono::milliseconds>(last).count());
}

double Microseconds(const CountAndTime& duration) {
  const uint64_t whole = duration.ns / 1000;  // Triton's counters are integers
  return static_cast<double>(whole);
}

}  // namespace

// Written by one thread, or by all that got no slot of their own; read by all.
struct alignas(64) BlockMetrics::Shard {
  std::array<std::atomic<uint64_t>, kCells> cells{};
  // Steady clock, ns. Of threads that share a shard the last to write wins: no matter for a figure
  // that is shown in milliseconds.
  std::atomic<int64_t> last_done{0};
};

struct BlockMetrics::Totals {
  std::array<uint64_t, kCells> cells{};
  int64_t last_done = 0;

  std::span<const uint64_t> Counts(size_t at, size_t cells_of_histogram) const {
    return std::span(cells).subspan(at, cells_of_histogram - 1);
  }
  CountAndTime Duration(size_t at) const {
    uint64_t count = 0;
    for (uint64_t in_bucket : Counts(at, kDurationCells)) count += in_bucket;
    return {count, cells[at + kDurationCells - 1]};
  }
};

namespace {

// Adds to one shard, as its owner or as one of many.
template <typename Shard>
class Adder {
 public:
  Adder(Shard& shard, bool shared) : shard_(shard), shared_(shared) {}

  void Add(size_t cell, uint64_t value) {
    std::atomic<uint64_t>& sum = shard_.cells[cell];
    if (shared_) [[unlikely]] {
      sum.fetch_add(value, std::memory_order_relaxed);
    } else {
      sum.store(sum.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
    }
  }
  template <const auto& bounds>
  void Observe(size_t histogram, uint64_t value) {
    Add(histogram + FindBucket<bounds>(value), 1);
    Add(histogram + bounds.size() + 1, value);
  }
  void ObserveDuration(size_t histogram, Nanoseconds value) {
    Observe<kDurationBoundsNs>(histogram, NotNegative(value));
  }
  void Advance(int64_t done) {
    if (done > shard_.last_done.load(std::memory_order_relaxed)) {
      shard_.last_done.store(done, std::memory_order_relaxed);
    }
  }

 private:
  Shard& shard_;
  const bool shared_;
};

}  // namespace

BlockMetrics::BlockMetrics(std::string model, int64_t version)
    : model_(std::move(model)), version_(version) {}

BlockMetrics::~BlockMetrics() {
  for (const auto& shard : shards_) delete shard.load(std::memory_order_acquire);
}

BlockMetrics::Shard& BlockMetrics::ShardOf(int slot) {
  std::atomic<Shard*>& place = shards_[static_cast<size_t>(slot)];
  Shard* shard = place.load(std::memory_order_acquire);
  if (shard != nullptr) [[likely]]
    return *shard;
  auto made = std::make_unique<Shard>();
  // Of threads that share the slot one comes first.
  if (place.compare_exchange_strong(shard, made.get(), std::memory_order_acq_rel)) {
    return *made.release();
  }
  return *shard;
}

void BlockMetrics::RecordRequest(const RequestSample& sample) {
  const int slot = ThreadSlot();
  Adder adder(ShardOf(slot), slot == kThreadSlots);
  adder.ObserveDuration(kTotal, sample.total);
  adder.ObserveDuration(kQueue, sample.queue);
  adder.ObserveDuration(kInput, sample.compute_input);
  adder.ObserveDuration(kInfer, sample.compute_infer);
  adder.ObserveDuration(kOutput, sample.compute_output);
  adder.Observe<kRowBounds>(kRequestRows, NotNegative(sample.rows));
  adder.Add(kReceivedBytes, NotNegative(sample.received_bytes));
  adder.Add(kSentBytes, NotNegative(sample.sent_bytes));
  adder.Advance(Nanoseconds(sample.done.time_since_epoch()).count());
}

void BlockMetrics::RecordFailure(absl::StatusCode code, Nanoseconds total) {
  const int slot = ThreadSlot();
  Adder adder(ShardOf(slot), slot == kThreadSlots);
  adder.Add(kFailures + StatusIndex(code), 1);
  adder.Add(kFailureNs, NotNegative(total));
}

void BlockMetrics::RecordBatch(const BatchSample& sample) {
  constexpr uint64_t kMillion = 1'000'000;
  const int slot = ThreadSlot();
  Adder adder(ShardOf(slot), slot == kThreadSlots);
  const uint64_t rows = NotNegative(sample.rows);
  const uint64_t computed = std::max({rows, NotNegative(sample.bucket), uint64_t{1}});
  adder.Observe<kRowBounds>(kBatchRows, rows);
  adder.Observe<kFillBoundsPpm>(kBatchFill, rows * kMillion / computed);
  const size_t batch = kBatches + kBatchCells * BucketIndex(static_cast<int64_t>(computed));
  adder.Add(batch, 1);
  adder.Add(batch + 1, NotNegative(sample.compute_input));
  adder.Add(batch + 2, NotNegative(sample.compute_infer));
  adder.Add(batch + 3, NotNegative(sample.compute_output));
}

void BlockMetrics::RecordEviction(Eviction reason) {
  const int slot = ThreadSlot();
  Adder(ShardOf(slot), slot == kThreadSlots).Add(kEvictions + static_cast<size_t>(reason), 1);
}

size_t BlockMetrics::BucketIndex(int64_t bucket) {
  for (size_t i = 0; i < kMaxBuckets; ++i) {
    int64_t seen = buckets_[i].load(std::memory_order_relaxed);
    if (seen == 0 && buckets_[i].compare_exchange_strong(seen, bucket)) return i;
    if (seen == bucket) return i;
  }
  return kMaxBuckets;
}

BlockMetrics::Totals BlockMetrics::Sum() const {
  Totals totals;
  for (const auto& place : shards_) {
    const Shard* const recorded = place.load(std::memory_order_acquire);
    if (recorded == nullptr) continue;
    const Shard& shard = *recorded;
    for (size_t i = 0; i < kCells; ++i) {
      totals.cells[i] += shard.cells[i].load(std::memory_order_relaxed);
    }
    totals.last_done = std::max(totals.last_done, shard.last_done.load(std::memory_order_relaxed));
  }
  return totals;
}

BlockStatistics BlockMetrics::Statistics() const { return Statistics(Sum()); }

BlockStatistics BlockMetrics::Statistics(const Totals& totals) const {
  const auto& cells = totals.cells;
  BlockStatistics stats;
  stats.success = totals.Duration(kTotal);
  std::ranges::copy(totals.Counts(kTotal, kDurationCells), stats.durations.begin());
  stats.queue = totals.Duration(kQueue);
  stats.compute_input = totals.Duration(kInput);
  stats.compute_infer = totals.Duration(kInfer);
  stats.compute_output = totals.Duration(kOutput);
  for (size_t i = 0; i < kStatusCodes; ++i) stats.fail.count += cells[kFailures + i];
  stats.fail.ns = cells[kFailureNs];
  stats.inference_count = cells[kRequestRows + kRowCells - 1];
  for (size_t i = 0; i <= kMaxBuckets; ++i) {
    const size_t at = kBatches + kBatchCells * i;
    const uint64_t count = cells[at];
    stats.execution_count += count;
    if (count == 0 || i == kMaxBuckets) continue;
    stats.batches.push_back({.batch_size = buckets_[i].load(std::memory_order_relaxed),
                             .compute_input = {count, cells[at + 1]},
                             .compute_infer = {count, cells[at + 2]},
                             .compute_output = {count, cells[at + 3]}});
  }
  std::sort(stats.batches.begin(), stats.batches.end(),
            [](const auto& a, const auto& b) { return a.batch_size < b.batch_size; });
  stats.last_inference_ms = LastInferenceMs(totals.last_done);
  return stats;
}

void BlockMetrics::Export(FamilyWriter& writer, Detail detail) const {
  const Totals totals = Sum();
  ExportHistograms(writer, totals, detail);
  ExportCounters(writer, totals, detail);
  ExportNv(writer, totals);
}

void BlockMetrics::ExportHistograms(FamilyWriter& writer, const Totals& totals,
                                    Detail detail) const {
  struct Row {
    MetricId id;
    size_t at;
    size_t cells;
  };
  constexpr Row kRows[] = {
      {MetricId::kRequestDuration, kTotal, kDurationCells},
      {MetricId::kQueueDuration, kQueue, kDurationCells},
      {MetricId::kComputeInputDuration, kInput, kDurationCells},
      {MetricId::kComputeInferDuration, kInfer, kDurationCells},
      {MetricId::kComputeOutputDuration, kOutput, kDurationCells},
      {MetricId::kRequestRows, kRequestRows, kRowCells},
      {MetricId::kBatchRows, kBatchRows, kRowCells},
      {MetricId::kBatchFillRatio, kBatchFill, kFillCells},
  };
  const MetricLabels labels = BlockLabels(model_, version_);
  for (const Row& row : kRows) {
    if (detail == Detail::kLean && row.id != MetricId::kRequestDuration) continue;
    const std::span<const uint64_t> counts = totals.Counts(row.at, row.cells);
    if (std::ranges::all_of(counts, [](uint64_t count) { return count == 0; })) continue;
    writer.AddHistogram(row.id, labels, counts, totals.cells[row.at + row.cells - 1]);
  }
}

void BlockMetrics::ExportCounters(FamilyWriter& writer, const Totals& totals, Detail detail) const {
  const bool lean = detail == Detail::kLean;
  const MetricLabels labels = BlockLabels(model_, version_);
  const auto value = [&](size_t cell) { return static_cast<double>(totals.cells[cell]); };
  double failures = 0;
  for (size_t i = 0; i < kStatusCodes; ++i) {
    failures += value(kFailures + i);
    if (value(kFailures + i) == 0 && (lean || !IsShownAtZero(i))) continue;
    writer.Add(MetricId::kRequestFailures, With(labels, "code", StatusLabel(i)),
               value(kFailures + i));
  }
  const double successes = static_cast<double>(totals.Duration(kTotal).count);
  writer.Add(MetricId::kRequests, labels, successes + failures);
  writer.Add(MetricId::kRows, labels, value(kRequestRows + kRowCells - 1));
  writer.Add(MetricId::kReceivedBytes, labels, value(kReceivedBytes));
  writer.Add(MetricId::kSentBytes, labels, value(kSentBytes));
  for (size_t i = 0; i <= kMaxBuckets; ++i) {
    const double batches = value(kBatches + kBatchCells * i);
    if (batches == 0) continue;
    const std::string bucket =
        i == kMaxBuckets ? "other" : std::to_string(buckets_[i].load(std::memory_order_relaxed));
    writer.Add(MetricId::kBatches, With(labels, "bucket", bucket), batches);
  }
  for (size_t i = 0; i < kEvictionReasons.size(); ++i) {
    if (lean && value(kEvictions + i) == 0) continue;
    writer.Add(MetricId::kEvictions, With(labels, "reason", kEvictionReasons[i]),
               value(kEvictions + i));
  }
}

void BlockMetrics::ExportNv(FamilyWriter& writer, const Totals& totals) const {
  const MetricLabels labels = BlockLabels(model_, version_);
  const BlockStatistics stats = Statistics(totals);
  const auto add = [&](MetricId id, double value) { writer.Add(id, labels, value); };
  add(MetricId::kNvRequestSuccess, static_cast<double>(stats.success.count));
  add(MetricId::kNvRequestFailure, static_cast<double>(stats.fail.count));
  add(MetricId::kNvInferenceCount, static_cast<double>(stats.inference_count));
  add(MetricId::kNvExecCount, static_cast<double>(stats.execution_count));
  add(MetricId::kNvRequestDuration, Microseconds(stats.success));
  add(MetricId::kNvQueueDuration, Microseconds(stats.queue));
  add(MetricId::kNvComputeInputDuration, Microseconds(stats.compute_input));
  add(MetricId::kNvComputeInferDuration, Microseconds(stats.compute_infer));
  add(MetricId::kNvComputeOutputDuration, Microseconds(stats.compute_output));
}

}  // namespace mlpserve
