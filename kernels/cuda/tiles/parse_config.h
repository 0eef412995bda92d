// Configs from their names: how plans and command lines name kernels, those outside the tuning
// space included. No GPU and no compiler is asked whether such a kernel can be.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

// As Name(KernelConfig) writes it, or without the two formats, which are the product's anyway:
// "mma.128x128x32.w2x4.s3.b2", "mma.128x128x32.w2x4.s3.b2.k4", "wgmma_rows.r64x16.s10x2.p4.k2".
// Errors: INVALID_ARGUMENT, with what was expected of the name and what was found.
absl::StatusOr<KernelConfig> ParseConfig(std::string_view name, ComputeType compute,
                                         DataType output);

}  // namespace mlpserve::cuda
