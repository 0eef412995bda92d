// Mean and biased variance of each column of z [m, n], as the three vectors that a normalising
// epilogue reads: (z + shift0) * scale + shift1 = (z - mean) / sqrt(variance + eps) * weight +
// bias. For more rows than batch_norm.cuh can hold; elementwise.cuh then normalises.
//
// Sums of squares in FP32 would drown the variance of a column whose mean is far from zero. So a
// thread holds kThreadRows values and takes the deviations from their own mean; parts are merged by
// the formula of Chan, Golub and LeVeque ("Updating formulae", 1979) in float64, few enough of them
// that float64's low rate on small cards does not matter. The mean itself keeps two floats: shift0
// is the upper one, the lower one is in shift1. The order is fixed: same input, same bits.
//
// Of GemmArgs: x is z (FP32), its stride, m and n.
// mlpserve_column_parts:  grid [ceil(n / 32), ceil(m / 256)], 256 threads.
// mlpserve_column_finish: grid [ceil(n / 256)], 256 threads.
#pragma once

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/norm/norm_operand.cuh"
#include "kernels/cuda/device/norm/statistics_args.cuh"

namespace mlpserve::cuda {

constexpr int kColumnsAtOnce = 32;
constexpr int kCtaRows = 256;
constexpr int kThreadRows = 32;
constexpr int kWarps = kCtaRows / kThreadRows;

struct Moments {
  double count;
  double mean;
  double squares;  // of deviations from the mean, summed
};

__device__ __forceinline__ Moments Merge(const Moments& a, const Moments& b) {
  if (b.count == 0) return a;
  if (a.count == 0) return b;
  const double count = a.count + b.count;
  const double step = b.mean - a.mean;
  return {count, a.mean + step * (b.count / count),
          a.squares + b.squares + step * step * (a.count * b.count / count)};
}

__device__ __forceinline__ Moments MomentsOf(const float (&values)[kThreadRows], int count) {
  if (count <= 0) return {0, 0, 0};
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kThreadRows; ++i) sum += i < count ? values[i] : 0.0f;
  const float mean = sum / count;
  float rest = 0;  // what the rounded mean leaves
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kThreadRows; ++i) {
    const float deviation = i < count ? values[i] - mean : 0.0f;
    rest += deviation;
    squares = fmaf(deviation, deviation, squares);
  }
  const double correction = static_cast<double>(rest) / count;
  return {static_cast<double>(count), mean + correction, squares - correction * rest};
}

extern "C" __global__ void __launch_bounds__(kColumnsAtOnce* kWarps)
    mlpserve_column_parts(const __grid_constant__ GemmArgs args,
                          const __grid_constant__ StatisticsArgs statistics) {
  __shared__ Moments parts[kWarps][kColumnsAtOnce];
  const int lane = threadIdx.x % kColumnsAtOnce;
  const int warp = threadIdx.x / kColumnsAtOnce;
  const int column = blockIdx.x * kColumnsAtOnce + lane;
  const int first = blockIdx.y * kCtaRows + warp * kThreadRows;
  const int count = min(kThreadRows, args.m - first);
  if (column < args.n) {
    const float* z = static_cast<const float*>(args.x) + column;
    float values[kThreadRows];
#pragma unroll
    for (int i = 0; i < kThreadRows; ++i) {
      values[i] = i < count ? z[(first + i) * args.x_stride] : 0.0f;
    }
    parts[warp][lane] = MomentsOf(values, count);
  }
  __syncthreads();
  if (warp != 0 || column >= args.n) return;
  Moments total = parts[0][lane];
#pragma unroll
  for (int i = 1; i < kWarps; ++i) total = Merge(total, parts[i][lane]);
  double* part = statistics.parts + (static_cast<int64_t>(blockIdx.y) * args.n + column) * 2;
  part[0] = total.mean;
  part[1] = total.squares;
}

extern "C" __global__ void __launch_bounds__(256)
    mlpserve_column_finish(const __grid_constant__ GemmArgs args,
                           const __grid_constant__ StatisticsArgs statistics) {
  const int column = blockIdx.x * 256 + threadIdx.x;
  if (column >= args.n) return;
  Moments total = {0, 0, 0};
  for (int first = 0; first < args.m; first += kCtaRows) {
    const double* part =
        statistics.parts + (static_cast<int64_t>(first / kCtaRows) * args.n + column) * 2;
    total = Merge(total, {static_cast<double>(min(kCtaRows, args.m - first)), part[0], part[1]});
  }
  const NormColumn norm = NormOf(statistics, column, total.mean, total.squares / args.m);
  statistics.shift0[column] = norm.before;
  statistics.scale[column] = norm.scale;
  statistics.shift1[column] = norm.after;
}

}  // namespace mlpserve::cuda
