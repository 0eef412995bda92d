// The numbers of rows that a block's kernels are chosen for.
#pragma once

#include <cstdint>
#include <vector>

namespace mlpserve::cuda {

// `own` (ascending) up to max_rows, or the powers of two below it; max_rows last.
std::vector<int64_t> Buckets(int64_t max_rows, const std::vector<int64_t>& own);

}  // namespace mlpserve::cuda
