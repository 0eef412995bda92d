// The rules by which several ways to do the same are timed, so that none has an advantage. The
// caller brings the clock and the device.
//
// A card at its power limit slows down while it is measured, so that whatever is measured second
// would lose. Therefore all take turns, and two figures are kept: burst, the median of single runs,
// which shows a card with headroom; and sustained, the mean of running each alone for a while,
// which shows a card under constant load.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

namespace mlpserve::tools {

// Runs once and returns milliseconds; `turn` counts up over all, so that weights can rotate.
using RunOnce = std::function<double(int turn)>;
// Runs `times` times back to back and returns the milliseconds that all of them took.
using RunMany = std::function<double(int times)>;

// The median of `rounds` runs of each, after one that is not counted.
std::vector<double> MediansInTurn(const std::vector<RunOnce>& variants, int rounds);

// Milliseconds of one run, the mean of `rounds` stretches of about `seconds` each.
std::vector<double> MeansInTurn(const std::vector<RunMany>& variants, double seconds, int rounds);

inline constexpr size_t kColdBytes = 300u << 20;  // 5 x the L2 of an H200, 4 x a 4090's

// Copies of the weights to take in turn, so that each run reads them from memory.
inline int ColdCopies(size_t weight_bytes) {
  return static_cast<int>(std::clamp<size_t>(kColdBytes / weight_bytes + 1, 3, 96));
}

}  // namespace mlpserve::tools
