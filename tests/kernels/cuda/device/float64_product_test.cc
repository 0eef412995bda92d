// float64_product.cuh on the host, thread by thread, against plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cuda/device/prelude.cuh"
#include "kernels/spec/rounding.h"
#include "tests/kernels/cuda/device/host_primitives.h"

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
#define __global__
#define __grid_constant__
#define __launch_bounds__(threads)
// NOLINTEND(bugprone-reserved-identifier)

namespace mlpserve::cuda {

struct Place {
  unsigned x = 0, y = 0;
};
inline Place blockIdx, threadIdx;

inline float ToFloat(float x) { return x; }
inline float ToFloat(Bf16 x) { return FloatFromBf16(x.bits); }
inline float ToFloat(Fp16 x) { return FloatFromFp16(x.bits); }

}  // namespace mlpserve::cuda

namespace mlpserve::cuda {
struct Config {
  static constexpr Type kIn = Type::kTf32;
};
}  // namespace mlpserve::cuda

#include "kernels/cuda/device/bench/float64_product.cuh"

namespace mlpserve::cuda {
namespace {

void RunEveryThread(const Float64Args& args) {
  constexpr int64_t kTile = kFloat64Tile;
  for (blockIdx.y = 0; blockIdx.y * kTile < args.m; ++blockIdx.y) {
    for (blockIdx.x = 0; blockIdx.x * kTile < args.n; ++blockIdx.x) {
      for (threadIdx.x = 0; threadIdx.x < kFloat64Threads; ++threadIdx.x) {
        mlpserve_float64_product(args);
      }
    }
  }
}

TEST(Float64ProductTest, MultipliesRoundedOperandsOfPaddedRowsOfAnySize) {
  constexpr int64_t kPadding = 4;
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  struct Size {
    int64_t m, n, k;
  };
  for (const Size& size : {Size{1, 1, 1}, Size{3, 65, 33}, Size{64, 64, 8}, Size{130, 17, 40}}) {
    const int64_t stride = size.k + kPadding;
    const auto matrix = [&](int64_t rows) {
      std::vector<float> values(static_cast<size_t>(rows * stride), std::nanf(""));
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t i = 0; i < size.k; ++i)
          values[static_cast<size_t>(r * stride + i)] = normal(random);
      }
      return values;
    };
    const std::vector<float> x = matrix(size.m);
    const std::vector<float> w = matrix(size.n);
    const size_t count = static_cast<size_t>(size.m * size.n);
    std::vector<double> sums(count, -1), magnitudes(count, -1);
    RunEveryThread({.x = x.data(),
                    .w = w.data(),
                    .sums = sums.data(),
                    .magnitudes = magnitudes.data(),
                    .x_stride = stride,
                    .w_stride = stride,
                    .m = size.m,
                    .n = size.n,
                    .k = size.k});
    for (int64_t row = 0; row < size.m; ++row) {
      for (int64_t column = 0; column < size.n; ++column) {
        double sum = 0, magnitude = 0;
        for (int64_t i = 0; i < size.k; ++i) {
          const double term = static_cast<double>(::mlpserve::RoundToTf32(
                                  x[static_cast<size_t>(row * stride + i)])) *
                              ::mlpserve::RoundToTf32(w[static_cast<size_t>(column * stride + i)]);
          sum += term;
          magnitude += std::fabs(term);
        }
        const size_t at = static_cast<size_t>(row * size.n + column);
        ASSERT_EQ(sums[at], sum) << row << " " << column << " of " << size.m << "x" << size.n;
        ASSERT_EQ(magnitudes[at], magnitude);
      }
    }
  }
}

}  // namespace
}  // namespace mlpserve::cuda
