// The products of wgmma kernels for many rows, on sm_90a: a persistent grid, one producer warp that
// feeds a ring of shared-memory stages by tensor copies, and one to three consumer warpgroups that
// multiply out of them with wgmma. wgmma_output.cuh finishes the sums, wgmma_cta.cuh runs it all.
//
//   cooperative (kPingPong = 0): the warpgroups share a tile, each has an equal part of its rows.
//   ping-pong   (kPingPong = 1): two warpgroups have tiles of their own, in turn; one's whole
//     epilogue overlaps the other's main loop. Best where k is short.
//   A cluster of kClusterM x kClusterN CTAs works on neighbouring tiles: what two CTAs both
//   need is read from L2 once and multicast.
//
// Config: kIn, kOut, kTerms, kTileM, kTileN, kConsumers, kStages, kClusterM, kClusterN, kPingPong,
// kGroupM, kStoreBuffers, kStoreByTma, kBeforeColumns; wgmma_launch.h: the launch that
// fits. kTileN is any multiple of 16 up to 256, so that tiles can be cut to fill all
// multiprocessors. Any m, n and k: copies fill with zeros what lies outside, and stores drop it,
// except that a tensor store writes whole 16 bytes (so the padding after a row of y may change).
#pragma once

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

constexpr int kRowBytes = 128;  // of k in a stage, and of y in a store buffer: one swizzled row
constexpr int kTileK = kRowBytes / sizeof(In);
constexpr int kStepBytes = 32;  // of k in one wgmma
constexpr int kWgmmaRows = 64;  // of one wgmma
constexpr int kRunTiles = 6;    // of k that FP32 leaves to the tensor cores to add up
constexpr int kWarpgroupThreads = 128;
constexpr int kConsumers = Config::kConsumers;  // warpgroups
constexpr int kThreads = (kConsumers + 1) * kWarpgroupThreads;
// What the producer's warpgroup leaves to the others. One consumer has all that a thread may have.
constexpr int kProducerRegisters = kConsumers == 3 ? 32 : 40;
constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : 232;

constexpr int kTileRows = Config::kPingPong ? Config::kTileM : Config::kTileM / kConsumers;
constexpr int kFragments = kTileRows / kWgmmaRows;
constexpr int kAccumulators = Config::kTileN / 2;  // of a thread, for each fragment
constexpr int kClusterCtas = Config::kClusterM * Config::kClusterN;

// Of k at the end of a shared tile: the second warpgroup multiplies them when the first has issued
// all of its products, so that these hide the first one's epilogue. Narrow tiles wait longer for
// that than it saves.
constexpr int kHeldTiles =
    kConsumers == 2 && Config::kTerms == 1 && !Config::kPingPong && Config::kTileN >= 128 ? 2 : 0;

constexpr int kXBytes = Config::kTileM * kRowBytes;
constexpr int kWBytes = Config::kTileN * kRowBytes;
constexpr int kStageBytes = kXBytes + kWBytes;
constexpr int kStoreBytes = kWgmmaRows * kRowBytes;
constexpr int kStoreColumns = kRowBytes / sizeof(Out);
constexpr int kColumnVectorBytes = Config::kTileN * static_cast<int>(sizeof(float));
constexpr int kColumnVectors = Epilogue::kColumns + Config::kBeforeColumns;
constexpr int kColumnBytes = kColumnVectors * kColumnVectorBytes;
constexpr int kStoreOffset = Config::kStages * kStageBytes;
constexpr int kColumnOffset = kStoreOffset + kConsumers * Config::kStoreBuffers * kStoreBytes;
constexpr int kBarrierOffset = kColumnOffset + kConsumers * kColumnBytes;
constexpr int kSharedBytes = kBarrierOffset + 2 * Config::kStages * 8;

static_assert(sizeof(In) == 2 || Config::kIn == Type::kTf32, "wgmma has no FP32 operands");
static_assert(kConsumers >= 1 && kConsumers <= 3, "there are registers for three warpgroups");
static_assert(!Config::kPingPong || kConsumers == 2, "two warpgroups take turns");
static_assert(Config::kTileM % (kWgmmaRows * (Config::kPingPong ? 1 : kConsumers)) == 0,
              "each warpgroup needs whole fragments of 64 rows");
static_assert(kFragments * kAccumulators <= (Config::kTerms == 1 ? 192 : 64),
              "more accumulators than a consumer has registers for");
static_assert(Config::kTileN % 16 == 0, "sums are finished 16 columns at a time");
static_assert(Config::kTileM / Config::kClusterN % 8 == 0 &&
                  Config::kTileN / Config::kClusterM % 8 == 0,
              "a multicast slice is whole swizzle groups of 8 rows");
static_assert(
    kHeldTiles < Config::kStages,
    "what the first warpgroup still needs is loaded only when the second has released it");
static_assert(kSharedBytes <= 227 * 1024, "the ring does not fit: fewer stages or store buffers");

// Addresses of the CTA's shared memory.
struct Shared {
  uint32_t base;

  __device__ __forceinline__ uint32_t X(int stage) const { return base + stage * kStageBytes; }
  __device__ __forceinline__ uint32_t W(int stage) const { return X(stage) + kXBytes; }
  __device__ __forceinline__ uint32_t Store(int consumer, int buffer) const {
    return base + kStoreOffset + (consumer * Config::kStoreBuffers + buffer) * kStoreBytes;
  }
  __device__ __forceinline__ uint32_t Column(int consumer, int vector) const {
    return base + kColumnOffset + consumer * kColumnBytes + vector * kColumnVectorBytes;
  }
  __device__ __forceinline__ uint32_t Full(int stage) const {
    return base + kBarrierOffset + stage * 16;
  }
  __device__ __forceinline__ uint32_t Empty(int stage) const { return Full(stage) + 8; }
};

__device__ __forceinline__ int ClusterIndex() { return blockIdx.x / kClusterCtas; }
__device__ __forceinline__ int ClusterCount() { return gridDim.x / kClusterCtas; }

// The order in which clusters take tiles: groups of kGroupM cluster rows (0: of all), in a group
// row by row first, so that what runs at one time shares its x and w in L2.
struct Tiles {
  const GemmArgs& args;

  // Of cluster tiles.
  __device__ __forceinline__ int rows() const {
    constexpr int kRows = Config::kTileM * Config::kClusterM;
    return (args.m + kRows - 1) / kRows;
  }
  __device__ __forceinline__ int columns() const {
    constexpr int kColumns = Config::kTileN * Config::kClusterN;
    return (args.n + kColumns - 1) / kColumns;
  }
  __device__ __forceinline__ int count() const { return rows() * columns(); }

  // How many the cluster has still to do, from `tile` on.
  __device__ __forceinline__ int Left(int tile) const {
    return (count() - tile + ClusterCount() - 1) / ClusterCount();
  }

  // First row and column of CTA `rank`'s part of a cluster tile.
  __device__ __forceinline__ int2 Origin(int tile, uint32_t rank) const {
    const int tallest = Config::kGroupM > 0 ? Config::kGroupM : rows();
    const int first = tile / (tallest * columns()) * tallest;
    const int height = min(rows() - first, tallest);
    const int inside = tile - first * columns();
    const int row = (first + inside % height) * Config::kClusterM + rank % Config::kClusterM;
    const int column = inside / height * Config::kClusterN + rank / Config::kClusterM;
    return {row * Config::kTileM, column * Config::kTileN};
  }
};

// CTAs of a cluster that need the same x (one row of it), or the same w (one column of it).
__device__ __forceinline__ uint16_t SameRow(uint32_t rank) {
  uint16_t ranks = 0;
  for (int i = 0; i < Config::kClusterN; i++) {
    ranks |= 1 << (i * Config::kClusterM + rank % Config::kClusterM);
  }
  return ranks;
}
__device__ __forceinline__ uint16_t SameColumn(uint32_t rank) {
  return ((1 << Config::kClusterM) - 1) << (rank / Config::kClusterM * Config::kClusterM);
}

// ---- producer -----------------------------------------------------------------------------------

// This CTA's slice of a tile that `peers` CTAs share, multicast to `ranks`.
template <int rows, int peers>
__device__ __forceinline__ void LoadSlice(const TensorMap& map, uint32_t slot, uint32_t barrier,
                                          int k, int row, int peer, uint16_t ranks) {
  constexpr int kSlice = rows / peers;
  slot += peer * kSlice * kRowBytes;
  row += peer * kSlice;
  if constexpr (peers == 1) {
    LoadBox(map, slot, barrier, k, row);
  } else {
    LoadBoxTo(ranks, map, slot, barrier, k, row);
  }
}

// One thread: every stage of every tile, in the order in which consumers take them. The first ring
// of w does not wait for the kernel before this one: w is no result.
__device__ __forceinline__ void Produce(const GemmArgs& args, const TensorMap& x_map,
                                        const TensorMap& w_map, Shared shared, uint32_t rank) {
  const Tiles tiles{args};
  const uint16_t x_ranks = SameRow(rank), w_ranks = SameColumn(rank);
  const auto load_w = [&](int stage, int k, int2 origin) {
    ArriveExpectingBytes(shared.Full(stage), kStageBytes);
    LoadSlice<Config::kTileN, Config::kClusterM>(w_map, shared.W(stage), shared.Full(stage),
                                                 ColumnOfW(args, k), origin.y,
                                                 rank % Config::kClusterM, w_ranks);
  };
  const int product_columns = ProductColumns(args);
  int ahead = 0;  // stages of which w is on its way, x not
  if (ClusterIndex() < tiles.count()) {
    const int2 origin = tiles.Origin(ClusterIndex(), rank);
    for (; ahead < Config::kStages && ahead * kTileK < product_columns; ahead++) {
      load_w(ahead, ahead * kTileK, origin);
    }
  }
  WaitForPreviousKernel();
  Cursor at;
  for (int tile = ClusterIndex(); tile < tiles.count(); tile += ClusterCount()) {
    const int2 origin = tiles.Origin(tile, rank);
    for (int k = 0; k < product_columns; k += kTileK) {
      if (ahead > 0) {
        ahead--;
      } else {
        Wait(shared.Empty(at.stage), at.parity ^ 1);
        load_w(at.stage, k, origin);
      }
      LoadSlice<Config::kTileM, Config::kClusterN>(x_map, shared.X(at.stage), shared.Full(at.stage),
                                                   ColumnOfX(args, k), origin.x,
                                                   rank / Config::kClusterM, x_ranks);
      at.Advance();
    }
  }
}

// ---- consumers ----------------------------------------------------------------------------------

// Ping-pong: a warpgroup may look at the ring only when the other's products are issued, because a
// barrier tells apart but two rounds. These hand the ring over; in a shared tile, the second
// warpgroup takes it for the held tiles of k.
__device__ __forceinline__ void TakeRing(int consumer) {
  SyncThreads(1 + kConsumers + consumer, kConsumers * kWarpgroupThreads);
}
__device__ __forceinline__ void PassRing(int consumer) {
  ArriveThreads(1 + kConsumers + (1 - consumer), kConsumers * kWarpgroupThreads);
}

// Whether the second warpgroup holds back in a tile of k_tiles. In a shorter tile than the ring the
// first could be two tiles ahead, and its arrivals would be taken for each other.
__device__ __forceinline__ bool HoldsBack(int k_tiles) {
  return kHeldTiles > 0 && k_tiles >= Config::kStages;
}

// Tells every CTA that writes into this one's stage that this warpgroup is done with it.
__device__ __forceinline__ void Release(Shared shared, int stage, int thread, uint32_t rank) {
  if (thread < kClusterCtas && ((SameRow(rank) | SameColumn(rank)) >> thread & 1)) {
    ArriveAtRank(shared.Empty(stage), thread);
  }
}

// The next k_tiles of k for this warpgroup's rows. A stage is released when the products after it
// are issued, and only where the ring comes round to it again in the `uses_left` uses of a stage
// from the first here to the CTA's last: so no CTA's barrier is touched after it has left.
__device__ __forceinline__ void Multiply(float (&sums)[kFragments][kAccumulators], Shared shared,
                                         Cursor& at, int k_tiles, int uses_left, int first_row,
                                         int consumer, bool pass_ring, int thread, uint32_t rank) {
  const int held = HoldsBack(k_tiles) && consumer == 1 ? k_tiles - kHeldTiles : -1;
  int previous = 0;
  for (int i = 0; i < k_tiles; i++) {
    if (i == held) TakeRing(consumer);
    Wait(shared.Full(at.stage), at.parity);
    const uint64_t x = MatrixDescriptor(shared.X(at.stage) + first_row * kRowBytes);
    const uint64_t w = MatrixDescriptor(shared.W(at.stage));
    BeginWgmma();
#pragma unroll
    for (int step = 0; step < kRowBytes / kStepBytes; step++) {
#pragma unroll
      for (int fragment = 0; fragment < kFragments; fragment++) {
        Wgmma<Config::kIn, Config::kTileN>::Run(
            sums[fragment], x + (fragment * kWgmmaRows * kRowBytes + step * kStepBytes >> 4),
            w + (step * kStepBytes >> 4), i + step > 0);
      }
    }
    CommitWgmma();
    if (i > 0) {
      WaitWgmma<1>();
      if (i - 1 + Config::kStages < uses_left) Release(shared, previous, thread, rank);
    }
    previous = at.stage;
    at.Advance();
  }
  if (pass_ring) PassRing(consumer);
  WaitWgmma<0>();
#pragma unroll
  for (int fragment = 0; fragment < kFragments; fragment++) FenceAccumulators(sums[fragment]);
  if (k_tiles - 1 + Config::kStages < uses_left) Release(shared, previous, thread, rank);
}

// All of k. FP32: tensor cores cut off what does not fit below a large sum, so that long sums
// drift; short runs of them are added here, rounding to nearest.
__device__ __forceinline__ void MultiplyAll(float (&sums)[kFragments][kAccumulators], Shared shared,
                                            Cursor& at, int k_tiles, int uses_left, int first_row,
                                            int consumer, int thread, uint32_t rank) {
  const bool pass_ring =
      Config::kPingPong ? uses_left > k_tiles : HoldsBack(k_tiles) && consumer == 0;
  if constexpr (Config::kTerms == 1) {
    Multiply(sums, shared, at, k_tiles, uses_left, first_row, consumer, pass_ring, thread, rank);
  } else {
    float run[kFragments][kAccumulators];
    for (int done = 0; done < k_tiles; done += kRunTiles) {
      const int count = min(kRunTiles, k_tiles - done);
      Multiply(run, shared, at, count, uses_left - done, first_row, consumer,
               pass_ring && done + count == k_tiles, thread, rank);
#pragma unroll
      for (int fragment = 0; fragment < kFragments; fragment++) {
#pragma unroll
        for (int i = 0; i < kAccumulators; i++) {
          sums[fragment][i] = run[fragment][i] + (done == 0 ? 0.0f : sums[fragment][i]);
        }
      }
    }
  }
}

// FP32: takes the scale of the rows of x from their sums, of which the first is of `row`.
__device__ __forceinline__ void UnscaleRows(float (&sums)[kFragments][kAccumulators],
                                            const GemmArgs& args, int row, int thread) {
  if constexpr (Config::kTerms > 1) {
    row += thread / 32 * 16 + thread % 32 / 4;
#pragma unroll
    for (int fragment = 0; fragment < kFragments; fragment++) {
      const float factors[2] = {RowFactor(args, row + fragment * kWgmmaRows),
                                RowFactor(args, row + fragment * kWgmmaRows + 8)};
#pragma unroll
      for (int i = 0; i < kAccumulators; i++) sums[fragment][i] *= factors[i % 4 / 2];
    }
  }
}

}  // namespace mlpserve::cuda
