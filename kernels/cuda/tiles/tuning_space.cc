#include "kernels/cuda/tiles/tuning_space.h"

#include <iterator>

#include "kernels/cuda/tiles/mma_launch.h"

namespace mlpserve::cuda {
namespace {

int ElementBytes(ComputeType compute) { return static_cast<int>(ByteSize(StorageType(compute))); }

// Depths are for two-byte elements; four-byte ones have half, so that a stage's rows stay 64 or
// 128 bytes.
void AddMma(std::vector<Tile>& tiles, int element_bytes, bool has_wgmma) {
  const int k32 = 64 / element_bytes;
  const int k64 = 128 / element_bytes;
  tiles.push_back(MmaTile{128, 128, k32, 2, 4, 3, 2});
  tiles.push_back(MmaTile{128, 256, k32, 2, 4, 4, 1});
  // For sm_90a the compiler is a register short of it; wgmma is the one to use there.
  if (!has_wgmma) tiles.push_back(MmaTile{256, 128, k32, 4, 2, 4, 1});
  tiles.push_back(MmaTile{128, 128, k64, 2, 4, 3, 1});
  tiles.push_back(MmaTile{64, 128, k32, 2, 4, 4, 2});
  tiles.push_back(MmaTile{128, 64, k32, 4, 2, 4, 2});
  tiles.push_back(MmaTile{64, 64, k64, 2, 2, 3, 2});
  tiles.push_back(MmaTile{32, 128, k64, 1, 4, 2, 2});
  tiles.push_back(MmaRowsTile{64, 8, k64, 4, 5, 2});
  tiles.push_back(MmaRowsTile{128, 8, k64, 8, 5, 1});
  tiles.push_back(MmaRowsTile{64, 16, k64, 4, 4, 2});
  tiles.push_back(MmaRowsTile{128, 16, k64, 8, 5, 1});
  tiles.push_back(MmaRowsTile{64, 32, k64, 4, 4, 2});
  tiles.push_back(MmaRowsTile{128, 32, k64, 8, 4, 1});
  tiles.push_back(MmaRowsTile{32, 8, k64, 2, 5, 3});
  tiles.push_back(MmaRowsTile{64, 64, k64, 4, 3, 2});
  tiles.push_back(MmaRowsTile{128, 64, k64, 4, 4, 1});
}

void AddFfma(std::vector<Tile>& tiles) {
  tiles.push_back(FfmaTile{64, 128, 16, 8, 16, 1, 2, 3});
  tiles.push_back(FfmaTile{128, 256, 16, 16, 16, 1, 4, 1});
  tiles.push_back(FfmaTile{64, 64, 32, 8, 8, 2, 3, 2});
  tiles.push_back(FfmaTile{32, 64, 32, 4, 8, 4, 4, 2});
  tiles.push_back(FfmaTile{16, 64, 32, 4, 8, 4, 4, 2});
}

// Measured on an H200 (NOTES.md). Widths between the powers of two are there to fill the last wave:
// over shapes of public models each is what nothing else comes within some percent of.
constexpr WgmmaConfig kTilesForManyRows[] = {
    {.tile_m = 128, .tile_n = 256, .stages = 4},
    {.tile_m = 128, .tile_n = 256, .stages = 4, .cluster_m = 1, .cluster_n = 2},
    {.tile_m = 128, .tile_n = 224, .stages = 4},
    {.tile_m = 128, .tile_n = 192, .stages = 5},
    {.tile_m = 128, .tile_n = 176, .stages = 5},
    {.tile_m = 128, .tile_n = 160, .stages = 5},
    {.tile_m = 128, .tile_n = 128, .stages = 6},
    {.tile_m = 128, .tile_n = 128, .stages = 6, .cluster_m = 1},
    {.tile_m = 128, .tile_n = 112, .stages = 6, .cluster_m = 1, .cluster_n = 2},
    {.tile_m = 128, .tile_n = 96, .stages = 7, .cluster_m = 1},
    {.tile_m = 128, .tile_n = 80, .stages = 8},
    {.tile_m = 128, .tile_n = 64, .stages = 8, .group_m = 2},
    {.tile_m = 128, .tile_n = 64, .stages = 8, .cluster_m = 1, .cluster_n = 2},
    {.tile_m = 128, .tile_n = 128, .stages = 6, .ping_pong = 1},
    {.tile_m = 128, .tile_n = 112, .stages = 6, .ping_pong = 1},
    {.tile_m = 256, .tile_n = 160, .stages = 4},
    {.tile_m = 192, .tile_n = 128, .consumers = 3, .stages = 5, .cluster_m = 1, .cluster_n = 2},
    {.tile_m = 192, .tile_n = 112, .consumers = 3, .stages = 5, .cluster_m = 1},
    {.tile_m = 192, .tile_n = 96, .consumers = 3, .stages = 5, .cluster_m = 1, .cluster_n = 2},
    {.tile_m = 192, .tile_n = 64, .consumers = 3, .stages = 6, .cluster_m = 1},
    {.tile_m = 64, .tile_n = 112, .consumers = 1, .stages = 8, .cluster_m = 1},
    {.tile_m = 64, .tile_n = 96, .consumers = 1, .stages = 8, .cluster_m = 1},
};

// CTAs share a sum where n alone does not fill the device.
constexpr WgmmaRowsConfig kTilesForFewRows[] = {
    {.tile_rows = 64, .batch = 8, .stages = 10, .slabs_per_stage = 2, .prefetch_stages = 4},
    {64, 16, 10, 2, 4},
    {64, 16, 10, 2, 4, 1, 2},
    {64, 16, 10, 2, 4, 1, 4},
    {64, 32, 8, 2, 4},
    {64, 32, 8, 2, 4, 1, 2},
    {64, 32, 8, 2, 4, 1, 4},
    {64, 48, 8, 2, 4},
    {64, 48, 8, 2, 4, 1, 2},
    {64, 48, 8, 2, 4, 1, 4},
    {64, 64, 6, 2, 3},
    {64, 64, 6, 2, 3, 1, 2},
    {64, 64, 6, 2, 3, 1, 4},
    {64, 96, 5, 2, 2},
    {64, 96, 5, 2, 2, 1, 2},
    {64, 96, 5, 2, 2, 1, 4},
    {64, 128, 8, 1, 4, 1, 2},
    {64, 128, 8, 1, 4, 1, 4},
    {64, 192, 7, 1, 3},
    {64, 192, 7, 1, 3, 1, 2},
    {128, 48, 5, 2, 2, 1, 2},
    {128, 96, 8, 1, 4},
    {128, 128, 7, 1, 3},
    {128, 128, 7, 1, 3, 1, 2},
    {128, 192, 5, 1, 2, 1, 2},
    {192, 96, 6, 1, 3, 1, 2},
    {192, 96, 6, 1, 3, 1, 4},
    {192, 128, 5, 1, 2, 1, 4},
    {192, 192, 4, 1, 2, 1, 4},
};

void AddWgmma(std::vector<Tile>& tiles) {
  tiles.insert(tiles.end(), std::begin(kTilesForManyRows), std::end(kTilesForManyRows));
  tiles.insert(tiles.end(), std::begin(kTilesForFewRows), std::end(kTilesForFewRows));
}

// FP32 out of three products of TF32, which take two sets of accumulators: half as large a tile.
// Below some 64 rows, twice the weights to read cost more than FP32's own products.
void AddThreeTerms(std::vector<Tile>& tiles) {
  tiles.push_back(
      WgmmaConfig{.tile_m = 128, .tile_n = 128, .stages = 6, .cluster_m = 2, .terms = 3});
  tiles.push_back(
      WgmmaConfig{.tile_m = 128, .tile_n = 64, .stages = 8, .cluster_m = 2, .terms = 3});
  tiles.push_back(WgmmaRowsConfig{.tile_rows = 64,
                                  .batch = 64,
                                  .stages = 6,
                                  .slabs_per_stage = 2,
                                  .prefetch_stages = 3,
                                  .terms = 3});
  tiles.push_back(WgmmaRowsConfig{.tile_rows = 128,
                                  .batch = 128,
                                  .stages = 6,
                                  .slabs_per_stage = 1,
                                  .prefetch_stages = 4,
                                  .split_k = 2,
                                  .terms = 3});
}

struct ResourceReader {
  KernelTypes types;

  template <typename SyncTile>
  TileResources OfMma(const SyncTile& t) const {
    const MmaLaunch launch = Launch(t, types.in_bytes, 1, 1, 1);
    return {.threads = launch.threads,
            .shared_bytes = launch.shared_bytes + kStaticSharedBytes,
            .ctas_per_sm = t.ctas_per_sm,
            .tile_m = t.tile_m,
            .tile_n = t.tile_n};
  }

  TileResources operator()(const FfmaTile& t) const { return OfMma(t); }
  TileResources operator()(const MmaTile& t) const { return OfMma(t); }
  TileResources operator()(const MmaRowsTile& t) const { return OfMma(t); }

  TileResources operator()(const WgmmaConfig& c) const {
    const WgmmaLaunch launch = Launch(c, types, 1, 1, 1);
    return {.threads = launch.threads,
            .shared_bytes = launch.shared_bytes,
            .tile_m = c.tile_m,
            .tile_n = c.tile_n,
            .cluster = launch.cluster};
  }

  TileResources operator()(const WgmmaRowsConfig& c) const {
    const WgmmaLaunch launch = Launch(c, types, 1, 1);
    return {.threads = launch.threads,
            .shared_bytes = launch.shared_bytes,
            .tile_m = c.batch,
            .tile_n = c.tile_rows,
            .cluster = launch.cluster};
  }
};

}  // namespace

std::vector<Tile> TuningSpace(ComputeType compute, const DeviceLimits& limits) {
  std::vector<Tile> tiles;
  if (compute == ComputeType::kFp32) {
    AddFfma(tiles);
    if (limits.has_wgmma()) AddThreeTerms(tiles);
    return tiles;
  }
  AddMma(tiles, ElementBytes(compute), limits.has_wgmma());
  if (limits.has_wgmma()) AddWgmma(tiles);
  return tiles;
}

std::vector<WgmmaConfig> NormalisingTiles(ComputeType compute, const DeviceLimits& limits) {
  if (compute == ComputeType::kFp32 || !limits.has_wgmma()) return {};
  WgmmaConfig wide{.tile_m = 128, .tile_n = 256, .stages = 4, .cluster_m = 2, .group_m = 0};
  WgmmaConfig narrow{.tile_m = 128, .tile_n = 128, .stages = 6, .cluster_m = 2, .group_m = 0};
  wide.normalises = narrow.normalises = 1;
  return {wide, narrow};
}

TileResources ResourcesOf(const Tile& tile, ComputeType compute, DataType output, int columns) {
  const KernelTypes types{.in_bytes = ElementBytes(compute),
                          .out_bytes = static_cast<int>(ByteSize(output)),
                          .columns = columns};
  return std::visit(ResourceReader{types}, tile);
}

}  // namespace mlpserve::cuda
