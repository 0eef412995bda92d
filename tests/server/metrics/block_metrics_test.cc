#include "server/metrics/block_metrics.h"

#include <atomic>
#include <barrier>
#include <limits>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "server/metrics/family_writer.h"
#include "server/metrics/thread_slot.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

RequestSample Sample(int64_t rows = 1) {
  return {.total = microseconds(100),
          .queue = microseconds(10),
          .compute_input = microseconds(1),
          .compute_infer = microseconds(50),
          .compute_output = microseconds(2),
          .rows = rows,
          .received_bytes = 256 * rows,
          .sent_bytes = 40 * rows,
          .done = std::chrono::steady_clock::now()};
}

// The block's families by name.
std::map<std::string, prometheus::MetricFamily> Exported(const BlockMetrics& block) {
  FamilyWriter writer;
  block.Export(writer, Detail::kFull);
  std::map<std::string, prometheus::MetricFamily> families;
  for (prometheus::MetricFamily& family : writer.Take()) families[family.name] = family;
  return families;
}

// The counter's value by the value of its last label.
std::map<std::string, double> ByLastLabel(const prometheus::MetricFamily& family) {
  std::map<std::string, double> values;
  for (const auto& metric : family.metric) values[metric.label.back().value] = metric.counter.value;
  return values;
}

const prometheus::ClientMetric::Histogram& TheHistogram(
    const std::map<std::string, prometheus::MetricFamily>& families, const std::string& name) {
  return families.at(name).metric.at(0).histogram;
}

TEST(BlockMetrics, CountsNothingAtFirst) {
  const BlockStatistics stats = BlockMetrics("m", 1).Statistics();
  EXPECT_EQ(stats.last_inference_ms, 0);
  EXPECT_EQ(stats.inference_count, 0);
  EXPECT_EQ(stats.execution_count, 0);
  EXPECT_EQ(stats.success.count, 0);
  EXPECT_EQ(stats.fail.count, 0);
  EXPECT_TRUE(stats.batches.empty());
}

TEST(BlockMetrics, QueueCountGrowsByOnePerRequest) {
  BlockMetrics block("m", 1);
  for (uint64_t i = 1; i <= 5; ++i) {
    block.RecordRequest(Sample(static_cast<int64_t>(i)));
    const BlockStatistics stats = block.Statistics();
    EXPECT_EQ(stats.queue.count, i);
    EXPECT_EQ(stats.queue.ns, i * 10'000);
  }
}

TEST(BlockMetrics, StatisticsAddUpRequestsAndBatches) {
  BlockMetrics block("m", 1);
  block.RecordRequest(Sample(3));
  block.RecordRequest(Sample(4));
  block.RecordFailure(absl::StatusCode::kInternal, milliseconds(1));
  block.RecordBatch({5, 8, microseconds(1), microseconds(20), microseconds(2)});
  block.RecordBatch({2, 2, microseconds(1), microseconds(10), microseconds(2)});
  block.RecordBatch({8, 8, microseconds(1), microseconds(21), microseconds(2)});

  const BlockStatistics stats = block.Statistics();
  EXPECT_EQ(stats.inference_count, 7);
  EXPECT_EQ(stats.execution_count, 3);
  EXPECT_EQ(stats.success.count, 2);
  EXPECT_EQ(stats.success.ns, 200'000);
  EXPECT_EQ(stats.fail.count, 1);
  EXPECT_EQ(stats.fail.ns, 1'000'000);
  EXPECT_EQ(stats.compute_input.ns, 2'000);
  EXPECT_EQ(stats.compute_infer.ns, 100'000);
  EXPECT_EQ(stats.compute_output.ns, 4'000);
  ASSERT_EQ(stats.batches.size(), 2);
  EXPECT_EQ(stats.batches[0].batch_size, 2);
  EXPECT_EQ(stats.batches[0].compute_infer.count, 1);
  EXPECT_EQ(stats.batches[1].batch_size, 8);
  EXPECT_EQ(stats.batches[1].compute_infer.count, 2);
  EXPECT_EQ(stats.batches[1].compute_infer.ns, 41'000);
}

TEST(BlockMetrics, LastInferenceIsOnTheWallClock) {
  BlockMetrics block("m", 1);
  RequestSample sample = Sample();
  sample.done = std::chrono::steady_clock::now() - seconds(100);
  block.RecordRequest(sample);
  const auto expected = std::chrono::duration_cast<milliseconds>(
      (std::chrono::system_clock::now() - seconds(100)).time_since_epoch());
  EXPECT_NEAR(static_cast<double>(block.Statistics().last_inference_ms),
              static_cast<double>(expected.count()), 60'000);
}

TEST(BlockMetrics, LastInferenceIsThatOfTheLatestRequest) {
  BlockMetrics block("m", 1);
  RequestSample sample = Sample();
  block.RecordRequest(sample);
  const uint64_t latest = block.Statistics().last_inference_ms;
  sample.done -= seconds(1000);
  block.RecordRequest(sample);
  EXPECT_GE(block.Statistics().last_inference_ms + 60'000, latest);
}

TEST(BlockMetrics, CountsNegativeValuesAsZero) {
  BlockMetrics block("m", 1);
  block.RecordRequest({.total = nanoseconds(-1),
                       .queue = nanoseconds::min(),
                       .rows = -5,
                       .received_bytes = -1,
                       .sent_bytes = std::numeric_limits<int64_t>::min()});
  block.RecordFailure(absl::StatusCode::kInternal, nanoseconds(-7));
  block.RecordBatch({.rows = -1, .bucket = -8, .compute_infer = nanoseconds(-3)});
  const BlockStatistics stats = block.Statistics();
  EXPECT_EQ(stats.queue.count, 1);
  EXPECT_EQ(stats.queue.ns, 0);
  EXPECT_EQ(stats.inference_count, 0);
  EXPECT_EQ(stats.fail.ns, 0);
  EXPECT_EQ(stats.execution_count, 1);
  const auto families = Exported(block);
  EXPECT_EQ(families.at("mlpserve_received_bytes_total").metric[0].counter.value, 0);
  EXPECT_EQ(families.at("mlpserve_sent_bytes_total").metric[0].counter.value, 0);
}

TEST(BlockMetrics, PutsAValueOnABoundIntoItsBucket) {
  BlockMetrics block("m", 1);
  RequestSample sample = Sample();
  sample.total = microseconds(20);
  block.RecordRequest(sample);
  sample.total += nanoseconds(1);
  block.RecordRequest(sample);
  const auto families = Exported(block);
  const auto& histogram = TheHistogram(families, "mlpserve_request_duration_seconds");
  EXPECT_EQ(histogram.bucket[0].upper_bound, 20e-6);
  EXPECT_EQ(histogram.bucket[0].cumulative_count, 1);
  EXPECT_EQ(histogram.bucket[1].cumulative_count, 2);
  EXPECT_EQ(histogram.sample_count, 2);
  EXPECT_EQ(histogram.sample_sum, 40'001 / 1e9);
}

TEST(BlockMetrics, CountsWhatIsAboveTheLastBoundUnderInfinity) {
  BlockMetrics block("m", 1);
  RequestSample sample = Sample(1'000'000);
  sample.total = seconds(3600);
  block.RecordRequest(sample);
  const auto families = Exported(block);
  for (const char* name : {"mlpserve_request_duration_seconds", "mlpserve_request_rows"}) {
    const auto& buckets = TheHistogram(families, name).bucket;
    EXPECT_EQ(buckets[buckets.size() - 2].cumulative_count, 0) << name;
    EXPECT_EQ(buckets.back().cumulative_count, 1) << name;
    EXPECT_EQ(buckets.back().upper_bound, std::numeric_limits<double>::infinity()) << name;
  }
}

TEST(BlockMetrics, FillIsRowsOverTheBucket) {
  BlockMetrics block("m", 1);
  block.RecordBatch({.rows = 3, .bucket = 4});
  block.RecordBatch({.rows = 4, .bucket = 4});
  const auto families = Exported(block);
  EXPECT_EQ(TheHistogram(families, "mlpserve_batch_fill_ratio").sample_sum, 1.75);
  EXPECT_EQ(TheHistogram(families, "mlpserve_batch_rows").sample_sum, 7);
}

TEST(BlockMetrics, FillIsNeverAboveOne) {
  BlockMetrics block("m", 1);
  block.RecordBatch({.rows = 5, .bucket = 4});
  const auto families = Exported(block);
  EXPECT_EQ(TheHistogram(families, "mlpserve_batch_fill_ratio").sample_sum, 1);
}

TEST(BlockMetrics, BucketsBeyondTheBoundAreCountedAsOther) {
  BlockMetrics block("m", 1);
  const auto more = static_cast<int64_t>(BlockMetrics::kMaxBuckets) + 10;
  for (int64_t bucket = 1; bucket <= more; ++bucket) {
    block.RecordBatch({.rows = 1, .bucket = bucket});
  }
  const auto families = Exported(block);
  const auto batches = ByLastLabel(families.at("mlpserve_batches_total"));
  EXPECT_EQ(batches.size(), BlockMetrics::kMaxBuckets + 1);
  EXPECT_EQ(batches.at("other"), 10);
  EXPECT_EQ(batches.at("32"), 1);
  EXPECT_EQ(block.Statistics().batches.size(), BlockMetrics::kMaxBuckets);
  EXPECT_EQ(block.Statistics().execution_count, static_cast<uint64_t>(more));
}

TEST(BlockMetrics, CountsFailuresByCode) {
  BlockMetrics block("m", 1);
  block.RecordFailure(absl::StatusCode::kResourceExhausted, nanoseconds(1));
  block.RecordFailure(absl::StatusCode::kResourceExhausted, nanoseconds(1));
  block.RecordFailure(absl::StatusCode::kDataLoss, nanoseconds(1));
  block.RecordFailure(absl::StatusCode::kOk, nanoseconds(1));
  block.RecordFailure(static_cast<absl::StatusCode>(999), nanoseconds(1));
  block.RecordFailure(static_cast<absl::StatusCode>(-1), nanoseconds(1));
  block.RecordRequest(Sample());
  const auto families = Exported(block);
  const auto failures = ByLastLabel(families.at("mlpserve_request_failures_total"));
  EXPECT_EQ(failures.at("RESOURCE_EXHAUSTED"), 2);
  EXPECT_EQ(failures.at("DATA_LOSS"), 1);
  EXPECT_EQ(failures.at("UNKNOWN"), 3);
  EXPECT_EQ(failures.at("CANCELLED"), 0) << "shown before the first";
  EXPECT_EQ(failures.count("UNAUTHENTICATED"), 0) << "never answered, not shown";
  EXPECT_EQ(families.at("mlpserve_requests_total").metric[0].counter.value, 7);
  EXPECT_EQ(families.at("nv_inference_request_failure").metric[0].counter.value, 6);
}

TEST(BlockMetrics, CountsEvictionsByReason) {
  BlockMetrics block("m", 1);
  block.RecordEviction(Eviction::kDeadline);
  block.RecordEviction(Eviction::kTimeout);
  block.RecordEviction(Eviction::kTimeout);
  block.RecordEviction(Eviction::kCancelled);
  const auto families = Exported(block);
  const auto evictions = ByLastLabel(families.at("mlpserve_evictions_total"));
  const std::map<std::string, double> expected = {
      {"deadline", 1}, {"timeout", 2}, {"cancelled", 1}};
  EXPECT_EQ(evictions, expected);
}

// Records from `threads` threads that all live at once, and checks the totals.
void RecordFrom(int threads, int per_thread) {
  BlockMetrics block("m", 1);
  std::barrier start(threads);
  std::vector<std::thread> recorders;
  recorders.reserve(static_cast<size_t>(threads));
  for (int t = 0; t < threads; ++t) {
    recorders.emplace_back([&, t] {
      start.arrive_and_wait();
      for (int i = 0; i < per_thread; ++i) {
        block.RecordRequest(Sample(2));
        block.RecordBatch({.rows = 2, .bucket = 1 + (t + i) % 40});
        if (i % 4 == 0) block.RecordFailure(absl::StatusCode::kUnavailable, nanoseconds(3));
      }
      start.arrive_and_wait();
    });
  }
  for (std::thread& recorder : recorders) recorder.join();
  const auto requests = static_cast<uint64_t>(threads) * static_cast<uint64_t>(per_thread);
  const BlockStatistics stats = block.Statistics();
  EXPECT_EQ(stats.success.count, requests);
  EXPECT_EQ(stats.success.ns, requests * 100'000);
  EXPECT_EQ(stats.queue.count, requests);
  EXPECT_EQ(stats.inference_count, 2 * requests);
  EXPECT_EQ(stats.execution_count, requests);
  EXPECT_EQ(stats.fail.count, requests / 4);
}

TEST(BlockMetrics, TotalsAreExactForThreadsWithAShardOfTheirOwn) { RecordFrom(8, 20'000); }

TEST(BlockMetrics, TotalsAreExactForMoreThreadsThanShards) {
  RecordFrom(kThreadSlots + 16, 50'000);
}

TEST(BlockMetrics, TotalsAreExactForThreadsThatComeAndGo) {
  BlockMetrics block("m", 1);
  for (int i = 0; i < 3 * kThreadSlots; ++i) {
    std::thread([&] { block.RecordRequest(Sample()); }).join();
  }
  EXPECT_EQ(block.Statistics().success.count, 3 * kThreadSlots);
}

TEST(BlockMetrics, ScrapesWhileThreadsRecordNeverGoDownAndEndExact) {
  constexpr int kThreads = 8;
  constexpr uint64_t kPerThread = 20'000;
  BlockMetrics block("m", 1);
  block.RecordRequest(Sample());  // with it the histograms begin
  std::atomic<int> running = kThreads;
  std::vector<std::thread> recorders;
  recorders.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    recorders.emplace_back([&] {
      for (uint64_t i = 0; i < kPerThread; ++i) block.RecordRequest(Sample());
      --running;
    });
  }
  uint64_t last = 0;
  do {
    const auto families = Exported(block);
    const auto& histogram = TheHistogram(families, "mlpserve_queue_duration_seconds");
    EXPECT_GE(histogram.sample_count, last);
    EXPECT_EQ(histogram.bucket.back().cumulative_count, histogram.sample_count);
    last = histogram.sample_count;
  } while (running > 0);
  for (std::thread& recorder : recorders) recorder.join();
  const auto families = Exported(block);
  EXPECT_EQ(TheHistogram(families, "mlpserve_queue_duration_seconds").sample_count,
            kThreads * kPerThread + 1);
}

TEST(BlockMetrics, ABlockThatWasNeverAskedHasNoHistogram) {
  BlockMetrics block("m", 1);
  for (const auto& [name, family] : Exported(block)) {
    EXPECT_NE(family.type, prometheus::MetricType::Histogram) << name;
  }
}

}  // namespace
}  // namespace mlpserve
