// Batch norm with the batch's own statistics, over some columns of all its rows.
#pragma once

#include <cstdint>

#include "kernels/cpu/epilogue_program.h"

namespace mlpserve::cpu {

// Normalises z [rows, columns] in place; `columns` at most 64, the first of them the layer's output
// `first_column`. Two passes in float64: the mean, then the centred squares, so that nothing
// cancels.
void Normalize(const Normalization& normalization, float* z, int64_t z_stride, int64_t rows,
               int64_t columns, int64_t first_column);

}  // namespace mlpserve::cpu
