// in_turn.h's two figures for launches on a GPU, by its own clock.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <vector>

namespace mlpserve::tools {

// One launch on the stream; the argument counts up, so that weights can rotate.
using Launch = std::function<void(int turn, cudaStream_t stream)>;

// Both run on `stream`; null: on one of their own. They end the program where a call fails
// (cuda_check.h).
std::vector<double> BurstMs(const std::vector<Launch>& variants, int rounds,
                            cudaStream_t stream = nullptr);

// Runs launches back to back, from a graph that holds `launches` of them.
std::vector<double> SustainedMs(const std::vector<Launch>& variants, int launches, double seconds,
                                int rounds, cudaStream_t stream = nullptr);

}  // namespace mlpserve::tools
