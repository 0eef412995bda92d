// How a kernel is launched: its grid, and what the driver has to be told beside it. No CUDA in
// here.
#pragma once

#include <cstdint>

namespace mlpserve::cuda {

struct LaunchShape {
  int64_t grid_x = 1;
  int64_t grid_y = 1;
  int threads = 1;
  int shared_bytes = 0;  // dynamic; at most what the kernel was loaded with
  // The kernel may start while the one before it on the stream ends: it waits by itself.
  bool programmatic = false;
  // All CTAs run at one time, because they wait for one another. Not with `programmatic`.
  bool cooperative = false;
};

}  // namespace mlpserve::cuda
