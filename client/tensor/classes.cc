#include "client/tensor/classes.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace mlpserve::client {

std::vector<int64_t> Argmax(std::span<const float> scores, int64_t columns) {
  std::vector<int64_t> classes;
  const auto width = static_cast<size_t>(columns);
  for (size_t row = 0; row + width <= scores.size(); row += width) {
    int64_t best = -1;
    float largest = 0;
    for (size_t column = 0; column < width; ++column) {
      const float score = scores[row + column];
      if (std::isnan(score) || (best >= 0 && score <= largest)) continue;
      best = static_cast<int64_t>(column);
      largest = score;
    }
    classes.push_back(best);
  }
  return classes;
}

absl::StatusOr<std::vector<int64_t>> ClassesOf(const Tensor& labels) {
  const size_t rank = labels.shape.size();
  if (rank == 1 || (rank == 2 && labels.shape[1] == 1)) return ToIntegers(labels);
  if (rank == 2 && labels.shape[1] > 1) return Argmax(ToFloats(labels), labels.shape[1]);
  return absl::InvalidArgumentError(absl::StrCat(
      "labels: expected classes [rows] or scores [rows, classes], found ", Describe(labels)));
}

absl::StatusOr<Accuracy> Compare(std::span<const int64_t> predicted,
                                 std::span<const int64_t> expected) {
  if (predicted.size() != expected.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "labels: expected one for each of ", predicted.size(), " rows, found ", expected.size()));
  }
  Accuracy accuracy{static_cast<int64_t>(expected.size()), 0};
  for (size_t i = 0; i < expected.size(); ++i) accuracy.right += predicted[i] == expected[i];
  return accuracy;
}

}  // namespace mlpserve::client
