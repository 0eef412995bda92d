// The plans with which mlpserve-bench measures the kernels of sm_89 (deploy/measure-4090).
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "kernels/cuda/tiles/config.h"

namespace mlpserve::cuda {

// Where the tree keeps them, from its root.
inline constexpr char kTimingPlanPath[] = "kernels/plans/sm_89.plan";
inline constexpr char kCheckPlanPath[] = "kernels/plans/sm_89_check.plan";

// Rows and width of the layers that are measured, here and in the sheet.
inline constexpr std::array<int64_t, 7> kMeasuredRows = {1, 16, 64, 128, 256, 1024, 2048};
inline constexpr int64_t kMeasuredWidth = 8192;

// As mlpserve-bench reads it (kernels/cuda/tiles/parse_config.h), without the formats, so that a
// line is of all: "mma.128x128x32.w2x4.s3.b2.k4".
std::string VariantText(const KernelConfig& config);

// For each type and number of rows, all kernels that a server would time at load.
std::string TimingPlan();
// Every tile of the tuning space at odd shapes, with splits.
std::string CheckPlan();

}  // namespace mlpserve::cuda
