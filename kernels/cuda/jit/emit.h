// An epilogue as CUDA text: straight-line code over one FP32 value, which the compiler fuses into a
// main loop.
//
// The text of EmitEpilogue(spec, "Epilogue"), in namespace mlpserve::cuda and built on
// math.cuh:
//   struct Epilogue {
//     static constexpr bool kUsesInput;   // the epilogue adds the block's input
//     static constexpr int kColumns;      // vectors with one number per output column
//     using Args = EpilogueArgs;
//     struct Column { float c[kColumns]; };  // the operands of one output column (at least [1])
//     static __device__ Column Load(const Args&, int column);  // once per thread, tile and column
//     static __device__ float Apply(float z, const Column&, float x);
//   };
// Load reads through a plain pointer, so that a main loop may hand it a copy in shared memory.
// Apply is the whole epilogue of one value; x is the block's input at the same row and column,
// ignored unless kUsesInput.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

// `canonical` is what Canonicalize returned. Its columns' values do not enter the text, only their
// indices do: layers with equal ToString(canonical) share their code.
// Errors: UNIMPLEMENTED for BatchNorm, INTERNAL for an op that canonical form excludes.
absl::StatusOr<std::string> EmitEpilogue(const EpilogueSpec& canonical, std::string_view name);

// The exact FP32 value as source text, NaN and infinity included.
std::string FloatText(double value);

}  // namespace mlpserve::cuda
