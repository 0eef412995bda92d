// Whether FP32 products of a layer may be made of three of TF32 each, of operands that hold every
// number in two parts (tf32_terms.cuh).
#pragma once

#include "kernels/spec/block.h"

namespace mlpserve::cuda {

// Whether the layer's products keep FP32's meaning then: its sums are long enough
// (kLeastHalvesDepth), none of its weights is infinite or NaN, none so large that a scaled row of x
// overflows (tf32_halves.cuh), and none so small, but for 0, that TF32 has not all of its two
// parts.
bool MayBeSplit(const LayerSpec& layer);

}  // namespace mlpserve::cuda
