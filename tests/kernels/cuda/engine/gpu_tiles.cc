#include "tests/kernels/cuda/engine/gpu_tiles.h"

#include <algorithm>
#include <set>

#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/cuda/tiles/tuning_space.h"

namespace mlpserve::cuda {

std::vector<KernelConfig> EveryConfig() {
  std::vector<KernelConfig> configs;
  std::set<std::string> names;
  for (const ComputeType compute :
       {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32, ComputeType::kFp32}) {
    for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
      for (const Tile& tile : TuningSpace(compute, limits)) {
        const KernelConfig config{.tile = tile, .compute = compute, .output = StorageType(compute)};
        if (names.insert(Name(config)).second) configs.push_back(config);
      }
    }
  }
  return configs;
}

std::vector<KernelConfig> EveryNormalisingConfig() {
  std::vector<KernelConfig> configs;
  for (const ComputeType compute : {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32}) {
    for (WgmmaConfig& tile : NormalisingTiles(compute, H200())) {
      tile.before_columns = 2;
      configs.push_back({.tile = tile, .compute = compute, .output = StorageType(compute)});
    }
  }
  return configs;
}

std::vector<KernelConfig> OneOfEachLoop() {
  std::vector<KernelConfig> configs;
  std::set<std::string> loops;
  for (const KernelConfig& config : EveryConfig()) {
    if (loops.insert(MainLoopPath(config.tile)).second) configs.push_back(config);
  }
  return configs;
}

std::string ConfigName(const testing::TestParamInfo<KernelConfig>& info) {
  std::string name = Name(info.param);
  std::ranges::replace(name, '.', '_');
  return name;
}

bool NeedsTensorStores(const KernelConfig& config) {
  const auto* wgmma = std::get_if<WgmmaConfig>(&config.tile);
  return wgmma != nullptr && wgmma->store_by_tma != 0;
}

KernelConfig WithoutTensorStores(KernelConfig config) {
  if (auto* wgmma = std::get_if<WgmmaConfig>(&config.tile)) wgmma->store_by_tma = 0;
  return config;
}

int StagesOf(const Tile& tile) {
  return std::visit([](const auto& t) { return t.stages; }, tile);
}

std::vector<int> DepthsAroundRing(const KernelConfig& config) {
  const int in_128_bytes = 128 / static_cast<int>(ByteSize(StorageType(config.compute)));
  // Of k in a stage, the blocks that share a sum taken together; with three terms, a third of it.
  struct Stage {
    int depth = 1, terms = 1;
  };
  const Stage stage = std::visit(
      [&](const auto& t) -> Stage {
        if constexpr (requires { t.tile_k; }) {
          return {.depth = t.tile_k};
        } else if constexpr (requires { t.slabs_per_stage; }) {
          return {.depth = in_128_bytes * t.slabs_per_stage * t.split_k, .terms = t.terms};
        } else {
          return {.depth = in_128_bytes, .terms = t.terms};
        }
      },
      config.tile);
  std::vector<int> depths;
  for (const int more : {-1, 0, 1}) {
    depths.push_back(
        std::max(1, CeilDivide(stage.depth * (StagesOf(config.tile) + more), stage.terms)));
  }
  return depths;
}

}  // namespace mlpserve::cuda
