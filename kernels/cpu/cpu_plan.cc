#include "kernels/cpu/cpu_plan.h"

#include <algorithm>

namespace mlpserve::cpu {
namespace {

constexpr int64_t kKernelRows = 6;
constexpr int64_t kSmallestChunk = 48;
constexpr int64_t kLargestChunk = 192;
constexpr int64_t kChunkBytes = 768 << 10;  // of the rows that a layer reads

// What one core does in a microsecond, roughly: multiply-adds, and bytes of weights from memory.
constexpr double kMultiplyAddsPerUs = 90e3;
constexpr double kWeightBytesPerUs = 40e3;
// Waking a thread takes from 5 µs on an idle core to 50 µs; below this a batch is not shared.
constexpr double kWorthSharingUs = 60;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

double EstimateUs(const BlockShape& shape, int64_t rows) {
  return std::max(
      static_cast<double>(shape.weights) * static_cast<double>(rows) / kMultiplyAddsPerUs,
      static_cast<double>(shape.weight_bytes) / kWeightBytesPerUs);
}

}  // namespace

int64_t LargestChunk(const BlockShape& shape) {
  const int64_t rows = kChunkBytes / (std::max<int64_t>(1, shape.widest) * 4);
  return std::clamp(rows / kKernelRows * kKernelRows, kSmallestChunk, kLargestChunk);
}

int64_t FewRows(int threads) { return threads * 2 * kKernelRows; }

Plan ChoosePlan(const BlockShape& shape, int64_t rows, int threads) {
  Plan plan;
  plan.threads = EstimateUs(shape, rows) > kWorthSharingUs ? threads : 1;
  const int64_t share = (rows + plan.threads - 1) / plan.threads;
  const int64_t largest = LargestChunk(shape);
  plan.chunk_rows = std::min(largest, RoundUp(share, kKernelRows));
  plan.by_chunks = !shape.batch_statistics && (plan.threads == 1 || rows >= FewRows(plan.threads));
  if (!plan.by_chunks && rows < FewRows(plan.threads)) plan.chunk_rows = FewRows(plan.threads);
  plan.chunk_rows = std::min(plan.chunk_rows, largest);
  return plan;
}

}  // namespace mlpserve::cpu
