// The split of FP32 into halves, and a product of them, on the host.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/kernels/cuda/device/host_primitives.h"
// After what it is built on.
#include "kernels/cuda/device/tf32/tf32_halves.cuh"

namespace mlpserve::cuda {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLargest = std::numeric_limits<float>::max();

// As a tensor copy to shared memory rounds.
double AsOperand(float x) {
  return std::isfinite(x) ? FloatFromBits(RoundToTf32(BitsFromFloat(x))) : x;
}

// A row of x times a row of w as tf32_terms.cuh has it, added up without error.
float ProductOfHalves(const std::vector<float>& x, const std::vector<float>& w) {
  uint32_t largest = 0;
  for (const float v : x) {
    if (std::isfinite(v)) largest = std::max(largest, MagnitudeBits(v));
  }
  const int exponent = ScaleExponent(largest);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const Halves a = SplitToTf32(x[i], PowerOfTwo(exponent));
    const Halves b = SplitToTf32(w[i], 1);
    sum += AsOperand(a.lo) * AsOperand(b.hi);
    sum += AsOperand(a.hi) * AsOperand(b.lo);
    sum += AsOperand(a.hi) * AsOperand(b.hi);
  }
  return static_cast<float>(sum) * PowerOfTwo(-exponent);
}

float RandomFinite(std::mt19937& random) {
  float x = kNan;
  while (!std::isfinite(x)) x = FloatFromBits(random());
  return x;
}

TEST(Tf32HalvesTest, HalvesAddUpToTheValue) {
  std::mt19937 random(1);
  for (int i = 0; i < 1000000; ++i) {
    const float x = std::ldexp(RandomFinite(random), -60);
    if (std::fabs(x) < 0x1p-100f) continue;  // as a scaled row hardly has them
    const Halves halves = SplitToTf32(x, 1);
    EXPECT_EQ(AsOperand(halves.hi), halves.hi) << x;
    EXPECT_EQ(static_cast<double>(halves.hi) + halves.lo, x);
    EXPECT_LE(std::fabs(halves.hi + AsOperand(halves.lo) - x), 0x1p-23 * std::fabs(x)) << x;
  }
}

TEST(Tf32HalvesTest, AScaleBringsTheLargestToOnePlaceAndHasAnInverse) {
  std::mt19937 random(2);
  for (int i = 0; i < 1000000; ++i) {
    const float x = RandomFinite(random);
    const int exponent = ScaleExponent(MagnitudeBits(x));
    const float scale = PowerOfTwo(exponent);
    EXPECT_EQ(scale * PowerOfTwo(-exponent), 1) << x;
    EXPECT_EQ(x * scale * PowerOfTwo(-exponent), x);
    EXPECT_LT(std::fabs(x * scale), 0x1p64f) << x;
    if (std::fabs(x) >= 0x1p-63f) {
      EXPECT_GE(std::fabs(x * scale), 0x1p63f) << x;
    }
  }
  EXPECT_EQ(ScaleExponent(0), 0);
  EXPECT_EQ(ScaleExponent(MagnitudeBits(kLargest)), -64);
  EXPECT_EQ(ScaleExponent(1), 126);
}

TEST(Tf32HalvesTest, InfinityAndNanLieInLoAlone) {
  for (const float x : {kInf, -kInf}) {
    EXPECT_EQ(SplitToTf32(x, 0x1p-64f).hi, 0);
    EXPECT_EQ(SplitToTf32(x, 0x1p-64f).lo, x);
  }
  // A NaN that only its low bits tell from infinity must not be rounded to one.
  for (const float x : {kNan, -kNan, FloatFromBits(0x7f800001), FloatFromBits(0x7fffffff)}) {
    const Halves halves = SplitToTf32(x, 1);
    EXPECT_EQ(halves.hi, 0);
    EXPECT_TRUE(std::isnan(FloatFromBits(RoundToTf32(BitsFromFloat(halves.lo)))));
  }
}

TEST(Tf32HalvesTest, ProductsOfSpecialValuesAreThoseOfFp32) {
  const std::vector<float> w = {1, -0.5f, 0, 3, 0x1p-100f, 1.1f};
  const auto product = [&w](const std::vector<float>& x) { return ProductOfHalves(x, w); };
  EXPECT_EQ(product({kInf, 1, 1, 1, 1, 1}), kInf);
  EXPECT_EQ(product({1, kInf, 1, 1, 1, 1}), -kInf);
  EXPECT_TRUE(std::isnan(product({1, 1, kInf, 1, 1, 1})));  // times zero
  EXPECT_EQ(product({1, 1, 1, 1, -kInf, 1}), -kInf);
  EXPECT_EQ(product({1, 1, 1, 1, 1, kInf}), kInf);
  EXPECT_TRUE(std::isnan(product({kInf, kInf, 1, 1, 1, 1})));  // infinity minus infinity
  EXPECT_EQ(product({kInf, -kInf, 1, 1, 1, 1}), kInf);
  EXPECT_TRUE(std::isnan(product({1, 1, kNan, 1, 1, 1})));
  EXPECT_EQ(product({kInf, kLargest, kLargest, 1, 1, 1}), kInf);
  EXPECT_EQ(product({0, 0, 0, 0, 0, 0}), 0);
}

// Relative to the sum of magnitudes, whatever the magnitude of the row: 2^-21 is the most that two
// splits and the product left out can lose.
TEST(Tf32HalvesTest, ProductsAreAsExactForTinyAndForHugeRows) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int exponent = -148; exponent <= 120; ++exponent) {
    for (int i = 0; i < 200; ++i) {
      std::vector<float> x(7), w(7);
      double sum = 0, magnitude = 0;
      for (size_t k = 0; k < x.size(); ++k) {
        x[k] = std::ldexp(normal(random), exponent);
        w[k] = normal(random);
        sum += static_cast<double>(x[k]) * w[k];
        magnitude += std::fabs(static_cast<double>(x[k]) * w[k]);
      }
      EXPECT_NEAR(ProductOfHalves(x, w), sum, 0x1p-21 * magnitude + 0x1p-149) << exponent;
    }
  }
}

TEST(Tf32HalvesTest, ATinyValueBesideALargeOneIsKept) {
  for (const float tiny : {0x1p-149f, 0x1.8p-130f, 0x1.fffffep-110f, 1e-30f}) {
    EXPECT_NEAR(ProductOfHalves({1, tiny}, {0, 1}), tiny, 0x1p-22 * tiny);
  }
}

}  // namespace
}  // namespace mlpserve::cuda
