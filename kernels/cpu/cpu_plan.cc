#include "kernels/cpu/cpu_plan.h"

#include <algorithm>

#include "kernels/cpu/panels.h"

namespace mlpserve::cpu {
namespace {

constexpr int64_t kSmallestChunk = 48;
constexpr int64_t kLargestChunk = 192;
constexpr int64_t kChunkBytes = 768 << 10;   // of the rows that a layer reads
constexpr int64_t kCachedWeights = 1 << 20;  // bytes that stay in the L2 cache beside the rows

// The fewest rows that are worth reading all the weights for, in one thread: few where the weights
// are in its L2 cache, else so many that it computes for twice as long as it reads.
constexpr int64_t kRowsForCachedWeights = 12;
constexpr int64_t kRowsForStreamedWeights = 32;

// The fewest tasks for each thread in a layer that few rows pass: a faster thread takes more of
// them.
constexpr int64_t kTasksPerThread = 4;

// What one core does in a microsecond, roughly: multiply-adds, and bytes of weights from memory.
constexpr double kMultiplyAddsPerUs = 90e3;
constexpr double kWeightBytesPerUs = 40e3;
// Waking a thread takes from 5 µs on an idle core to 50 µs; below this a batch is not shared.
constexpr double kWorthSharingUs = 60;

int64_t CeilDiv(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

double EstimateUs(const BlockShape& shape, int64_t rows) {
  return std::max(
      static_cast<double>(shape.weights) * static_cast<double>(rows) / kMultiplyAddsPerUs,
      static_cast<double>(shape.weight_bytes) / kWeightBytesPerUs);
}

}  // namespace

int64_t LargestChunk(const BlockShape& shape) {
  const int64_t rows = kChunkBytes / (std::max<int64_t>(1, shape.widest) * 4);
  return std::clamp(rows, kSmallestChunk, kLargestChunk);
}

bool FetchesAhead(const BlockShape& shape) { return shape.weight_bytes > kCachedWeights; }

int64_t FewRows(const BlockShape& shape, int threads) {
  return threads * (FetchesAhead(shape) ? kRowsForStreamedWeights : kRowsForCachedWeights);
}

Plan ChoosePlan(const BlockShape& shape, int64_t rows, int threads) {
  Plan plan;
  plan.threads = EstimateUs(shape, rows) > kWorthSharingUs ? threads : 1;
  plan.by_chunks =
      !shape.batch_statistics && (plan.threads == 1 || rows >= FewRows(shape, plan.threads));
  int64_t chunks = CeilDiv(rows, LargestChunk(shape));
  if (plan.by_chunks) {
    chunks = CeilDiv(chunks, plan.threads) * plan.threads;
  } else if (plan.threads > 1) {
    // Where there are fewer panels than threads, tasks take fewer rows each.
    const int64_t panels = CeilDiv(shape.widest, kPanelColumns);
    const int64_t wanted = CeilDiv(plan.threads * kTasksPerThread, panels);
    chunks = std::max(chunks, std::min(wanted, rows / kRowsForCachedWeights));
  }
  plan.chunk_rows = CeilDiv(rows, std::max<int64_t>(1, chunks));
  return plan;
}

}  // namespace mlpserve::cpu
