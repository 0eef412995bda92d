// From scores to classes: which class a row is, and how often that is right.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "client/tensor/tensor.h"

namespace mlpserve::client {

// The column of each row's largest score, the first of equals; -1 where every score is NaN, which
// is never the largest. `scores` is [n, columns], columns >= 1.
std::vector<int64_t> Argmax(std::span<const float> scores, int64_t columns);

// The classes in a tensor of labels: its integers if it is [n] or [n, 1], the Argmax of its rows if
// it is [n, columns]. INVALID_ARGUMENT: another shape, or a class that is no integer.
absl::StatusOr<std::vector<int64_t>> ClassesOf(const Tensor& labels);

struct Accuracy {
  int64_t rows = 0;
  int64_t right = 0;

  double percent() const {  // of an empty set: 0
    return rows == 0 ? 0 : 100.0 * static_cast<double>(right) / static_cast<double>(rows);
  }
};

// INVALID_ARGUMENT: not as many expected classes as predicted ones.
absl::StatusOr<Accuracy> Compare(std::span<const int64_t> predicted,
                                 std::span<const int64_t> expected);

}  // namespace mlpserve::client
