// How long steps take, measured so that none has an advantage: in turn, never one after the other,
// since a card slows down while it is under load.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

// Microseconds of each for m rows: the median of several rounds, each of which begins with another
// step. Short ones are launched several times as one graph, so that launching does not count.
// 0 for a step that cannot run (a library may refuse); errors that end everything are returned.
absl::StatusOr<std::vector<double>> TimeInTurn(const std::vector<const Step*>& steps, int32_t m,
                                               const Stream& stream);

}  // namespace mlpserve::cuda
