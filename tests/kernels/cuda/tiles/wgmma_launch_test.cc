#include "kernels/cuda/tiles/wgmma_launch.h"

#include <gtest/gtest.h>

#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/tiles/tuning_space.h"

namespace mlpserve::cuda {
namespace {

constexpr int kClusters = 66;  // of two CTAs on 132 multiprocessors

// Two column vectors.
EpilogueSpec Affine() {
  return {.ops = {{MultiplyAdd{.scale = {.column = 0}, .shift = {.column = 1}}}},
          .columns = {{1.0f}, {1.0f}}};
}

bool IsFourBytes(ComputeType compute) {
  return compute == ComputeType::kTf32 || compute == ComputeType::kFp32;
}

KernelTypes TypesOf(ComputeType compute) {
  const int bytes = IsFourBytes(compute) ? 4 : 2;
  return {.in_bytes = bytes, .out_bytes = bytes, .columns = 2};
}

int SharedBytes(const Tile& tile, ComputeType compute) {
  if (const auto* rows = std::get_if<WgmmaRowsConfig>(&tile)) {
    return Launch(*rows, TypesOf(compute), 1, 1).shared_bytes;
  }
  return Launch(std::get<WgmmaConfig>(tile), TypesOf(compute), 1, 1, kClusters).shared_bytes;
}

// Whether the kernel, which computes its own layout, uses `bytes` of shared memory.
bool KernelUses(const Nvrtc& nvrtc, const Tile& tile, ComputeType compute, int bytes) {
  const KernelConfig config{.tile = tile,
                            .compute = compute,
                            .output = IsFourBytes(compute) ? DataType::kFp32 : DataType::kBf16};
  auto source = KernelSource(Affine(), config);
  if (!source.ok()) return false;
  *source += "static_assert(mlpserve::cuda::kSharedBytes == " + std::to_string(bytes) + ");\n";
  return nvrtc.Compile(*source, CodeName(config), {.arch = "sm_90a"}).ok();
}

TEST(WgmmaLaunchTest, AsksForTheSharedMemoryThatTheKernelLaysOut) {
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  const Tile tiles[] = {
      WgmmaConfig{},
      WgmmaConfig{.tile_n = 128, .stages = 5, .ping_pong = 1, .store_buffers = 2},
      WgmmaConfig{.tile_m = 256, .tile_n = 64, .cluster_m = 1, .cluster_n = 2},
      WgmmaConfig{.tile_m = 192, .tile_n = 112, .consumers = 3, .cluster_m = 1},
      WgmmaConfig{.tile_m = 64, .tile_n = 80, .consumers = 1, .stages = 8, .cluster_m = 1},
      WgmmaRowsConfig{.share = 2},
      WgmmaRowsConfig{
          .tile_rows = 128, .batch = 64, .stages = 4, .slabs_per_stage = 2, .split_k = 2}};
  for (const ComputeType compute : {ComputeType::kBf16, ComputeType::kTf32}) {
    for (const Tile& tile : tiles) {
      const int bytes = SharedBytes(tile, compute);
      EXPECT_TRUE(KernelUses(**nvrtc, tile, compute, bytes)) << bytes;
    }
  }
  for (const Tile& tile :
       {Tile(WgmmaConfig{.tile_n = 128, .stages = 5, .terms = 3}),
        Tile(WgmmaRowsConfig{
            .tile_rows = 128, .batch = 32, .slabs_per_stage = 1, .split_k = 2, .terms = 3})}) {
    const int bytes = SharedBytes(tile, ComputeType::kFp32);
    EXPECT_TRUE(KernelUses(**nvrtc, tile, ComputeType::kFp32, bytes)) << bytes;
  }
  EXPECT_FALSE(KernelUses(**nvrtc, tiles[0], ComputeType::kBf16,
                          SharedBytes(tiles[0], ComputeType::kBf16) + 16));
}

TEST(WgmmaLaunchTest, AsksForTheSharedMemoryOfAKernelThatNormalises) {
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
  const EpilogueSpec norm{.ops = {{MultiplyAdd{.shift = {.column = 0}}},
                                  {MultiplyAdd{.scale = {.column = 1}, .shift = {.column = 2}}}},
                          .columns = {{1.0f}, {1.0f}, {1.0f}}};
  for (WgmmaConfig tile : NormalisingTiles(ComputeType::kBf16, H200())) {
    tile.before_columns = static_cast<int>(Affine().columns.size());
    const KernelTypes types{.in_bytes = 2, .out_bytes = 2, .columns = 3};
    const int bytes = Launch(tile, types, 1, 1, kClusters).shared_bytes;
    const KernelConfig config{.tile = tile};
    auto source = KernelSource(norm, config, Affine());
    ASSERT_TRUE(source.ok()) << source.status();
    *source += "static_assert(mlpserve::cuda::kSharedBytes == " + std::to_string(bytes) + ");\n";
    const auto compiled = (*nvrtc)->Compile(*source, CodeName(config), {.arch = "sm_90a"});
    EXPECT_TRUE(compiled.ok()) << compiled.status();
  }
}

TEST(WgmmaLaunchTest, HasAPersistentGridOfWholeClustersAndNoMoreThanThereAreTiles) {
  for (const int m : {1, 100, 128, 129, 1000, 4096}) {
    for (const int n : {8, 256, 1000, 8192}) {
      const WgmmaConfig config{.cluster_m = 2};
      const WgmmaLaunch launch = Launch(config, {}, m, n, kClusters);
      const int rows = (m + 255) / 256, columns = (n + 255) / 256;  // of two tiles, of one
      EXPECT_EQ(launch.grid_x, 2 * std::min(kClusters, rows * columns)) << m << " x " << n;
      EXPECT_EQ(launch.grid_y, 1);
    }
  }
}

TEST(WgmmaLaunchTest, TakesWholeColumnsOfTilesAtATimeWhereAKernelNormalises) {
  WgmmaConfig config{.cluster_m = 2, .group_m = 0};
  config.normalises = 1;
  for (const int m : {1, 256, 257, 1024, 5000, 256 * kClusters}) {
    const WgmmaLaunch launch = Launch(config, {}, m, 8192, kClusters);
    const int clusters = launch.grid_x / 2, rows = (m + 255) / 256;
    EXPECT_GT(clusters, 0) << m;
    EXPECT_LE(clusters, kClusters) << m;
    EXPECT_EQ(clusters % rows, 0) << m;
    EXPECT_EQ(launch.partials_bytes, int64_t{16} * 8192 * rows * 2) << m;  // of 128 rows each
    EXPECT_EQ(launch.arrivals, 32);
  }
  EXPECT_EQ(Launch(config, {}, 256 * kClusters + 1, 8192, kClusters).grid_x, 0);
}

TEST(WgmmaLaunchTest, GivesEveryRowOfWAndEveryRowOfXACtaOfTheFewRowsKernel) {
  for (const int m : {1, 16, 17, 200}) {
    for (const int n : {8, 64, 65, 1000, 8192}) {
      const WgmmaRowsConfig config{.tile_rows = 64, .batch = 16, .share = 2, .split_k = 2};
      const WgmmaLaunch launch = Launch(config, {}, m, n);
      EXPECT_EQ(launch.grid_x % 4, 0);
      EXPECT_GE(launch.grid_x / config.split_k * config.tile_rows, n);
      EXPECT_LT((launch.grid_x / 4 - 1) * config.share * config.tile_rows, n);
      EXPECT_GE(launch.grid_y * config.batch, m);
      EXPECT_EQ(launch.x_box_rows, 8);
    }
  }
}

TEST(WgmmaLaunchTest, NamesApartWhatCompilesApart) {
  const WgmmaConfig base;
  for (WgmmaConfig other :
       {WgmmaConfig{.tile_m = 256}, WgmmaConfig{.consumers = 1}, WgmmaConfig{.stages = 3},
        WgmmaConfig{.cluster_m = 1}, WgmmaConfig{.cluster_n = 2}, WgmmaConfig{.ping_pong = 1},
        WgmmaConfig{.group_m = 4}, WgmmaConfig{.store_buffers = 2}, WgmmaConfig{.terms = 3},
        WgmmaConfig{.store_by_tma = 0}}) {
    EXPECT_NE(Name(other), Name(base));
    EXPECT_NE(Constants(other), Constants(base));
  }
  WgmmaConfig normalising;
  normalising.normalises = 1;
  EXPECT_NE(Name(normalising), Name(base));
  const WgmmaRowsConfig rows;
  for (WgmmaRowsConfig other :
       {WgmmaRowsConfig{.tile_rows = 128}, WgmmaRowsConfig{.batch = 8},
        WgmmaRowsConfig{.stages = 3}, WgmmaRowsConfig{.share = 2},
        WgmmaRowsConfig{.slabs_per_stage = 2}, WgmmaRowsConfig{.prefetch_stages = 2},
        WgmmaRowsConfig{.split_k = 2}, WgmmaRowsConfig{.terms = 3}}) {
    EXPECT_NE(Name(other), Name(rows));
    EXPECT_NE(Constants(other), Constants(rows));
  }
}

}  // namespace
}  // namespace mlpserve::cuda
