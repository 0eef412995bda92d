// z = x·Wᵀ over packed weights, in our own SIMD kernels: for any number of rows, without allocation
// and without setup. Each value is one chain of FP32 fused multiply-adds over the inputs in
// ascending order, whatever rows and columns it is computed with: equal rows give equal bits.
//
// The processor's instruction set is found at run time. Threads: a pure function.
#pragma once

#include <cstdint>

#include "kernels/cpu/panels.h"

namespace mlpserve::cpu {

struct ProductTile {
  const float* x = nullptr;  // [rows, inputs], rounded to the compute type
  int64_t x_stride = 0;      // floats from row to row
  float* z = nullptr;        // [rows, columns of the panels]; whole vectors are written: up to
                             // kPanelColumns - 1 floats past a row's last column
  int64_t z_stride = 0;      // a multiple of 16
  int64_t rows = 0;
  int64_t first_panel = 0;  // z begins with the first column of this panel
  int64_t last_panel = 0;   // exclusive
};

void Product(const Panels& weights, const ProductTile& tile);

}  // namespace mlpserve::cpu
