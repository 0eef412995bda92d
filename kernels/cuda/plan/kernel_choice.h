// Which kernels may compute a product. In a header of its own, so that options can name it without
// CUDA.
#pragma once

#include <cstdint>

namespace mlpserve::cuda {

// All but the first value take the first candidate of their kind without measuring: they are for
// tests, which run every kind of kernel on every block.
enum class KernelChoice : uint8_t {
  kMeasured,
  kPlain,    // ffma, mma and mma_rows
  kWgmma,    // where the device has it and the format allows it, else as kPlain
  kLibrary,  // cuBLASLt; kPlain where rows must not depend on their batch
};

}  // namespace mlpserve::cuda
