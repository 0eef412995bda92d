#include "kernels/cuda/sheet/roofline.h"

#include <gtest/gtest.h>

namespace mlpserve::cuda {
namespace {

constexpr int64_t kWide = 8192;

TEST(RooflineTest, OneRowReadsItsWeights) {
  const Roofline roofline = RooflineOf({1, kWide, kWide}, ComputeType::kBf16, 0, Rtx4090());
  // 128 MiB of weights and 32 KiB of rows at 1008 GB/s.
  EXPECT_NEAR(roofline.us(), (134217728 + 32768) / 1008e3, 1e-6);
  EXPECT_GT(roofline.memory_us, 100 * roofline.arithmetic_us);
}

TEST(RooflineTest, ManyRowsMultiply) {
  for (const auto& [type, tflops] : {std::pair{ComputeType::kBf16, 165.2},
                                     {ComputeType::kFp16, 165.2},
                                     {ComputeType::kTf32, 82.6},
                                     {ComputeType::kFp32, 82.6}}) {
    const Roofline roofline = RooflineOf({2048, kWide, kWide}, type, 2, Rtx4090());
    EXPECT_NEAR(roofline.us(), 2.0 * 2048 * kWide * kWide / (tflops * 1e6), 1e-6);
    EXPECT_GT(roofline.arithmetic_us, roofline.memory_us);
  }
}

TEST(RooflineTest, ColumnsAreReadOnce) {
  const GemmShape shape{16, kWide, kWide};
  const double without = RooflineOf(shape, ComputeType::kTf32, 0, Rtx4090()).us();
  const double with = RooflineOf(shape, ComputeType::kTf32, 2, Rtx4090()).us();
  EXPECT_NEAR(with - without, 2 * 4.0 * kWide / 1008e3, 1e-9);
}

}  // namespace
}  // namespace mlpserve::cuda
