// The layers of kernels/plans/suite.plan.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

inline constexpr char kSuitePlanPath[] = "kernels/plans/suite.plan";

// A line of the plan, in one type.
struct SuiteLine {
  ComputeType compute = ComputeType::kBf16;
  std::vector<int64_t> rows;
  int64_t outputs = 0, inputs = 0;
  std::vector<std::string> blocks;  // "gelu"
};

// Lines "time m=1,8 n=64 k=32 dtype=bf16,tf32 epilogue=gelu", empty ones and comments. Errors:
// INVALID_ARGUMENT, with the line.
absl::StatusOr<std::vector<SuiteLine>> ParseSuite(std::string_view plan);

}  // namespace mlpserve::cuda
