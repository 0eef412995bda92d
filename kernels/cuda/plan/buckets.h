// The numbers of rows that a block's kernels are chosen for.
#pragma once

#include <cstdint>
#include <vector>

namespace mlpserve::cuda {

// `own` (ascending) up to max_rows, or those chosen here: powers of two, from 16 to 256 also one
// and a half times each, since there a kernel's time goes with the rows that it was compiled for;
// max_rows last.
std::vector<int64_t> Buckets(int64_t max_rows, const std::vector<int64_t>& own);

}  // namespace mlpserve::cuda
