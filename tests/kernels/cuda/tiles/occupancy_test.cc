#include "kernels/cuda/tiles/occupancy.h"

#include <cuda_occupancy.h>
#include <gtest/gtest.h>

namespace mlpserve::cuda {
namespace {

constexpr int kCapabilities[] = {80, 86, 89, 90, 120};

// What NVIDIA's own calculator says.
int CtasByNvidia(int capability, const SmLimits& limits, const CtaResources& cta) {
  cudaOccDeviceProp device{};
  device.computeMajor = capability / 10;
  device.computeMinor = capability % 10;
  device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiprocessor = limits.threads_per_sm;
  device.regsPerBlock = limits.registers_per_sm;
  device.regsPerMultiprocessor = limits.registers_per_sm;
  device.warpSize = 32;
  device.sharedMemPerBlock = 48 << 10;
  device.sharedMemPerMultiprocessor = static_cast<size_t>(limits.shared_per_sm);
  device.numSms = 1;
  device.sharedMemPerBlockOptin = static_cast<size_t>(limits.shared_per_cta);
  device.reservedSharedMemPerBlock = 1 << 10;
  cudaOccFuncAttributes kernel{};
  kernel.maxThreadsPerBlock = 1024;
  kernel.numRegs = cta.registers;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.maxDynamicSharedSizeBytes = static_cast<size_t>(cta.shared_bytes);
  kernel.numBlockBarriers = 1;
  cudaOccDeviceState state{};
  state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
  cudaOccResult result{};
  const cudaOccError error = cudaOccMaxActiveBlocksPerMultiprocessor(
      &result, &device, &kernel, &state, cta.threads, static_cast<size_t>(cta.shared_bytes));
  EXPECT_EQ(error, CUDA_OCC_SUCCESS) << error;
  return result.activeBlocksPerMultiprocessor;
}

TEST(OccupancyTest, FollowsTheScarcestResource) {
  const SmLimits limits = *SmLimitsOf(89);
  const auto ctas = [&](int threads, int registers, int shared_bytes) {
    return CtasPerSm(limits, {threads, registers, shared_bytes});
  };
  EXPECT_EQ(ctas(256, 128, 1024), 2);  // registers
  EXPECT_EQ(ctas(256, 129, 1024), 1);  // which come in lots of eight for each thread
  EXPECT_EQ(ctas(256, 32, 1024), 6);   // threads
  EXPECT_EQ(ctas(256, 32, 49280), 2);  // shared memory
  EXPECT_EQ(ctas(256, 32, 50176), 2);  // 49 KiB and CUDA's own: just half of 100 KiB
  EXPECT_EQ(ctas(256, 32, 50177), 1);
  EXPECT_EQ(ctas(32, 16, 0), 24);  // CTAs
  EXPECT_EQ(ctas(256, 32, 101376), 1);
  EXPECT_EQ(ctas(256, 32, 101377), 0);  // more than a CTA may have
  EXPECT_EQ(ctas(1024, 128, 0), 0);     // more registers than there are
  EXPECT_EQ(ctas(1025, 32, 0), 0);
  EXPECT_EQ(ctas(256, 256, 0), 0);
  EXPECT_EQ(ctas(0, 32, 0), 0);
}

TEST(OccupancyTest, AgreesWithTheDriverOfAnH200) {
  // Clusters that the driver said it holds (kernels/results/h200-2026-11-21.jsonl): 62 of 4 CTAs
  // are two on each of 124 SMs, 66 of 2 CTAs one on each of 132, as are 66 of 2 below.
  const SmLimits limits = *SmLimitsOf(90);
  EXPECT_EQ(CtasPerSm(limits, {160, 34, 81984}), 2);
  EXPECT_EQ(CtasPerSm(limits, {160, 34, 122976}), 1);
  EXPECT_EQ(CtasPerSm(limits, {384, 168, 213056}), 1);
}

TEST(OccupancyTest, OtherCapabilitiesAreNotGuessed) {
  for (const int capability : {0, 75, 87, 100, 900}) EXPECT_FALSE(SmLimitsOf(capability));
}

TEST(OccupancyTest, AgreesWithNvidiasCalculator) {
  for (const int capability : kCapabilities) {
    const SmLimits limits = *SmLimitsOf(capability);
    for (const int threads : {1, 32, 96, 128, 160, 256, 288, 384, 512, 1024}) {
      for (const int registers : {16, 24, 30, 33, 40, 64, 85, 96, 128, 168, 200, 255}) {
        for (int shared = 0; shared <= limits.shared_per_cta; shared += 4999) {
          const CtaResources cta{threads, registers, shared};
          ASSERT_EQ(CtasPerSm(limits, cta), CtasByNvidia(capability, limits, cta))
              << capability << ": " << threads << " threads, " << registers << " registers, "
              << shared << " bytes";
        }
      }
    }
  }
}

}  // namespace
}  // namespace mlpserve::cuda
