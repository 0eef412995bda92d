// What may compute a product. Apart from what chooses, so that options can name it without CUDA.
#pragma once

#include <cstdint>

namespace mlpserve::cuda {

// All but the first take the first candidate of their kind, unmeasured: they are for tests, which
// want each kind everywhere.
enum class KernelChoice : uint8_t {
  kMeasured,
  kPlain,    // ffma, mma and mma_rows
  kWgmma,    // where the device has it and the format allows it, else as kPlain
  kLibrary,  // cuBLASLt; kPlain where rows must not depend on their batch
};

}  // namespace mlpserve::cuda
