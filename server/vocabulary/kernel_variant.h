// The kernel that runs a layer at a bucket, for metrics and logs.
#pragma once

#include <cstdint>
#include <string>

namespace mlpserve {

struct KernelVariant {
  std::string layer;
  int64_t bucket = 0;
  std::string variant;
};

}  // namespace mlpserve
