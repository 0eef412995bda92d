// y = epilogue(x·wᵀ) with FP32 products and sums, for sm_80 and up: strict FP32 where there are no
// three-term TF32 products, and few rows. Any m, n and k at least 1, rows of x and w at multiples
// of 16 bytes (GemmArgs).
// Grid: [tiles of y, split_k]; kThreads threads; kStages * kStageBytes of dynamic shared memory.
//
// Both operands are rows of k and stay so in shared memory: cp.async brings 16-byte chunks of four
// values, and a thread multiplies its rows' chunks with its columns' chunks, so that 16 bytes are
// read at a time without transposing anything. Neighbouring threads read neighbouring rows of
// shared memory, in which a row lies where its thread reads it: the i-th of a thread's neighbouring
// rows (or columns) of the matrix is row i·threads + thread. Chunk c of a row is stored at
// c ^ phase(row), with phases such that rows read at a time lie in different banks.
// The last stage of k, which alone may be ragged, comes first, so that the loop checks no bounds.
// Rows beyond a matrix are not copied; what is computed of them is never stored.
//
// Config: kTileM, kTileN, kTileK (of one stage), kThreadsM, kThreadsN, kThreadsK (threads that
// share an output, each with its chunks of every stage), kStages, kCtasPerSm.
#pragma once

#include "kernels/cuda/device/mma/split_k.cuh"
#include "kernels/cuda/device/mma/tile_output.cuh"
#include "kernels/cuda/device/ptx/async_copy.cuh"
#include "kernels/cuda/device/ptx/shared_memory.cuh"

namespace mlpserve::cuda {

constexpr int kGroupThreads = Config::kThreadsM * Config::kThreadsN;  // one to an output
constexpr int kThreads = kGroupThreads * Config::kThreadsK;
constexpr int kRows = Config::kTileM / Config::kThreadsM;  // of y, per thread
constexpr int kColumns = Config::kTileN / Config::kThreadsN;
constexpr int kOwnRows = kRows / Config::kThreadsK;  // that a thread finishes

constexpr int kChunk = 4;  // values of 16 bytes
constexpr int kChunks = Config::kTileK / kChunk;
constexpr int kRowsPerPass = kThreads / kChunks;  // rows that all threads copy at once
constexpr int kValueBytes = static_cast<int>(sizeof(float));
constexpr int kRowBytes = Config::kTileK * kValueBytes;
constexpr int kStageBytes = (Config::kTileM + Config::kTileN) * kRowBytes;

// Of a warp: 4 x 8 threads. Of two lanes next to each other both read the same row of x, of two
// lanes two apart the same row of w: then one load of 16 bytes takes two cycles, not four.
constexpr int kLanesM = 4;
constexpr int kLanesN = 8;
constexpr int kWarpsM = Config::kThreadsM / kLanesM;
constexpr int kWarpsN = Config::kThreadsN / kLanesN;

static_assert(Config::kIn == Type::kFp32, "this kernel multiplies FP32 values only");
static_assert(Config::kThreadsM % kLanesM == 0 && Config::kThreadsN % kLanesN == 0,
              "a warp has 4 x 8 threads");
static_assert(Config::kTileM % Config::kThreadsM == 0, "threads share the rows evenly");
static_assert(Config::kTileN % (Config::kThreadsN * kRun) == 0, "a thread has runs of columns");
static_assert(kRows % Config::kThreadsK == 0, "threads that share outputs finish them evenly");
static_assert(kChunks == 4 || kChunks == 8, "a stage's row is 64 or 128 bytes");
static_assert(kChunks % Config::kThreadsK == 0, "threads share a stage's chunks evenly");
static_assert(Config::kStages >= 2, "one stage is read while another is filled");

// Of a thread, along the three sides of the tile.
struct Place {
  int m, n, k;
};

// Asks for the thread's index anew each time, so that its place takes no registers in between: the
// loop needs them all.
__device__ __forceinline__ Place FindPlace() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  const int lane = thread % 32;
  const int warp = thread / 32;
  return {.m = warp % kWarpsM * kLanesM + lane / 8 % 2 * 2 + lane / 2 % 2,
          .n = warp / kWarpsM % kWarpsN * kLanesN + lane / 16 * 4 + lane / 4 % 2 * 2 + lane % 2,
          .k = warp / (kWarpsM * kWarpsN)};
}

// Of a row's chunk, in bytes from the start of an operand in a stage. The lanes of half a warp,
// which read in one cycle, read four neighbouring rows: as many phases do.
__device__ __forceinline__ int PlaceOf(int row, int chunk) {
  const int phase = kChunks == 8 ? row % 4 : row % 4 / 2;
  return row * kRowBytes + (chunk ^ phase) * 16;
}

// How this thread copies one operand, of which kAlong threads multiply kEach rows each: a chunk of
// every kRowsPerPass-th row in shared memory.
template <int kAlong, int kEach>
struct Operand {
  static constexpr int kPasses = (kAlong * kEach + kRowsPerPass - 1) / kRowsPerPass;
  static constexpr int kPassRows = kRowsPerPass / kAlong;  // of the matrix

  static_assert(kPasses == 1 || kAlong * kEach % kRowsPerPass == 0, "all passes but one are full");
  static_assert(kRowsPerPass % kAlong == 0, "a thread copies rows that are at one distance");

  // `first`, of `all` rows, is the tile's first one.
  __device__ __forceinline__ Operand(const void* matrix, int64_t stride, int first, int all,
                                     int k_begin) {
    const int row = threadIdx.x / kChunks;  // in shared memory
    const int from_row = first + row % kAlong * kEach + row / kAlong;
    const int64_t stride_bytes = stride * kValueBytes;
    from = static_cast<const char*>(matrix) + from_row * stride_bytes +
           static_cast<int64_t>(k_begin) * kValueBytes + threadIdx.x % kChunks * 16;
    pass_bytes = stride_bytes * kPassRows;
    rows = row < kAlong * kEach ? all - from_row : 0;
  }

  // Copies `bytes` of the chunk, `ahead` bytes of k further on, of each of the thread's rows that
  // exist; of the first one to `to`.
  __device__ __forceinline__ void Copy(uint32_t to, int ahead, int bytes) const {
    const char* p = from + ahead;
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      if (pass * kPassRows < rows) CopyChunk(to + pass * (kRowsPerPass * kRowBytes), p, bytes);
      p += pass_bytes;
    }
  }

  const char* from;  // chunk of the first row
  int64_t pass_bytes;
  int rows;  // that exist, from its first one on
};

__device__ __forceinline__ void LoadChunk(float (&values)[kChunk], uint32_t address) {
  const float4 v = LoadSharedFour(address);
  values[0] = v.x;
  values[1] = v.y;
  values[2] = v.z;
  values[3] = v.w;
}

// Adds the products of a stage. `x` and `w` are the addresses in it of this thread's first chunks
// of its first row and of its first column.
__device__ __forceinline__ void MultiplyStage(uint32_t x, uint32_t w,
                                              float (&sums)[kRows][kColumns]) {
#pragma unroll
  for (int chunk = 0; chunk < kChunks; chunk += Config::kThreadsK) {
    // Rows lie at multiples of their length, so the chunk's place in each of them is an XOR away.
    const uint32_t x_chunk = x ^ chunk * 16;
    const uint32_t w_chunk = w ^ chunk * 16;
    float rows[kRows][kChunk];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      LoadChunk(rows[i], x_chunk + i * (Config::kThreadsM * kRowBytes));
    }
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      float column[kChunk];
      LoadChunk(column, w_chunk + j * (Config::kThreadsN * kRowBytes));
#pragma unroll
      for (int v = 0; v < kChunk; ++v) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) sums[i][j] = fmaf(rows[i][v], column[v], sums[i][j]);
      }
    }
  }
}

// The products of this CTA's part of k; of it, those of this thread's chunks.
__device__ __forceinline__ void MultiplyTile(const GemmArgs& args, const TileWork& work,
                                             const Place& place, uint32_t ring,
                                             float (&sums)[kRows][kColumns]) {
  constexpr int kStages = Config::kStages;
  constexpr int kBytesX = Config::kTileM * kRowBytes;
  using OperandX = Operand<Config::kThreadsM, kRows>;
  using OperandW = Operand<Config::kThreadsN, kColumns>;
  const OperandX x(args.x, args.x_stride, work.row, args.m, work.k_begin);
  const OperandW w(args.w, args.w_stride, work.column, args.n, work.k_begin);
  const auto copy = [&](uint32_t to, int ahead, int bytes) {
    x.Copy(to, ahead, bytes);
    w.Copy(to + kBytesX, ahead, bytes);
  };
  const auto next = [](uint32_t stage) {
    return stage == (kStages - 1) * kStageBytes ? 0 : stage + kStageBytes;
  };
  const int depth_bytes = (work.k_end - work.k_begin) * kValueBytes;
  int left = (depth_bytes + kRowBytes - 1) / kRowBytes;  // stages to multiply
  if (left == 0) return;
  const int chunk = threadIdx.x % kChunks;
  const uint32_t to = ring + PlaceOf(threadIdx.x / kChunks, chunk);
  const int last = (left - 1) * kRowBytes;
  copy(to, last, max(0, min(16, depth_bytes - last - chunk * 16)));
  CommitCopies();
  int ahead = 0;  // bytes of k from k_begin to the next stage to copy
#pragma unroll
  for (int stage = 1; stage < kStages - 1; ++stage) {
    if (stage < left) copy(to + stage * kStageBytes, ahead, 16);
    CommitCopies();
    ahead += kRowBytes;
  }
  const uint32_t x_place = ring + PlaceOf(place.m, place.k);
  const uint32_t w_place = ring + kBytesX + PlaceOf(place.n, place.k);
  uint32_t read = 0;  // stages, in bytes from the ring's start
  uint32_t write = (kStages - 1) * kStageBytes;
  for (; left > 0; --left) {
    WaitForCopies<kStages - 2>();
    __syncthreads();
    if (left >= kStages) copy(to + write, ahead, 16);
    CommitCopies();
    MultiplyStage(x_place + read, w_place + read, sums);
    ahead += kRowBytes;
    write = read;
    read = next(read);
  }
}

// Adds up what the threads that share outputs have of them, by way of the ring. Each of them then
// has the sums of kOwnRows of its rows, from row place.k * kOwnRows on, in sums[0 ... kOwnRows -
// 1].
__device__ __forceinline__ void SumGroups(const Place& place, float* shared,
                                          float (&sums)[kRows][kColumns]) {
  static_assert(kThreads * kRows * kColumns * kValueBytes <= Config::kStages * kStageBytes ||
                    Config::kThreadsK == 1,
                "sums take the ring's place");
  const int thread = threadIdx.x % kGroupThreads;
  const auto at = [&](int group, int i, int j) {  // [group][row][column / 4][thread][4]
    const int four = (group * kRows + i) * (kColumns / 4) + j / 4;
    return shared + (four * kGroupThreads + thread) * 4;
  };
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; j += 4) {
      float* to = at(place.k, i, j);
#pragma unroll
      for (int v = 0; v < 4; ++v) to[v] = sums[i][j + v];
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kOwnRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) sums[i][j] = 0.0f;
#pragma unroll
    for (int group = 0; group < Config::kThreadsK; ++group) {
#pragma unroll
      for (int j = 0; j < kColumns; j += 4) {
        const float* part = at(group, place.k * kOwnRows + i, j);
#pragma unroll
        for (int v = 0; v < 4; ++v) sums[i][j + v] += part[v];
      }
    }
  }
}

__device__ __forceinline__ void FinishTile(const GemmArgs& args, const TileWork& work,
                                           const Place& place,
                                           const float (&sums)[kRows][kColumns]) {
  const int row = work.row + place.m * kRows + place.k * kOwnRows;
#pragma unroll
  for (int j = 0; j < kColumns; j += kRun) {
    const int column = work.column + place.n * kColumns + j;
    if (column >= args.n) break;
    const RunColumns columns = LoadColumns(args.epilogue, column);
#pragma unroll
    for (int i = 0; i < kOwnRows; ++i) {
      float z[kRun];
#pragma unroll
      for (int v = 0; v < kRun; ++v) z[v] = sums[i][j + v];
      if (row + i < args.m) FinishRun(args, row + i, column, columns, z);
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, Config::kCtasPerSm)
    mlpserve_gemm(const __grid_constant__ GemmArgs args) {
  extern __shared__ __align__(128) float shared[];
  const TileWork work = FindWork<Config::kTileM, Config::kTileN, Config::kTileK>(args);
  float sums[kRows][kColumns] = {};
  MultiplyTile(args, work, FindPlace(), SharedAddress(shared), sums);
  const Place place = FindPlace();
  if constexpr (Config::kThreadsK > 1) SumGroups(place, shared, sums);
  constexpr int kOwnValues = kOwnRows * kColumns;
  if (!SumSplits<kThreads>(args, work.tile, reinterpret_cast<float(&)[kOwnValues]>(sums))) return;
  FinishTile(args, work, place, sums);
}

}  // namespace mlpserve::cuda
