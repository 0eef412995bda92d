// Two figures for each of several ways to do the same: burst, single launches in turn, median, a
// card that has headroom; and sustained, each alone for a while, in turn, repeated, the mean, a
// card under constant load. A card at its power limit slows down while it is measured, so what is
// measured second would lose.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <vector>

namespace mlpserve::bench {

// One launch on the stream; the argument counts up, so that weights can rotate.
using Launch = std::function<void(int turn, cudaStream_t stream)>;

std::vector<double> BurstMs(const std::vector<Launch>& variants, int rounds);

// Launches run back to back out of a graph of `launches` of them.
std::vector<double> SustainedMs(const std::vector<Launch>& variants, int launches, double seconds,
                                int rounds);

}  // namespace mlpserve::bench
