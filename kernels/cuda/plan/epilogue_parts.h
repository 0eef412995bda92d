// An epilogue cut where it needs the statistics of whole columns. What precedes the first batch
// norm follows the product; each later part begins by normalising, and is a pass of its own.
#pragma once

#include <optional>
#include <vector>

#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

struct EpiloguePart {
  // Without batch norm, and with the columns that it uses alone. If `norm` is set, it begins with
  // (z + column 0) * column 1 + column 2, three vectors that the statistics fill in (zeros here).
  EpilogueSpec epilogue;
  std::optional<BatchNorm> norm;
};

inline constexpr int kNormColumns = 3;

// `canonical` in parts; at least one, and the first has no norm. The norms' operands refer to the
// columns of `canonical`.
std::vector<EpiloguePart> CutAtBatchNorms(const EpilogueSpec& canonical);

}  // namespace mlpserve::cuda
