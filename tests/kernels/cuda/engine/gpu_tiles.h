// The configs that tests on a GPU iterate.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/cuda/tiles/config.h"

namespace mlpserve::cuda {

// Each tile that some device's tuning space has for each format, results in the format of the
// layers between.
std::vector<KernelConfig> EveryConfig();
// And those that normalise, behind an epilogue of two column vectors.
std::vector<KernelConfig> EveryNormalisingConfig();
// Of those, one of each main loop.
std::vector<KernelConfig> OneOfEachLoop();

std::string ConfigName(const testing::TestParamInfo<KernelConfig>& info);

inline bool IsAligned(int64_t stride, DataType type) {
  return stride * static_cast<int64_t>(ByteSize(type)) % 16 == 0;
}
// Whether rows of y must start at multiples of 16 bytes, and the same kernel for other rows.
bool NeedsTensorStores(const KernelConfig& config);
KernelConfig WithoutTensorStores(KernelConfig config);

int StagesOf(const Tile& tile);
// Elements of k for which the ring is filled once, and a stage more and less.
std::vector<int> DepthsAroundRing(const KernelConfig& config);

}  // namespace mlpserve::cuda
