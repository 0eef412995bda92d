// z = x·Wᵀ with the processor's BF16 instructions, through oneDNN: twice FP32's rate or more on
// some processors, and half of it on others, so that it is measured before it is used. Subnormal
// numbers count as zero in it. For a fixed number of rows at a time; the rest is product.h's.
//
// Threads: Run from several at once, each with its own `thread`. oneDNN is held to the calling
// thread (it starts a team of OpenMP threads for each caller otherwise) and allocates in every
// call.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/cpu/panels.h"

namespace mlpserve::cpu {

class Bf16Product {
 public:
  static constexpr int64_t kRows = 48;

  // Whether oneDNN has such instructions here and computes faster with them than product.h does in
  // FP32: by a fifth at least. Measured at the first call, for some 5 ms.
  static bool IsFaster();

  // `weights` are in BF16 and must outlive the product. Null where oneDNN would compute without the
  // BF16 instructions.
  static std::unique_ptr<Bf16Product> Create(const Panels& weights, int64_t z_stride, int threads);

  ~Bf16Product();
  Bf16Product(const Bf16Product&) = delete;
  Bf16Product& operator=(const Bf16Product&) = delete;

  // kRows rows of x, which are representable in BF16. z as in ProductTile, all columns.
  void Run(int thread, const float* x, int64_t x_stride, float* z);

 private:
  class State;
  explicit Bf16Product(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace mlpserve::cpu
