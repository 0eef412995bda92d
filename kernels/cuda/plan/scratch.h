// What the kernels of a layer need of a lane.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/buffers.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/device_limits.h"

namespace mlpserve::cuda {

inline constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;  // of cuBLASLt

// Everything, whichever of the layer's candidates is chosen: rows and scratch memory.
BufferBytes LaneBytes(const LayerPlan& layer, const DeviceLimits& limits, bool may_use_library);

// Beside its rows: a kernel of ours, and the passes around it, for batches of up to `rows` rows.
BufferBytes ScratchOf(const LayerPlan& layer, const KernelConfig& config, int64_t rows,
                      const DeviceLimits& limits);

// The library's kernel, which computes all of `rows` rows, and the passes after it.
BufferBytes LibraryScratch(const LayerPlan& layer, int64_t rows, const DeviceLimits& limits);

// How the library's product becomes y. Of epilogues it has only the bias, which is exact only where
// the result is FP32, and of formats of y only FP32 and that of x: everything else is a product in
// FP32 and one pass of ours.
enum class LibraryEpilogue : uint8_t { kNone, kBias, kPass };
LibraryEpilogue LibraryEpilogueOf(const LayerPlan& layer);

}  // namespace mlpserve::cuda
