// What the main loops of mma.sync and FFMA do with finished sums: the epilogue over eight
// neighbouring values of a row, and one store of them.
#pragma once

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/ptx/global_memory.cuh"

namespace mlpserve::cuda {

constexpr int kRun = 8;  // values of one row that a thread finishes together

using In = Stored<Config::kIn>;
using Out = Stored<Config::kOut>;

// The operands of kRun columns. Loaded once per tile, used for each of the tile's rows.
struct RunColumns {
  Epilogue::Column at[kRun];
};

// `column` is a multiple of kRun below n, so that vectors padded to a multiple of 8 cover the run.
__device__ __forceinline__ RunColumns LoadColumns(const EpilogueArgs& args, int column) {
  RunColumns columns;
#pragma unroll
  for (int i = 0; i < kRun; ++i) columns.at[i] = Epilogue::Load(args, column + i);
  return columns;
}

// Whether each run of a matrix starts at a multiple of 16 bytes.
template <typename T>
__device__ __forceinline__ bool RunsAreAligned(const void* base, int64_t stride) {
  const uint64_t bytes = reinterpret_cast<uint64_t>(base) | stride * sizeof(T);
  return bytes % 16 == 0;
}

__device__ __forceinline__ void Unpack(const Words& v, Bf16 (&values)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i].bits = static_cast<uint16_t>(v.word[i / 2] >> i % 2 * 16);
}

__device__ __forceinline__ void Unpack(const Words& v, Fp16 (&values)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i].bits = static_cast<uint16_t>(v.word[i / 2] >> i % 2 * 16);
}

__device__ __forceinline__ void Unpack(const Words& v, float (&values)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) values[i] = __uint_as_float(v.word[i]);
}

// Values of a row from `p` on, of which the first `count` exist: zero beyond, where no result is
// stored. `whole`: all kRun do, and begin at a multiple of 16 bytes.
template <typename T>
__device__ __forceinline__ void LoadRun(const T* p, bool whole, int count, float (&values)[kRun]) {
  if (whole) {
    constexpr int kPerLoad = 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < kRun; i += kPerLoad) {
      T part[kPerLoad];
      Unpack(Load16Bytes(p + i), part);
#pragma unroll
      for (int j = 0; j < kPerLoad; ++j) values[i + j] = ToFloat(part[j]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i) values[i] = i < count ? ToFloat(p[i]) : 0.0f;
}

// The block's input at a run.
__device__ __forceinline__ void LoadInput(const GemmArgs& args, int row, int column,
                                          float (&x)[kRun]) {
  const In* p = static_cast<const In*>(args.block_input) + row * args.block_input_stride + column;
  const bool whole =
      column + kRun <= args.n && RunsAreAligned<In>(args.block_input, args.block_input_stride);
  LoadRun(p, whole, args.n - column, x);
}

__device__ __forceinline__ void StoreAligned(float* p, const float (&y)[kRun]) {
#pragma unroll
  for (int i = 0; i < kRun; i += 4) {
    Store16Bytes(p + i, {{__float_as_uint(y[i]), __float_as_uint(y[i + 1]),
                          __float_as_uint(y[i + 2]), __float_as_uint(y[i + 3])}});
  }
}

template <typename T>
__device__ __forceinline__ void StoreAligned(T* p, const float (&y)[kRun]) {
  Store16Bytes(
      p, {{Pack<T>(y[0], y[1]), Pack<T>(y[2], y[3]), Pack<T>(y[4], y[5]), Pack<T>(y[6], y[7])}});
}

// Stores epilogue(z) at y[row][column ...]. Row and first column lie inside y; the run may end
// beyond its last column.
__device__ __forceinline__ void FinishRun(const GemmArgs& args, int row, int column,
                                          const RunColumns& columns, const float (&z)[kRun]) {
  float x[kRun] = {};
  if constexpr (Epilogue::kUsesInput) LoadInput(args, row, column, x);
  float y[kRun];
#pragma unroll
  for (int i = 0; i < kRun; ++i) y[i] = Epilogue::Apply(z[i], columns.at[i], x[i]);
  Out* p = static_cast<Out*>(args.y) + row * args.y_stride + column;
  if (column + kRun <= args.n && RunsAreAligned<Out>(args.y, args.y_stride)) {
    StoreAligned(p, y);
    return;
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (column + i < args.n) p[i] = FromFloat<Out>(y[i]);
  }
}

}  // namespace mlpserve::cuda
