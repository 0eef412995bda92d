// How many bytes of a lane's buffers the kernels of a layer need.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/buffers.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/device_limits.h"

namespace mlpserve::cuda {

inline constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;  // of cuBLASLt

// Rows and scratch memory, enough for whichever of the layer's candidates is chosen.
BufferBytes LaneBytes(const LayerPlan& layer, const DeviceLimits& limits, bool may_use_library);

// Scratch memory of one of our kernels and the passes around it, for batches of up to `rows` rows.
BufferBytes ScratchOf(const LayerPlan& layer, const KernelConfig& config, int64_t rows,
                      const DeviceLimits& limits);

// Scratch memory of the library's kernel, which always computes `rows` rows, and the passes after
// it.
BufferBytes LibraryScratch(const LayerPlan& layer, int64_t rows, const DeviceLimits& limits);

// How the library's product becomes y. The only epilogue that the library applies is the bias,
// which is exact only where the result is FP32, and it writes y only as FP32 or in the format of x:
// everything else is a product in FP32 followed by one pass of ours.
enum class LibraryEpilogue : uint8_t { kNone, kBias, kPass };
LibraryEpilogue LibraryEpilogueOf(const LayerPlan& layer);

}  // namespace mlpserve::cuda
