// A batch norm with the statistics of the batch, and what follows it, in one pass: a CTA has
// kCtaColumns columns of z [m, n] to itself and holds them in shared memory, so that z is read
// once. y may be z.
//
// Sums of squares would drown the variance of a column whose mean is far from zero: the mean comes
// first, then the deviations from it, whose own mean corrects for the first one's rounding. The
// normalised value is (z - upper half of the mean) * scale + (shift - lower half * scale). Sums are
// in a fixed order: same input, same bits.
//
// Of GemmArgs: x is z (FP32, rows aligned to 16 bytes), y, block_input, strides, m, n, epilogue.
// The epilogue begins with (z + column 0) * column 1 + column 2, and these three are filled in here
// rather than read.
// Grid: [ceil(n / kCtaColumns)]; 256 threads; m * kCtaColumns * 4 bytes of dynamic shared
// memory.
//
// Config: kIn (of block_input), kOut (of y), kCtaColumns (8 or 16).
#pragma once

#include "kernels/cuda/device/block_input.cuh"
#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/norm/norm_operand.cuh"
#include "kernels/cuda/device/norm/statistics_args.cuh"
#include "kernels/cuda/device/ptx/programmatic_launch.cuh"

namespace mlpserve::cuda {

using Out = Stored<Config::kOut>;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kVector = 4;  // columns of a thread
constexpr int kVectors = Config::kCtaColumns / kVector;
constexpr int kRowsAtOnce = kThreads / kVectors;
constexpr int kInFlight = 4;  // rows that a thread loads before it uses the first

static_assert(32 % kVectors == 0, "the threads of a column are the same in each warp");

struct Place {
  int row = threadIdx.x / kVectors;     // the first of the thread's rows
  int vector = threadIdx.x % kVectors;  // its columns within the CTA
  int column = blockIdx.x * Config::kCtaColumns + vector * kVector;
};

// The sums over all threads that have the same columns.
__device__ __forceinline__ void SumOverRows(float (&values)[kVector], const Place& place) {
  __shared__ float parts[kWarps][Config::kCtaColumns];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
#pragma unroll
    for (int mask = kVectors; mask < 32; mask *= 2) {
      values[i] += __shfl_xor_sync(0xffffffffu, values[i], mask);
    }
    if (threadIdx.x % 32 < kVectors)
      parts[threadIdx.x / 32][place.vector * kVector + i] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    values[i] = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      values[i] += parts[warp][place.vector * kVector + i];
    }
  }
  __syncthreads();
}

// Copies the thread's values to shared memory; their sums.
__device__ __forceinline__ void LoadColumns(const GemmArgs& args, const Place& place, float4* held,
                                            float (&sums)[kVector]) {
  const float* z = static_cast<const float*>(args.x) + place.column;
  for (int first = place.row; first < args.m; first += kInFlight * kRowsAtOnce) {
    float4 loaded[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int row = first + i * kRowsAtOnce;
      loaded[i] = row < args.m && place.column < args.n
                      ? *reinterpret_cast<const float4*>(z + row * args.x_stride)
                      : float4{0, 0, 0, 0};
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int row = first + i * kRowsAtOnce;
      if (row < args.m) held[row * kVectors + place.vector] = loaded[i];
      sums[0] += loaded[i].x;
      sums[1] += loaded[i].y;
      sums[2] += loaded[i].z;
      sums[3] += loaded[i].w;
    }
  }
}

// The epilogue's operands of the thread's columns, statistics included.
struct Columns {
  Epilogue::Column of[kVector];
};

__device__ __forceinline__ Columns Statistics(const GemmArgs& args,
                                              const StatisticsArgs& statistics, const Place& place,
                                              const float4* held, const float (&sums)[kVector]) {
  float mean[kVector];
  float rest[kVector] = {};
  float squares[kVector] = {};
#pragma unroll
  for (int i = 0; i < kVector; ++i) mean[i] = sums[i] / args.m;
  for (int row = place.row; row < args.m; row += kRowsAtOnce) {
    const float4 z = held[row * kVectors + place.vector];
    const float deviations[kVector] = {z.x - mean[0], z.y - mean[1], z.z - mean[2], z.w - mean[3]};
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      rest[i] += deviations[i];
      squares[i] = fmaf(deviations[i], deviations[i], squares[i]);
    }
  }
  SumOverRows(rest, place);
  SumOverRows(squares, place);
  Columns columns;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const int column = min(place.column + i, args.n - 1);
    const float lower = rest[i] / args.m;
    const float variance = MaxNan(fmaf(-lower, rest[i], squares[i]), 0.0f) / args.m;
    const NormColumn norm = NormOf(statistics, column, mean[i], lower,
                                   sqrtf(variance + static_cast<float>(statistics.eps)));
    columns.of[i] = Epilogue::Load(args.epilogue, column);
    columns.of[i].c[0] = norm.before;
    columns.of[i].c[1] = norm.scale;
    columns.of[i].c[2] = norm.after;
  }
  return columns;
}

// Stores up to four neighbours of a row, in one piece where y is aligned for it.
template <typename T>
__device__ __forceinline__ void StoreVector(T* p, int count, const float (&y)[kVector]) {
  if (count >= kVector && reinterpret_cast<uint64_t>(p) % (kVector * sizeof(T)) == 0) {
    if constexpr (sizeof(T) == 2) {
      *reinterpret_cast<uint2*>(p) = {Pack<T>(y[0], y[1]), Pack<T>(y[2], y[3])};
    } else {
      *reinterpret_cast<float4*>(p) = {y[0], y[1], y[2], y[3]};
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    if (i < count) p[i] = FromFloat<T>(y[i]);
  }
}

__device__ __forceinline__ void StoreRow(const GemmArgs& args, int row, const Place& place,
                                         const Columns& columns, const float4& held) {
  const float z[kVector] = {held.x, held.y, held.z, held.w};
  float y[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    y[i] = Epilogue::Apply(z[i], columns.of[i], BlockInput<Epilogue>(args, row, place.column + i));
  }
  StoreVector(static_cast<Out*>(args.y) + row * args.y_stride + place.column, args.n - place.column,
              y);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    mlpserve_batch_norm(const __grid_constant__ GemmArgs args,
                        const __grid_constant__ StatisticsArgs statistics) {
  extern __shared__ float4 held[];
  WaitForPreviousKernel();
  const Place place;
  float sums[kVector] = {};
  LoadColumns(args, place, held, sums);
  SumOverRows(sums, place);
  const Columns columns = Statistics(args, statistics, place, held, sums);
  if (place.column >= args.n) return;
  for (int row = place.row; row < args.m; row += kRowsAtOnce) {
    StoreRow(args, row, place, columns, held[row * kVectors + place.vector]);
  }
}

}  // namespace mlpserve::cuda
