// Tensor maps: what a Hopper kernel's bulk copies know of a matrix. The driver encodes them; its
// function is found at run time.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "absl/status/statusor.h"

namespace mlpserve::cuda {

enum class MapType { kFp32, kTf32, kFp16, kBf16 };  // kTf32: floats, rounded as they are copied

// `data` [rows, columns], aligned to 16 bytes, as is the stride (in elements). Boxes are `box_rows`
// rows of 128 bytes, with the 128-byte swizzle.
// Errors: UNIMPLEMENTED, the driver has no such function; INTERNAL, it refused.
absl::StatusOr<CUtensorMap> EncodeTensorMap(MapType type, const void* data, int64_t rows,
                                            int64_t columns, int64_t stride, int box_rows);

}  // namespace mlpserve::cuda
