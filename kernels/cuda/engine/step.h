// One launch, or a few that belong together, of a loaded block: everything but the number of rows
// is settled at load.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/cuda/driver/stream.h"

namespace mlpserve::cuda {

class Step {
 public:
  virtual ~Step() = default;

  // Puts the work for rows [0, m) on the stream. 1 <= m <= the rows that the step was made for.
  // Nothing is allocated, nothing waits. Errors are those of the launch itself.
  virtual absl::Status Launch(int32_t m, const Stream& stream) const = 0;
};

}  // namespace mlpserve::cuda
