// One CTA of a wgmma kernel for many rows, from its first tile to its last: wgmma_tiles.cuh
// brings and multiplies, wgmma_output.cuh finishes. What a kernel does in between is its own.
#pragma once

#include "kernels/cuda/device/wgmma/wgmma_output.cuh"
#include "kernels/cuda/device/wgmma/wgmma_tiles.cuh"

namespace mlpserve::cuda {

// The sums of one warpgroup: rows and columns from `origin` on.
struct WarpgroupTile {
  const GemmArgs& args;
  Shared shared;
  int consumer;
  int thread;
  int2 origin;
};

// Between a product and its epilogue comes nothing.
struct Straight {
  static constexpr int kOwnColumns = 0;  // of the epilogue's first vectors, those that it computes
  __device__ __forceinline__ void FetchColumns(const WarpgroupTile&) const {}
  __device__ __forceinline__ void Run(const WarpgroupTile&,
                                      float (&)[kFragments][kAccumulators]) const {}
};

// Every tile of this warpgroup, as Produce brings them.
template <typename Between>
__device__ __forceinline__ void Consume(const GemmArgs& args, const TensorMap& y_map, Shared shared,
                                        uint32_t rank, int consumer, int thread,
                                        const Between& between) {
  const Tiles tiles{args};
  const int k_tiles = (ProductColumns(args) + kTileK - 1) / kTileK;
  Cursor at;
  int tile = ClusterIndex();
  if (Config::kPingPong && consumer == 1) {
    tile += ClusterCount();
    at.Skip(k_tiles);
  }
  const EpilogueArgs columns = ColumnsFrom(shared, consumer, 0);

  while (tile < tiles.count()) {
    const int first_row = Config::kPingPong ? 0 : consumer * kTileRows;
    int2 origin = tiles.Origin(tile, rank);
    origin.x += first_row;
    const WarpgroupTile place{args, shared, consumer, thread, origin};
    if constexpr (kColumnVectors > 0) {
      SyncThreads(1 + consumer, kWarpgroupThreads);  // the last tile's columns have been read
      constexpr int kOwn = Between::kOwnColumns;
      FetchColumns(args.epilogue.columns + kOwn * args.epilogue.columns_stride,
                   args.epilogue.columns_stride, shared.Column(consumer, kOwn),
                   Epilogue::kColumns - kOwn, thread, origin.y);
      between.FetchColumns(place);
    }
    float sums[kFragments][kAccumulators];
    if (Config::kPingPong && tile >= ClusterCount()) TakeRing(consumer);
    MultiplyAll(sums, shared, at, k_tiles, tiles.Left(tile) * k_tiles, first_row, consumer, thread,
                rank);
    UnscaleRows(sums, args, origin.x, thread);
    if constexpr (kColumnVectors > 0) {
      CommitCopies();
      WaitForCopies<0>();
      SyncThreads(1 + consumer, kWarpgroupThreads);
    }
    between.Run(place, sums);
    Finish(sums, args, columns, y_map, shared, consumer, thread, origin);
    if (Config::kPingPong) at.Skip(k_tiles);
    tile += ClusterCount() * (Config::kPingPong ? kConsumers : 1);
  }
  if (thread == 0) WaitStoresRead<0>();
}

// One CTA's part of the kernel.
template <typename Between>
__device__ __forceinline__ void RunCta(const GemmArgs& args, const TensorMap& x_map,
                                       const TensorMap& w_map, const TensorMap& y_map,
                                       const Between& between) {
  extern __shared__ __align__(1024) uint8_t memory[];
  const Shared shared{SharedAddress(memory)};
  const uint32_t rank = ClusterRank();
  const int warpgroup = threadIdx.x / kWarpgroupThreads;
  if (threadIdx.x == 0) {
    constexpr int kReaders = Config::kClusterM + Config::kClusterN - 1;  // of what a CTA loads
    for (int stage = 0; stage < Config::kStages; stage++) {
      InitBarrier(shared.Full(stage), 1);
      InitBarrier(shared.Empty(stage), kReaders * (Config::kPingPong ? 1 : kConsumers));
    }
    FenceBarrierInit();
    PrefetchMap(x_map);
    PrefetchMap(w_map);
    PrefetchMap(y_map);
  }
  ClusterArrive();
  ClusterWait();
  LetNextKernelStart();

  if (warpgroup == kConsumers) {
    if constexpr (kConsumers > 1) ShrinkRegisters<kProducerRegisters>();
    if (threadIdx.x == kConsumers * kWarpgroupThreads) Produce(args, x_map, w_map, shared, rank);
  } else {
    if constexpr (kConsumers > 1) GrowRegisters<kConsumerRegisters>();
    Consume(args, y_map, shared, rank, warpgroup, threadIdx.x % kWarpgroupThreads, between);
  }
}

}  // namespace mlpserve::cuda
