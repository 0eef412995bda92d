// The launch parameters of one of our kernels for a product of a given number of rows.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/launch_shape.h"

namespace mlpserve::cuda {

struct GemmLaunch {
  LaunchShape shape;
  int cluster = 1;
  int x_box_rows = 0, w_box_rows = 0, y_box_rows = 0;  // 0: no tensor maps
  int64_t partials_bytes = 0;
  int64_t arrivals = 0;

  bool has_maps() const { return x_box_rows > 0; }
};

// `clusters`: how many the device runs at a time. Only the grid depends on them.
GemmLaunch LaunchOf(const LayerPlan& layer, const KernelConfig& config, int64_t m, int clusters);

}  // namespace mlpserve::cuda
