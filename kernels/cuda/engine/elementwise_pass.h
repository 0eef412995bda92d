// y = epilogue(x) value by value, as a kernel of its own (elementwise.cuh): changes of format,
// batch norm's second half, what follows a library's product.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

class ElementwisePass final : public BoundStep {
 public:
  // `kernel` is of ElementwiseText. Of `args`: x [m, n], y, block_input, their strides, n and the
  // epilogue.
  ElementwisePass(SharedKernel kernel, const GemmArgs& args);

  void SetRows(int32_t m) override;
  absl::Status Launch(const Stream& stream) override;

 private:
  const SharedKernel kernel_;
  GemmArgs args_;
  LaunchShape shape_;
};

}  // namespace mlpserve::cuda
