// y = epilogue(x·wᵀ) for few rows on sm_90a, where the time is that of reading w: the rows of w are
// wgmma's wide operand and the batch its narrow one, so that no product is wasted on padding.
//
//   A CTA has kTileRows rows of w (64 for each consumer warpgroup) and kBatch rows of x, and
//   streams w through a deep ring of stages, 128 · kSlabsPerStage bytes of k in each.
//   A cluster is kShare · kSplitK CTAs. kShare neighbours along n read the same x: each brings a
//   part and multicasts it. kSplitK CTAs have parts of k: their sums meet in shared memory, are
//   added in the order of k whatever finished first, and pass the epilogue once.
//   w is fetched before the kernel waits for the one before it, x after.
//
// Config: kIn, kOut, kTerms, kTileRows, kBatch, kStages, kSlabsPerStage, kPrefetchStages, kShare,
// kSplitK; wgmma_launch.h says the launch that fits. Any m (a grid row for each kBatch rows), n and
// k.
#pragma once

#include "kernels/cuda/device/block_input.cuh"
#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/prelude.cuh"
#include "kernels/cuda/device/ptx/hopper.cuh"
#include "kernels/cuda/device/ptx/primitives.cuh"
#include "kernels/cuda/device/ptx/wgmma_instruction.cuh"
#include "kernels/cuda/device/tf32/tf32_terms.cuh"
#include "kernels/cuda/device/wgmma/ring_cursor.cuh"

namespace mlpserve::cuda {

using In = Stored<Config::kIn>;
using Out = Stored<Config::kOut>;

constexpr int kRowBytes = 128;  // of k in a slab of a stage: one swizzled row
constexpr int kSlabK = kRowBytes / sizeof(In);
constexpr int kStageK = kSlabK * Config::kSlabsPerStage;
constexpr int kStepBytes = 32;  // of k in one wgmma
constexpr int kWgmmaRows = 64;
constexpr int kConsumers = Config::kTileRows / kWgmmaRows;
constexpr int kConsumerThreads = kConsumers * 128;
constexpr int kThreads = kConsumerThreads + 32;  // the last warp is the producer
constexpr int kClusterCtas = Config::kShare * Config::kSplitK;
constexpr int kAccumulators = Config::kBatch / 2;  // of a thread
// Stages that FP32 leaves to the tensor cores to add up.
constexpr int kRunStages = Config::kSlabsPerStage < 6 ? 6 / Config::kSlabsPerStage : 1;

constexpr int kWBytes = Config::kTileRows * kRowBytes;  // of a slab of a stage
constexpr int kXBytes = Config::kBatch * kRowBytes;
constexpr int kStageBytes = (kWBytes + kXBytes) * Config::kSlabsPerStage;
constexpr int kBarrierOffset = Config::kStages * kStageBytes;
constexpr int kSharedBytes = kBarrierOffset + 2 * Config::kStages * 8;

// Sums in shared memory, [kBatch][kTileRows] with rows padded against bank conflicts.
constexpr int kSumsStride = Config::kTileRows + 4;
constexpr int kVector = 4;  // columns of y that a thread finishes at a time
constexpr int kVectors = Config::kTileRows / kVector;
constexpr int kBatchPart = Config::kBatch / Config::kSplitK;  // rows of y that a CTA finishes

static_assert(sizeof(In) == 2 || Config::kIn == Type::kTf32, "wgmma has no FP32 operands");
static_assert(Config::kTileRows % kWgmmaRows == 0, "each warpgroup has 64 rows of w");
static_assert(Config::kBatch / Config::kShare % 8 == 0,
              "what a CTA multicasts is whole swizzle groups of 8 rows");
static_assert(Config::kBatch % Config::kSplitK == 0,
              "CTAs that share a sum finish equal parts of its rows");
static_assert(Config::kTerms == 1 || Config::kBatch <= 128, "FP32 needs two sets of accumulators");
static_assert(kClusterCtas <= 8, "larger clusters are not portable");
static_assert(Config::kBatch * kSumsStride * sizeof(float) <= kBarrierOffset,
              "the sums do not fit into the ring's memory: more stages");
static_assert(kSharedBytes <= 227 * 1024, "the ring does not fit: fewer stages");

// Addresses of the CTA's shared memory.
struct Shared {
  uint32_t base;

  __device__ __forceinline__ uint32_t W(int stage, int slab) const {
    return base + stage * kStageBytes + slab * kWBytes;
  }
  __device__ __forceinline__ uint32_t X(int stage, int slab) const {
    return W(stage, Config::kSlabsPerStage) + slab * kXBytes;
  }
  __device__ __forceinline__ uint32_t Full(int stage) const {
    return base + kBarrierOffset + stage * 16;
  }
  __device__ __forceinline__ uint32_t Empty(int stage) const { return Full(stage) + 8; }
};

// What part of the product a CTA has. Ranks in a cluster: share + kShare * split.
struct Part {
  uint32_t share, split;
  int first_column;            // of y: a row of w
  int first_row;               // of y and x
  int first_stage, end_stage;  // of k, in units of kStageK

  __device__ __forceinline__ Part(const GemmArgs& args, uint32_t rank)
      : share(rank % Config::kShare), split(rank / Config::kShare) {
    const int cluster = blockIdx.x / kClusterCtas;
    first_column = (cluster * Config::kShare + share) * Config::kTileRows;
    first_row = blockIdx.y * Config::kBatch;
    const int stages = (ProductColumns(args) + kStageK - 1) / kStageK;
    first_stage = static_cast<int64_t>(stages) * split / Config::kSplitK;
    end_stage = static_cast<int64_t>(stages) * (split + 1) / Config::kSplitK;
  }
  __device__ __forceinline__ int stages() const { return end_stage - first_stage; }
};

// ---- producer -----------------------------------------------------------------------------------

__device__ __forceinline__ int ColumnOfSlab(int stage, int slab) {
  return stage * kStageK + slab * kSlabK;
}

__device__ __forceinline__ void LoadW(const GemmArgs& args, const TensorMap& map, Shared shared,
                                      const Part& part, int slot, int stage) {
#pragma unroll
  for (int slab = 0; slab < Config::kSlabsPerStage; slab++) {
    LoadBox(map, shared.W(slot, slab), shared.Full(slot),
            ColumnOfW(args, ColumnOfSlab(stage, slab)), part.first_column, kEvictFirst);
  }
}

// Brings w to L2, to keep memory busy while the kernel waits.
__device__ __forceinline__ void PrefetchW(const GemmArgs& args, const TensorMap& map,
                                          const Part& part, int stage) {
#pragma unroll
  for (int slab = 0; slab < Config::kSlabsPerStage; slab++) {
    PrefetchBox(map, ColumnOfW(args, ColumnOfSlab(stage, slab)), part.first_column);
  }
}

// This CTA's rows of x, for every CTA that shares them.
__device__ __forceinline__ void LoadX(const GemmArgs& args, const TensorMap& map, Shared shared,
                                      const Part& part, int slot, int stage) {
  constexpr int kRows = Config::kBatch / Config::kShare;
  const int first_row = part.first_row + part.share * kRows;
#pragma unroll
  for (int slab = 0; slab < Config::kSlabsPerStage; slab++) {
    const uint32_t to = shared.X(slot, slab) + part.share * kRows * kRowBytes;
    const int column = ColumnOfX(args, ColumnOfSlab(stage, slab));
    if constexpr (Config::kShare == 1) {
      LoadBox(map, to, shared.Full(slot), column, first_row, kEvictLast);
    } else {
      const uint16_t ranks = ((1 << Config::kShare) - 1) << (part.split * Config::kShare);
      LoadBoxTo(ranks, map, to, shared.Full(slot), column, first_row, kEvictLast);
    }
  }
}

// One thread. The first round of w does not wait for the kernel before this one: w is no result.
__device__ __forceinline__ void Produce(const GemmArgs& args, const TensorMap& x_map,
                                        const TensorMap& w_map, Shared shared, const Part& part) {
  const int first_round = min(part.stages(), Config::kStages);
  for (int i = 0; i < first_round; i++) {
    ArriveExpectingBytes(shared.Full(i), kStageBytes);
    LoadW(args, w_map, shared, part, i, part.first_stage + i);
  }
  for (int i = first_round; i < min(part.stages(), Config::kStages + Config::kPrefetchStages);
       i++) {
    PrefetchW(args, w_map, part, part.first_stage + i);
  }
  WaitForPreviousKernel();
  for (int i = 0; i < first_round; i++) {
    LoadX(args, x_map, shared, part, i, part.first_stage + i);
  }
  Cursor at;
  for (int stage = part.first_stage + Config::kStages; stage < part.end_stage; stage++) {
    Wait(shared.Empty(at.stage), at.parity);
    ArriveExpectingBytes(shared.Full(at.stage), kStageBytes);
    LoadW(args, w_map, shared, part, at.stage, stage);
    LoadX(args, x_map, shared, part, at.stage, stage);
    at.Advance();
  }
}

// ---- consumers ----------------------------------------------------------------------------------

// Tells every CTA that brings a part of this one's x that this warpgroup is done with a stage.
__device__ __forceinline__ void Release(Shared shared, const Part& part, int slot, int thread) {
  if (thread < Config::kShare) {
    ArriveAtRank(shared.Empty(slot), part.split * Config::kShare + thread);
  }
}

// This warpgroup's 64 rows of w times the batch, over the next `stages` stages. A stage is released
// only where the ring comes round to it again in the `left` that the CTA still has: so no CTA's
// barrier is touched after it has left.
__device__ __forceinline__ void Multiply(float (&sums)[kAccumulators], Shared shared,
                                         const Part& part, Cursor& at, int stages, int left,
                                         int consumer, int thread) {
  int previous = 0;
  for (int i = 0; i < stages; i++) {
    Wait(shared.Full(at.stage), at.parity);
    BeginWgmma();
#pragma unroll
    for (int slab = 0; slab < Config::kSlabsPerStage; slab++) {
      const uint64_t w =
          MatrixDescriptor(shared.W(at.stage, slab) + consumer * kWgmmaRows * kRowBytes);
      const uint64_t x = MatrixDescriptor(shared.X(at.stage, slab));
#pragma unroll
      for (int step = 0; step < kRowBytes / kStepBytes; step++) {
        Wgmma<Config::kIn, Config::kBatch>::Run(sums, w + (step * kStepBytes >> 4),
                                                x + (step * kStepBytes >> 4), i + slab + step > 0);
      }
    }
    CommitWgmma();
    if (i > 0) {
      WaitWgmma<1>();
      if (i - 1 + Config::kStages < left) Release(shared, part, previous, thread);
    }
    previous = at.stage;
    at.Advance();
  }
  WaitWgmma<0>();
  FenceAccumulators(sums);
  if (stages - 1 + Config::kStages < left) Release(shared, part, previous, thread);
}

// The CTA's whole part of k, which may be empty. FP32: tensor cores cut off what does not fit
// below a large sum, so that long sums drift; short runs of them are added here, rounding to
// nearest.
__device__ __forceinline__ void MultiplyAll(float (&sums)[kAccumulators], Shared shared,
                                            const Part& part, int consumer, int thread) {
  Cursor at;
  if (Config::kTerms == 1 && part.stages() > 0) {
    Multiply(sums, shared, part, at, part.stages(), part.stages(), consumer, thread);
    return;
  }
#pragma unroll
  for (int i = 0; i < kAccumulators; i++) sums[i] = 0;
  if constexpr (Config::kTerms > 1) {
    for (int done = 0; done < part.stages(); done += kRunStages) {
      float run[kAccumulators];
      Multiply(run, shared, part, at, min(kRunStages, part.stages() - done), part.stages() - done,
               consumer, thread);
#pragma unroll
      for (int i = 0; i < kAccumulators; i++) sums[i] += run[i];
    }
  }
}

// Lays the accumulators out as rows of y, over the ring, which nothing reads or fills any more.
__device__ __forceinline__ void StageSums(const float (&sums)[kAccumulators], float* staged,
                                          int consumer, int thread) {
  const int row = consumer * kWgmmaRows + thread / 32 * 16 + thread % 32 / 4;
#pragma unroll
  for (int i = 0; i < kAccumulators; i++) {
    const int batch = i / 4 * 8 + thread % 4 * 2 + i % 2;
    staged[batch * kSumsStride + row + i % 4 / 2 * 8] = sums[i];
  }
}

// Part `split` of the sum of four neighbours.
__device__ __forceinline__ float4 LoadPart(uint32_t staged, const Part& part, int split, int batch,
                                           int vector) {
  const uint32_t at = staged + (batch * kSumsStride + vector * kVector) * sizeof(float);
  if constexpr (Config::kSplitK == 1) {
    return LoadSharedFour(at);
  } else {
    return LoadAtRank(AddressAtRank(at, part.share + split * Config::kShare));
  }
}

// Stores up to four neighbours of a row, in one piece where y is aligned for it.
template <typename T>
__device__ __forceinline__ void Store(const GemmArgs& args, int row, int column,
                                      const float (&v)[kVector]) {
  T* y = static_cast<T*>(args.y) + row * args.y_stride + column;
  constexpr int kBytes = kVector * sizeof(T);
  if (column + kVector <= args.n && reinterpret_cast<uint64_t>(y) % kBytes == 0) {
    if constexpr (sizeof(T) == 2) {
      *reinterpret_cast<uint2*>(y) = {Pack<T>(v[0], v[1]), Pack<T>(v[2], v[3])};
    } else {
      *reinterpret_cast<float4*>(y) = {v[0], v[1], v[2], v[3]};
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kVector; i++) {
    if (column + i < args.n) y[i] = FromFloat<T>(v[i]);
  }
}

// The epilogue's operands of a thread's four columns, which stay its columns throughout.
struct Columns {
  Epilogue::Column of[kVector];

  __device__ __forceinline__ Columns(const GemmArgs& args, int first_column) {
#pragma unroll
    for (int i = 0; i < kVector; i++) {
      of[i] = Epilogue::Load(args.epilogue, min(first_column + i, args.n - 1));
    }
  }
};

// Adds the parts of k, in the order of k, and finishes this CTA's rows of y.
__device__ __forceinline__ void Finish(const GemmArgs& args, const Columns& columns,
                                       uint32_t staged, const Part& part, int thread) {
  static_assert(kConsumerThreads % kVectors == 0, "a thread's columns change from row to row");
  constexpr int kRowsAtOnce = kConsumerThreads / kVectors;
  constexpr int kTurns = (kBatchPart + kRowsAtOnce - 1) / kRowsAtOnce;
  constexpr int kUnroll = kTurns < 4 ? kTurns : 4;  // turns whose loads are in flight together
  const int vector = thread % kVectors;
  const int column = part.first_column + vector * kVector;
  if (column >= args.n) return;
  const int first = thread / kVectors;
#pragma unroll 1
  for (int turn = 0; turn < kTurns; turn += kUnroll) {
    if (part.first_row + part.split * kBatchPart + turn * kRowsAtOnce + first >= args.m) return;
    float4 sums[kUnroll][Config::kSplitK];
#pragma unroll
    for (int i = 0; i < kUnroll; i++) {
      const int batch =
          part.split * kBatchPart + min((turn + i) * kRowsAtOnce + first, kBatchPart - 1);
#pragma unroll
      for (int split = 0; split < Config::kSplitK; split++) {
        sums[i][split] = LoadPart(staged, part, split, batch, vector);
      }
    }
#pragma unroll
    for (int i = 0; i < kUnroll; i++) {
      const int batch = (turn + i) * kRowsAtOnce + first;
      const int row = part.first_row + part.split * kBatchPart + batch;
      if (batch >= kBatchPart || row >= args.m) return;
      float4 sum = sums[i][0];
#pragma unroll
      for (int split = 1; split < Config::kSplitK; split++) {
        const float4 v = sums[i][split];
        sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
      }
      float v[kVector] = {sum.x, sum.y, sum.z, sum.w};
      const float factor = RowFactor(args, row);
#pragma unroll
      for (int j = 0; j < kVector; j++) {
        if constexpr (Config::kTerms > 1) v[j] *= factor;
        v[j] = Epilogue::Apply(v[j], columns.of[j], BlockInput<Epilogue>(args, row, column + j));
      }
      Store<Out>(args, row, column, v);
    }
  }
}

// ---- the kernel ---------------------------------------------------------------------------------

__device__ __forceinline__ void SyncCluster() {
  if constexpr (kClusterCtas > 1) {
    ClusterArrive();
    ClusterWait();
  } else {
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 1) __cluster_dims__(kClusterCtas, 1, 1)
    mlpserve_gemm(const __grid_constant__ GemmArgs args, const __grid_constant__ TensorMap x_map,
                  const __grid_constant__ TensorMap w_map, const __grid_constant__ TensorMap) {
  extern __shared__ __align__(1024) uint8_t memory[];
  const Shared shared{SharedAddress(memory)};
  const Part part(args, ClusterRank());
  const int thread = threadIdx.x;
  if (thread == kConsumerThreads) {
    PrefetchMap(w_map);
    PrefetchMap(x_map);
    for (int stage = 0; stage < Config::kStages; stage++) {
      InitBarrier(shared.Full(stage), 1);
      InitBarrier(shared.Empty(stage), kConsumers * Config::kShare);
    }
    FenceBarrierInit();
  }
  SyncCluster();
  LetNextKernelStart();

  if (thread >= kConsumerThreads) {
    if (thread == kConsumerThreads) Produce(args, x_map, w_map, shared, part);
    __syncwarp();
  } else {
    const Columns columns(args, part.first_column + thread % kVectors * kVector);
    float sums[kAccumulators];
    MultiplyAll(sums, shared, part, thread / 128, thread % 128);
    SyncThreads(1, kConsumerThreads);
    StageSums(sums, reinterpret_cast<float*>(memory), thread / 128, thread % 128);
    if constexpr (Config::kSplitK > 1) {
      ClusterArrive();
      ClusterWait();
    } else {
      SyncThreads(1, kConsumerThreads);
    }
    Finish(args, columns, shared.base, part, thread);
  }
  if constexpr (Config::kSplitK > 1) {
    // All threads arrive twice: once when the sums are staged, and once when none reads another
    // CTA's sums any more.
    if (thread >= kConsumerThreads) {
      ClusterArrive();
      ClusterWait();
    }
    ClusterArrive();
    ClusterWait();
  }
}

}  // namespace mlpserve::cuda
