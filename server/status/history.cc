#include "server/status/history.h"

#include <algorithm>

#include "server/metrics/metric_table.h"

namespace mlpserve {
namespace {

// Counters never fall, but a block that was taken away and loaded again may begin anew.
uint64_t Risen(uint64_t before, uint64_t now) { return now >= before ? now - before : now; }

}  // namespace

BlockCounts BlockCounts::Of(const BlockStatistics& statistics) {
  BlockCounts counts{.requests = statistics.success.count,
                     .failures = statistics.fail.count,
                     .rows = statistics.inference_count,
                     .durations = statistics.durations};
  for (const BlockStatistics::Batch& batch : statistics.batches) {
    const uint64_t count = batch.compute_infer.count;
    counts.batches += count;
    counts.computed_rows += count * static_cast<uint64_t>(batch.batch_size);
  }
  return counts;
}

std::chrono::nanoseconds Quantile(const DurationCounts& counts, double quantile) {
  uint64_t total = 0;
  for (const uint64_t count : counts) total += count;
  if (total == 0) return {};
  const double rank = quantile * static_cast<double>(total);
  double below = 0;
  for (size_t i = 0; i < kDurationBoundsNs.size(); ++i) {
    const auto here = static_cast<double>(counts[i]);
    if (here > 0 && below + here >= rank) {
      const double low = i == 0 ? 0 : static_cast<double>(kDurationBoundsNs[i - 1]);
      const double high = static_cast<double>(kDurationBoundsNs[i]);
      const double part = std::clamp((rank - below) / here, 0.0, 1.0);
      return std::chrono::nanoseconds(static_cast<int64_t>(low + (high - low) * part));
    }
    below += here;
  }
  return std::chrono::nanoseconds(kDurationBoundsNs.back());
}

void History::Record(TimePoint now, const AllCounts& counts) {
  if (!readings_.empty() && now - readings_.back().first < kInterval) return;
  readings_.emplace_back(now, counts);
  // The second one is old enough: the first is not needed.
  while (readings_.size() > 1 && now - readings_[1].first >= kSpan) readings_.pop_front();
}

Activity History::Since(TimePoint now, const BlockKey& block, const BlockCounts& counts) const {
  Activity activity;
  if (readings_.empty() || now <= readings_.front().first) return activity;
  const auto& [time, all] = readings_.front();
  const auto found = all.find(block);
  const BlockCounts before = found == all.end() ? BlockCounts{} : found->second;
  const double seconds = std::chrono::duration<double>(now - time).count();
  const auto rate = [&](uint64_t BlockCounts::*counter) {
    return static_cast<double>(Risen(before.*counter, counts.*counter)) / seconds;
  };
  activity.requests_per_second = rate(&BlockCounts::requests);
  activity.rows_per_second = rate(&BlockCounts::rows);
  activity.failures_per_second = rate(&BlockCounts::failures);
  const double computed = rate(&BlockCounts::computed_rows);
  if (computed > 0) activity.fill = std::min(1.0, activity.rows_per_second / computed);
  DurationCounts durations;
  for (size_t i = 0; i < durations.size(); ++i) {
    durations[i] = Risen(before.durations[i], counts.durations[i]);
  }
  activity.p50 = Quantile(durations, 0.5);
  activity.p99 = Quantile(durations, 0.99);
  return activity;
}

}  // namespace mlpserve
