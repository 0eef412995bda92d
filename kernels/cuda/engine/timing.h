// How long ways to do the same take, measured so that none has an advantage: in turn, never one
// after the other, since a card slows down while it is under load.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

// One way, bound to each of several copies of the weights, which it takes in turn so that it reads
// them from memory; their number of rows is set. Empty: it cannot run.
using Way = std::vector<std::unique_ptr<BoundStep>>;

// Microseconds of one launch of each: the median of several rounds, each of which begins with
// another way and runs each as one graph, so that launching does not count. 0 for a way that cannot
// run (a library may refuse); errors that end everything are returned.
//
// Where the fastest takes more than kSettledAboveUs, those within kTied of it are run for
// kSustainedSeconds more, in turn, until the card is as slow as constant load makes it. They are
// ranked by that, and their figures are the fastest one's, scaled.
absl::StatusOr<std::vector<double>> TimeInTurn(const std::vector<Way>& ways, const Stream& stream);

inline constexpr double kSettledAboveUs = 100;
inline constexpr double kTied = 0.05;
inline constexpr double kSustainedSeconds = 0.3;

// Indices of the ways that are run once more, by their microseconds (0: cannot run); at least two,
// or none.
std::vector<size_t> Tied(const std::vector<double>& us);
// `us` with those of the tied ways replaced: the least of them times what each took under constant
// load over the least of that.
void Settle(const std::vector<size_t>& tied, const std::vector<double>& sustained,
            std::vector<double>& us);

}  // namespace mlpserve::cuda
