// Whether the numbers of a block's tensors are finite, and stay so in the type that the block
// computes in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "kernels/spec/datatype.h"
#include "kernels/spec/tensor.h"

namespace mlpserve {

// The index of the first number that is NaN, infinite, or infinite once it is rounded to `compute`.
std::optional<int64_t> FindNonFinite(std::span<const float> values, ComputeType compute);

// What is said of number `index`: INVALID_ARGUMENT, with the place and the value.
using NonFiniteError = std::function<absl::Status(int64_t index)>;

// The same tensor, which checks what is read of it: a number that FindNonFinite finds ends the
// reading with `error`. So no number is read twice.
Tensor CheckedTensor(Tensor tensor, ComputeType compute, NonFiniteError error);

}  // namespace mlpserve
