#include "kernels/cuda/sheet/compiled_space.h"

#include <atomic>
#include <thread>

#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/tiles/occupancy.h"

namespace mlpserve::cuda {

EpilogueSpec HeavyEpilogue() {
  const MultiplyAdd affine{.scale = {.column = 0}, .shift = {.column = 1}};
  const MultiplyAdd scale{.scale = {.column = 2}};
  return {.ops = {{affine},
                  {Clamp{-2, 2}},
                  {Pointwise{Function::kGeluTanh}},
                  {Residual{{{Pointwise{Function::kSigmoid}}, {scale}}}},
                  {AddInput{}}},
          .columns = std::vector<std::vector<float>>(kHeavyColumns, {1.0f})};
}

EpilogueSpec LightEpilogue() {
  return {.ops = {{MultiplyAdd{.scale = {.value = 0.5}, .shift = {.column = 0}}},
                  {Clamp{-2, 2}},
                  {Pointwise{Function::kGeluTanh}},
                  {AddInput{}}},
          .columns = std::vector<std::vector<float>>(kLightColumns, {1.0f})};
}

EpilogueSpec HeavyNorm() {
  const MultiplyAdd normalise{.scale = {.column = 1}, .shift = {.column = 2}};
  const MultiplyAdd scale{.scale = {.column = 3}};
  return {.ops = {{MultiplyAdd{.shift = {.column = 0}}},
                  {normalise},
                  {Pointwise{Function::kGeluTanh}},
                  {Residual{{{Pointwise{Function::kSigmoid}}, {scale}}}},
                  {AddInput{}}},
          .columns = std::vector<std::vector<float>>(kHeavyNormColumns, {1.0f})};
}

EpilogueSpec BeforeNorm() {
  const MultiplyAdd affine{.scale = {.column = 0}, .shift = {.column = 1}};
  return {.ops = {{affine}, {Clamp{-2, 2}}},
          .columns = std::vector<std::vector<float>>(kBeforeNormColumns, {1.0f})};
}

int SpaceKernel::ctas_per_sm() const {
  if (!compiled.ok()) return 0;
  return CtasPerSm(limits.sm, {.threads = planned.threads,
                               .registers = compiled->resources.registers,
                               .shared_bytes = planned.shared_bytes});
}

std::vector<SpaceKernel> CompileSpace(const Nvrtc& nvrtc, const std::vector<DeviceLimits>& devices,
                                      int threads) {
  std::vector<SpaceKernel> kernels;
  for (const DeviceLimits& limits : devices) {
    for (const ComputeType compute :
         {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32, ComputeType::kFp32}) {
      const DataType output = StorageType(compute);
      for (const Tile& tile : TuningSpace(compute, limits)) {
        SpaceKernel kernel{.limits = limits,
                           .config = {.tile = tile, .compute = compute, .output = output},
                           .planned = ResourcesOf(tile, compute, output, kHeavyColumns)};
        kernel.is_light = kernel.planned.shared_bytes > limits.sm.shared_per_cta;
        if (kernel.is_light) kernel.planned = ResourcesOf(tile, compute, output, kLightColumns);
        kernels.push_back(kernel);
      }
      for (WgmmaConfig& tile : NormalisingTiles(compute, limits)) {
        tile.before_columns = kBeforeNormColumns;
        kernels.push_back({.limits = limits,
                           .config = {.tile = tile, .compute = compute, .output = output},
                           .planned = ResourcesOf(tile, compute, output, kHeavyNormColumns)});
      }
    }
  }
  std::atomic<size_t> next{0};
  const auto compile = [&] {
    for (size_t i = next++; i < kernels.size(); i = next++) {
      SpaceKernel& kernel = kernels[i];
      const auto source =
          Normalises(kernel.config.tile)
              ? KernelSource(HeavyNorm(), kernel.config, BeforeNorm())
              : KernelSource(kernel.is_light ? LightEpilogue() : HeavyEpilogue(), kernel.config);
      kernel.compiled = source.ok() ? nvrtc.Compile(*source, CodeName(kernel.config),
                                                    {.arch = kernel.limits.arch})
                                    : source.status();
    }
  };
  std::vector<std::jthread> workers;
  for (int i = 0; i < threads; ++i) workers.emplace_back(compile);
  workers.clear();  // joins
  return kernels;
}

}  // namespace mlpserve::cuda
