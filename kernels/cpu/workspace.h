// Rows of FP32 values that layers read and write.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/panels.h"
#include "kernels/cpu/reserved_memory.h"

namespace mlpserve::cpu {

// Rows to read; null where there are none.
struct Rows {
  const float* values = nullptr;
  int64_t stride = 0;  // floats from row to row

  // Rows from there on. Null stays null: nothing reads it.
  Rows at(int64_t row, int64_t column) const {
    return {values == nullptr ? nullptr : values + row * stride + column, stride};
  }
};

// Buffers that a run of layers works in: the block's input, and two that layers write in turn. A
// row has room for whole panels.
class Workspace {
 public:
  Workspace(int64_t rows, int64_t widest)
      : stride_(Stride(widest)), input_(Bytes(rows)), even_(Bytes(rows)), odd_(Bytes(rows)) {}

  // An odd number of cache lines: the rows of a panel then lie in different sets of the L1 cache
  // even where the width is a power of two.
  static int64_t Stride(int64_t widest) {
    return (widest + kPanelColumns - 1) / kPanelColumns * kPanelColumns + 16;
  }

  int64_t stride() const { return stride_; }
  float* input() { return Floats(input_); }
  // What layer `index` writes; layer 0 may read what layer -1 would have written.
  float* layer(int index) { return Floats(index % 2 == 0 ? even_ : odd_); }

 private:
  size_t Bytes(int64_t rows) const {
    return static_cast<size_t>(rows * stride_ + kPanelColumns) * sizeof(float);
  }
  static float* Floats(const ReservedMemory& memory) {
    return reinterpret_cast<float*>(memory.bytes().data());
  }

  int64_t stride_;
  ReservedMemory input_;  // as many rows as batches had, so far
  ReservedMemory even_;
  ReservedMemory odd_;
};

}  // namespace mlpserve::cpu
