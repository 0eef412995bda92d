// How a batch norm's pass over z runs: in one kernel that holds whole columns in shared memory
// (batch_norm.cuh), or, for more rows than it can hold, in three that do not
// (column_statistics.cuh, elementwise.cuh).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/tiles/occupancy.h"

namespace mlpserve::cuda {

inline constexpr std::array kHeldColumns = {16, 8};  // in a CTA, by variant of batch_norm.cuh
inline constexpr size_t kHeldInParts = kHeldColumns.size();  // the variant that holds none
inline constexpr int kGatherRows = 256;                      // in a CTA of column_statistics.cuh

// Bytes of shared memory that `columns` columns of m rows take.
inline int64_t HeldBytes(int64_t m, int columns) {
  return m * columns * static_cast<int64_t>(sizeof(float));
}

// The most such bytes that a CTA may have.
int MostHeldBytes(const SmLimits& sm);

// Index into kHeldColumns, or kHeldInParts. The wide variant where an SM holds two of its CTAs, so
// that one loads while the other computes; else the narrow one. Measured on an H200 at 1024 x 8192:
// the narrow one takes half as long again, for all that an SM holds seven of its CTAs.
size_t NormVariant(int64_t m, const SmLimits& sm);

}  // namespace mlpserve::cuda
