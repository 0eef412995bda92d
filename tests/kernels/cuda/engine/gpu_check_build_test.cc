// Kernels compiled with checks and random sleeps (kernels/cuda/device/ptx/checks.cuh): whatever
// finishes first, the bits are the same; what was not as it should be is noticed.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/kernels/cuda/engine/gpu_kernel.h"
#include "tests/kernels/cuda/engine/gpu_problem.h"
#include "tests/kernels/cuda/engine/gpu_tiles.h"

namespace mlpserve::cuda {
namespace {

class GpuCheckBuildTest : public testing::TestWithParam<KernelConfig> {
 protected:
  void SetUp() override {
    const std::string why = WhyNoGpu();
    if (!why.empty()) GTEST_SKIP() << why;
    if (!RunsHere(GetParam().tile)) GTEST_SKIP() << "not for this GPU";
  }
};

// Several tiles to a block, several blocks to a cluster, some of them without work.
TEST_P(GpuCheckBuildTest, AHundredRunsWithRandomSleepsHaveTheBitsOfOneWithout) {
  constexpr int kRuns = 100;
  const KernelConfig& config = GetParam();
  const auto plain = GpuKernel::Make({}, config);
  ASSERT_TRUE(plain.ok()) << plain.status();
  const auto checked = GpuKernel::Make({}, config, {.is_checked = true});
  ASSERT_TRUE(checked.ok()) << checked.status();
  for (const int depth : DepthsAroundRing(config)) {
    GpuProblem problem(config, {}, {300, 520, depth}, 0);
    absl::Status status = plain->Run(problem.Args());
    ASSERT_TRUE(status.ok()) << status;
    problem.Check();
    if (HasFatalFailure()) return;
    problem.PoisonOutput();
    status = plain->Run(problem.Args());
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<std::byte> expected = problem.Output();
    for (int run = 0; run < kRuns; ++run) {
      problem.PoisonOutput();
      status = checked->Run(problem.Args());
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_EQ(problem.Output(), expected) << Name(config) << ", k " << depth << ", run " << run;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(TuningSpace, GpuCheckBuildTest, testing::ValuesIn(EveryConfig()),
                         ConfigName);

// Whether a check build stops.
bool Traps(const KernelConfig& config, int shared_offset, uint8_t counters) {
  const auto kernel =
      GpuKernel::Make({}, config, {.is_checked = true, .shared_offset = shared_offset});
  if (!kernel.ok()) return false;
  GpuProblem problem(config, {}, {64, 128, 256}, 0);
  return !kernel->Run(problem.Args(), 1, counters).ok() && cudaDeviceSynchronize() != cudaSuccess;
}

// Each in a process of its own, begun anew: a trap ends the device for all that its process has
// there.
class GpuCheckBuildDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string why = WhyNoGpu();
    if (!why.empty()) GTEST_SKIP() << why;
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }

  // Traps as it is given, and not as it should be.
  static void ExpectTraps(const KernelConfig& config, int shared_offset, uint8_t counters) {
    EXPECT_EXIT(
        {
          if (Traps(config, 0, 0)) std::exit(2);
          std::exit(Traps(config, shared_offset, counters) ? 0 : 1);
        },
        testing::ExitedWithCode(0), "")
        << Name(config);
  }
};

TEST_F(GpuCheckBuildDeathTest, ABaseOfSharedMemoryThatIsNotAlignedTo1024BytesTraps) {
  for (const KernelConfig& config : OneOfEachLoop()) {
    if (IsWgmma(config.tile) && RunsHere(config.tile)) ExpectTraps(config, 128, 0);
  }
}

// Blocks that share a tile count arrivals: a counter that was not left at zero would have the sum
// taken too early or never.
TEST_F(GpuCheckBuildDeathTest, CountersThatAreNotZeroTrap) {
  for (KernelConfig config : OneOfEachLoop()) {
    if (IsWgmma(config.tile)) continue;
    config.split_k = 3;
    ExpectTraps(config, 0, 0xA5);
  }
}

}  // namespace
}  // namespace mlpserve::cuda
