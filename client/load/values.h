// The values that a sweep goes through, as the command line writes them.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mlpserve::load {

// "1,16" are those values; "10:50:20" is 10, 30, 50; "1:8:x2" is 1, 2, 4, 8. Parts may be mixed by
// commas. INVALID_ARGUMENT: not of this form, a value below `least` or above `most`, a step that
// does not lead upwards, more than 1,000 values.
absl::StatusOr<std::vector<double>> ParseValues(std::string_view text, double least, double most);
// The same, of whole numbers.
absl::StatusOr<std::vector<int>> ParseCounts(std::string_view text, int least, int most);

}  // namespace mlpserve::load
