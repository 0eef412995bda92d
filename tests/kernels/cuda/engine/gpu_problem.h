// One product for a kernel on a GPU: random operands whose padding holds NaN, an output with
// neighbours that must not be touched, and what float64 says that it must be.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/tiles/config.h"
#include "kernels/spec/datatype.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

struct GpuShape {
  int m, n, k;
};

// Of the device, freed with its last owner.
std::shared_ptr<void> AllocateOnGpu(size_t bytes);
// Has ended when it returns: kernels run on streams that do not wait for the default one.
void FillOnGpu(void* memory, int value, size_t bytes);

// A matrix in the device's memory and its values as the host sees them.
struct GpuMatrix {
  int64_t rows = 0, columns = 0, stride = 0;
  DataType type = DataType::kFp32;
  std::vector<std::byte> bytes;
  std::shared_ptr<void> device;

  float at(int64_t row, int64_t column) const;
};

// Normal numbers, with NaN between the rows; for TF32 a little off what TF32 holds, to either side,
// so that truncation shows.
GpuMatrix RandomMatrix(int64_t rows, int64_t columns, ComputeType type, std::mt19937& random);

class GpuProblem {
 public:
  // `y_padding`: elements between the rows of y.
  GpuProblem(const KernelConfig& config, const EpilogueSpec& epilogue, const GpuShape& shape,
             int y_padding);

  const GpuShape& shape() const { return shape_; }
  // All that does not depend on the launch.
  GemmArgs Args() const;
  // Bytes of y, with what lies between and behind its rows.
  std::vector<std::byte> Output();
  // NaN in all of y, so that a value that nobody writes is seen.
  void PoisonOutput();
  // Fails the test where a value is out of its bound, or a neighbour of y was touched.
  void Check();

 private:
  KernelConfig config_;
  EpilogueSpec epilogue_;
  GpuShape shape_;
  GpuMatrix x_, w_, input_, y_;
  GpuMatrix x_halves_, w_halves_;  // for kernels that read them (tf32_terms.cuh)
  std::shared_ptr<void> columns_;
  int64_t columns_stride_ = 0;
};

}  // namespace mlpserve::cuda
