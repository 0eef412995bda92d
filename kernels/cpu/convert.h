// Moves rows between the wire's formats and the FP32 values that the kernels work on. Rounding is
// to nearest, ties to even (kernels/spec/rounding.h says the rest). The processor's instruction set
// is found at run time. Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/spec/datatype.h"

namespace mlpserve::cpu {

// `from` is [rows, columns] without padding; `to` has `to_stride` floats from row to row.
void ReadRows(DataType type, const std::byte* from, int64_t rows, int64_t columns, float* to,
              int64_t to_stride);

// `to_stride` counts elements. Nothing past a row's last column is written.
void WriteRows(DataType type, const float* from, int64_t from_stride, int64_t rows, int64_t columns,
               std::byte* to, int64_t to_stride);

// Rounds to the compute type, in place or not. Works on whole vectors: up to 15 floats past a row's
// last column are read and written.
void RoundRows(ComputeType type, const float* from, int64_t from_stride, int64_t rows,
               int64_t columns, float* to, int64_t to_stride);

}  // namespace mlpserve::cpu
