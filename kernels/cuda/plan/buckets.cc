#include "kernels/cuda/plan/buckets.h"

namespace mlpserve::cuda {
namespace {

constexpr int64_t kHalvesFrom = 16;
constexpr int64_t kHalvesTo = 256;

}  // namespace

std::vector<int64_t> Buckets(int64_t max_rows, const std::vector<int64_t>& own) {
  std::vector<int64_t> buckets;
  for (const int64_t bucket : own) {
    if (bucket < max_rows) buckets.push_back(bucket);
  }
  if (own.empty()) {
    for (int64_t rows = 1; rows < max_rows; rows *= 2) {
      buckets.push_back(rows);
      const int64_t between = rows + rows / 2;
      if (rows >= kHalvesFrom && rows < kHalvesTo && between < max_rows) buckets.push_back(between);
    }
  }
  buckets.push_back(max_rows);
  return buckets;
}

}  // namespace mlpserve::cuda
