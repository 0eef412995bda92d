// How long a batch of so many rows takes, as a backend measured it.
#pragma once

#include <cstdint>

#include "server/vocabulary/request.h"

namespace mlpserve {

struct BatchTime {
  int64_t rows = 0;
  Duration time = Duration::zero();
};

}  // namespace mlpserve
