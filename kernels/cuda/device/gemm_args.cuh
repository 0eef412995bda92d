// The parameters of every GEMM kernel: y = epilogue(x·wᵀ), one struct passed by value. Read by the
// kernels and filled by the host, so it holds nothing but pointers and numbers.
//
// A kernel's translation unit is prelude.cuh and math.cuh, the generated structs
// Epilogue and Config, then a main loop. Config says at compile time:
//   kIn   format of x, w and of the block's input: float for kFp32 and kTf32
//   kOut  format of y
// and the numbers of the main loop's own tile.
#pragma once

#include "kernels/cuda/device/prelude.cuh"

namespace mlpserve::cuda {

// Column vector i of an epilogue is [columns_stride] floats from columns + i * columns_stride, of
// which the first n count. columns_stride is n rounded up to a multiple of 8; the tail holds zeros.
struct EpilogueArgs {
  const float* columns = nullptr;  // 16-byte aligned
  int64_t columns_stride = 0;
};

// Strides are in elements from one row to the next. x and w start at multiples of 16 bytes, and
// their strides are multiples of 16 bytes too; what lies between the row's end and its stride is
// never read as data (a kernel may read it, and then multiplies it by nothing).
// y and the block's input need only the alignment of their elements.
struct GemmArgs {
  const void* x = nullptr;            // [m, k]
  const void* w = nullptr;            // [n, k]
  void* y = nullptr;                  // [m, n]
  const void* block_input = nullptr;  // [m, n], where Epilogue::kUsesInput
  int64_t x_stride = 0;
  int64_t w_stride = 0;
  int64_t y_stride = 0;
  int64_t block_input_stride = 0;
  int32_t m = 0;
  int32_t n = 0;
  int32_t k = 0;
  int32_t split_k = 1;  // CTAs that share one output tile, each with its part of k
  // What CTAs leave for one another, and the counters by which they know: split_k.cuh and
  // wgmma_batch_norm.cuh say what lies where. Counters are zero before the launch and after it.
  float* partials = nullptr;
  uint32_t* arrivals = nullptr;
  EpilogueArgs epilogue;
};

}  // namespace mlpserve::cuda
