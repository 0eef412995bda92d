// Compiles every tile of the tuning space, for both architectures and every type, as a server
// would, and checks what the compiler reports against what was planned. Needs no GPU.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "kernels/cuda/device_limits.h"
#include "kernels/cuda/kernel_source.h"
#include "kernels/cuda/nvrtc.h"
#include "kernels/cuda/tuning_space.h"

namespace mlpserve::cuda {
namespace {

constexpr int kCompilers = 2;  // threads
constexpr int kColumns = 3;

// Uses everything that takes registers: column vectors, a nested op, the block's input.
EpilogueSpec HeavyEpilogue() {
  const MultiplyAdd affine{.scale = {.column = 0}, .shift = {.column = 1}};
  const MultiplyAdd scale{.scale = {.column = 2}};
  return {.ops = {{affine},
                  {Clamp{-2, 2}},
                  {Pointwise{Function::kGeluTanh}},
                  {Residual{{{Pointwise{Function::kSigmoid}}, {scale}}}},
                  {AddInput{}}},
          .columns = std::vector<std::vector<float>>(kColumns, {1.0f})};
}

struct Build {
  DeviceLimits limits;
  KernelConfig config;
  absl::StatusOr<CompiledKernel> kernel = absl::UnknownError("not compiled");
};

std::vector<Build> EveryBuild() {
  std::vector<Build> builds;
  for (const DeviceLimits& limits : {Rtx4090(), H200()}) {
    for (const ComputeType compute :
         {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32, ComputeType::kFp32}) {
      for (const Tile& tile : TuningSpace(compute, limits)) {
        builds.push_back(
            {.limits = limits,
             .config = {.tile = tile, .compute = compute, .output = StorageType(compute)}});
      }
    }
  }
  return builds;
}

void CompileAll(const Nvrtc& nvrtc, std::vector<Build>& builds) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < builds.size(); i = next++) {
      Build& build = builds[i];
      const auto source = KernelSource(HeavyEpilogue(), build.config);
      build.kernel =
          source.ok() ? nvrtc.Compile(*source, CodeName(build.config), {.arch = build.limits.arch})
                      : source.status();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kCompilers; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
}

void Check(const Build& build) {
  ASSERT_TRUE(build.kernel.ok()) << build.kernel.status();
  const KernelConfig& config = build.config;
  const KernelResources& used = build.kernel->resources;
  const TileResources planned = ResourcesOf(config.tile, config.compute, config.output, kColumns);
  const int blocks =
      BlocksPerSm(build.limits, planned.threads, used.registers, planned.shared_bytes);
  std::printf("%-7s %-52s %3d registers %6d bytes shared, %d threads x %d blocks\n",
              build.limits.arch.c_str(), CodeName(config).c_str(), used.registers,
              planned.shared_bytes, planned.threads, blocks);
  ASSERT_GT(used.registers, 0) << "this compiler does not pass on what the assembler reports";
  EXPECT_TRUE(used.in_registers())
      << used.stack_bytes << " bytes of stack, " << used.spill_store_bytes << " spilled";
  EXPECT_LE(used.static_shared_bytes, planned.shared_bytes);
  EXPECT_LE(planned.shared_bytes, build.limits.shared_per_block);
  EXPECT_GE(blocks, planned.blocks_per_sm);
  EXPECT_EQ(build.kernel->log.find("serialized"), std::string::npos) << build.kernel->log;
}

TEST(CompileAllTest, EveryConfigCompilesAsPlannedWithoutSpills) {
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  std::vector<Build> builds = EveryBuild();
  CompileAll(**nvrtc, builds);
  for (const Build& build : builds) {
    SCOPED_TRACE(build.limits.arch + " " + CodeName(build.config));
    Check(build);
  }
}

}  // namespace
}  // namespace mlpserve::cuda
