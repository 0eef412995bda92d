// The end of a tile of wgmma_tiles.cuh: the epilogue over a warpgroup's sums, and their way through
// shared memory to y.
#pragma once

#include "kernels/cuda/device/block_input.cuh"
#include "kernels/cuda/device/ptx/async_copy.cuh"
#include "kernels/cuda/device/wgmma/wgmma_tiles.cuh"

namespace mlpserve::cuda {

// Starts to bring the tile's part of `count` column vectors into shared memory.
__device__ __forceinline__ void FetchColumns(const float* from, int64_t stride, uint32_t slot,
                                             int count, int thread, int first_column) {
  constexpr int kPieces = Config::kTileN / 4;  // of 16 bytes in a vector
  for (int i = thread; i < count * kPieces; i += kWarpgroupThreads) {
    const int64_t column = first_column + i % kPieces * 4;
    if (column < stride) CopyChunk(slot + i * 16, from + i / kPieces * stride + column);
  }
}

// Column vectors in shared memory, from `vector` on, by their column in the tile.
__device__ __forceinline__ EpilogueArgs ColumnsFrom(Shared shared, int consumer, int vector) {
  EpilogueArgs columns;
  columns.columns =
      reinterpret_cast<const float*>(__cvta_shared_to_generic(shared.Column(consumer, vector)));
  columns.columns_stride = Config::kTileN;
  return columns;
}

// Two neighbours of a row as they are stored: one word of 16-bit y, two of FP32.
template <typename T>
__device__ __forceinline__ void Encode(uint32_t* words, float left, float right) {
  if constexpr (sizeof(T) == 2) {
    words[0] = Pack<T>(left, right);
  } else {
    words[0] = __float_as_uint(left);
    words[1] = __float_as_uint(right);
  }
}

// Eight accumulators of 16 columns, finished: four pairs of neighbours, in the order of the sums.
constexpr int kPairWords = sizeof(Out) / 2;
struct Piece {
  uint32_t words[4 * kPairWords];
};

__device__ __forceinline__ Piece ApplyEpilogue(const float* sums, const GemmArgs& args,
                                               const EpilogueArgs& columns, int row, int2 origin,
                                               int first_column, int lane) {
  Piece piece;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int column = first_column + i * 8 + lane % 4 * 2;
    Epilogue::Column c[2];
#pragma unroll
    for (int side = 0; side < 2; side++) {
      c[side] = Epilogue::Load(columns, column + side);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float v[2];
#pragma unroll
      for (int side = 0; side < 2; side++) {
        v[side] =
            Epilogue::Apply(sums[i * 4 + half * 2 + side], c[side],
                            BlockInput<Epilogue>(args, row + half * 8, origin.y + column + side));
      }
      Encode<Out>(piece.words + (i * 2 + half) * kPairWords, v[0], v[1]);
    }
  }
  return piece;
}

// Writes 16 columns of a warp's 16 rows into a swizzled store buffer.
__device__ __forceinline__ void Stage(uint32_t buffer, const Piece& piece, int group, int warp,
                                      int lane) {
  const uint32_t* w = piece.words;
  if constexpr (sizeof(Out) == 2) {
    const int row = warp * 16 + lane % 16;
    const int chunk = group * 2 + lane / 16;  // of 16 bytes
    StoreMatrices(buffer + row * kRowBytes + ((chunk ^ row % 8) << 4), w[0], w[1], w[2], w[3]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int row = warp * 16 + i % 2 * 8 + lane / 4;
      const int chunk = (group * 2 + i / 2) * 2 + lane % 4 / 2;
      StoreSharedPair(buffer + row * kRowBytes + ((chunk ^ row % 8) << 4) + lane % 2 * 8, w[i * 2],
                      w[i * 2 + 1]);
    }
  }
}

// The same straight to y, where y is not aligned for tensor stores.
__device__ __forceinline__ void StoreDirect(const GemmArgs& args, const Piece& piece, int row,
                                            int first_column, int lane) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int64_t at = row + i % 2 * 8;
    const int column = first_column + i / 2 * 8 + lane % 4 * 2;
    Out* y = static_cast<Out*>(args.y) + at * args.y_stride + column;
    const Out* pair = reinterpret_cast<const Out*>(piece.words + i * kPairWords);
    if (at < args.m && column < args.n) y[0] = pair[0];
    if (at < args.m && column + 1 < args.n) y[1] = pair[1];
  }
}

// Groups of 16 columns in a part of a tile: a full store buffer has kGroups, the last part of a
// tile may have fewer.
constexpr int kGroups = kStoreColumns / 16;
constexpr int kParts = (Config::kTileN + kStoreColumns - 1) / kStoreColumns;
__device__ __forceinline__ constexpr int GroupsIn(int part) {
  return part < kParts - 1 ? kGroups : Config::kTileN / 16 - part * kGroups;
}

// A store buffer's first `groups` groups to y, 16 bytes at a time: the end of a tile is narrower
// than the box that a tensor store writes.
__device__ __forceinline__ void StoreRows(const GemmArgs& args, uint32_t buffer, int groups,
                                          int2 origin, int thread) {
  constexpr int kPieceColumns = 16 / sizeof(Out);
  const int pieces = groups * (16 / kPieceColumns);  // in a row
  for (int i = thread; i < kWgmmaRows * pieces; i += kWarpgroupThreads) {
    const int row = i / pieces, piece = i % pieces;
    const int column = origin.y + piece * kPieceColumns;
    if (origin.x + row >= args.m || column >= args.n) continue;
    Out* y = static_cast<Out*>(args.y) + (origin.x + row) * args.y_stride + column;
    *reinterpret_cast<float4*>(y) =
        LoadSharedFour(buffer + row * kRowBytes + ((piece ^ row % 8) << 4));
  }
}

// Epilogue and store of this warpgroup's rows, which begin at `origin`, a store buffer at a time:
// the values of the next are computed while the copy engine reads the last.
__device__ __forceinline__ void Finish(const float (&sums)[kFragments][kAccumulators],
                                       const GemmArgs& args, const EpilogueArgs& columns,
                                       const TensorMap& y_map, Shared shared, int consumer,
                                       int thread, int2 origin) {
  const int warp = thread / 32, lane = thread % 32;
#pragma unroll
  for (int turn = 0; turn < kFragments * kParts; turn++) {
    const int fragment = turn / kParts, part = turn % kParts;
    const int2 corner = {origin.x + fragment * kWgmmaRows, origin.y + part * kStoreColumns};
    const int row = corner.x + warp * 16 + lane / 4;
    Piece out[kGroups];
#pragma unroll
    for (int group = 0; group < GroupsIn(part); group++) {
      const int column = part * kStoreColumns + group * 16;
      out[group] =
          ApplyEpilogue(&sums[fragment][column / 2], args, columns, row, origin, column, lane);
      if constexpr (!Config::kStoreByTma) {
        StoreDirect(args, out[group], row, origin.y + column, lane);
      }
    }
    if constexpr (Config::kStoreByTma) {
      const uint32_t buffer = shared.Store(consumer, turn % Config::kStoreBuffers);
      if (thread == 0) WaitStoresRead<Config::kStoreBuffers - 1>();
      SyncThreads(1 + consumer, kWarpgroupThreads);
#pragma unroll
      for (int group = 0; group < GroupsIn(part); group++) {
        Stage(buffer, out[group], group, warp, lane);
      }
      FenceSharedWrites();
      SyncThreads(1 + consumer, kWarpgroupThreads);
      if (GroupsIn(part) < kGroups) {
        StoreRows(args, buffer, GroupsIn(part), corner, thread);
      } else if (thread == 0) {
        StoreBox(y_map, buffer, corner.y, corner.x);
      }
      if (thread == 0) CommitStores();
    }
  }
}

}  // namespace mlpserve::cuda
