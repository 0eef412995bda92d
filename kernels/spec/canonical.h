// The canonical form of a layer's epilogue: the least work per value that gives the same result.
#pragma once

#include "kernels/spec/block.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve {

// Returns the epilogue that starts from z = x·Wᵀ alone (the layer's bias is its first shift):
//   - bias, Scale, Add and RunningBatchNorm next to one another become one MultiplyAdd, folded in
//     float64 and rounded to FP32 once; an identity MultiplyAdd (scale 1, shift 0) is dropped, but
//     where it is all that a Gate holds. What would leave FP32's range is not folded, nor is what
//     holds NaN or infinity: several MultiplyAdds may then follow one another;
//   - a column whose values are all equal and finite becomes a constant; equal columns are shared,
//     unused ones removed, and columns are numbered in order of first use;
//   - neighbouring Clamps merge; Clamp with two infinite bounds is dropped;
//   - Gate{sigmoid} becomes silu; Residual of nothing becomes scale 2.
// A multiplication by zero stays: NaN and infinity must pass as they pass in PyTorch.
// Folding is idempotent: the canonical form of a canonical epilogue without bias is itself.
// The layer must have passed Validate.
EpilogueSpec Canonicalize(const LayerSpec& layer);

}  // namespace mlpserve
