#include "kernels/cuda/tiles/wgmma_launch.h"

#include <algorithm>

#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/cuda/tiles/config_constant.h"

namespace mlpserve::cuda {
namespace {

constexpr int kRowBytes = 128;
constexpr int kStoreBytes = 64 * kRowBytes;
constexpr int kBarrierBytes = 8;
constexpr int kMomentsBytes = 16;

}  // namespace

std::string Constants(const WgmmaConfig& c) {
  return Constant("kTileM", c.tile_m) + Constant("kTileN", c.tile_n) +
         Constant("kConsumers", c.consumers) + Constant("kStages", c.stages) +
         Constant("kClusterM", c.cluster_m) + Constant("kClusterN", c.cluster_n) +
         Constant("kPingPong", c.ping_pong) + Constant("kGroupM", c.group_m) +
         Constant("kStoreBuffers", c.store_buffers) + Constant("kStoreByTma", c.store_by_tma) +
         Constant("kTerms", c.terms) + Constant("kBeforeColumns", c.before_columns);
}

std::string Constants(const WgmmaRowsConfig& c) {
  return Constant("kTileRows", c.tile_rows) + Constant("kBatch", c.batch) +
         Constant("kStages", c.stages) + Constant("kSlabsPerStage", c.slabs_per_stage) +
         Constant("kPrefetchStages", c.prefetch_stages) + Constant("kShare", c.share) +
         Constant("kSplitK", c.split_k) + Constant("kTerms", c.terms);
}

std::string Name(const WgmmaConfig& c) {
  std::string name = std::to_string(c.tile_m) + "x" + std::to_string(c.tile_n) + ".s" +
                     std::to_string(c.stages) + ".c" + std::to_string(c.cluster_m) + "x" +
                     std::to_string(c.cluster_n) + ".g" + std::to_string(c.group_m) + ".b" +
                     std::to_string(c.store_buffers);
  if (c.consumers != 2) name += ".w" + std::to_string(c.consumers);
  if (c.ping_pong) name += ".pp";
  if (!c.store_by_tma) name += ".direct";
  if (c.normalises) name += ".norm" + std::to_string(c.before_columns);
  if (c.terms > 1) name += ".t" + std::to_string(c.terms);
  return name;
}

std::string Name(const WgmmaRowsConfig& c) {
  std::string name = "r" + std::to_string(c.tile_rows) + "x" + std::to_string(c.batch) + ".s" +
                     std::to_string(c.stages) + "x" + std::to_string(c.slabs_per_stage);
  if (c.prefetch_stages > 0) name += ".p" + std::to_string(c.prefetch_stages);
  if (c.share > 1) name += ".x" + std::to_string(c.share);
  if (c.split_k > 1) name += ".k" + std::to_string(c.split_k);
  if (c.terms > 1) name += ".t" + std::to_string(c.terms);
  return name;
}

WgmmaLaunch Launch(const WgmmaConfig& c, const KernelTypes& types, int m, int n, int clusters) {
  WgmmaLaunch launch;
  launch.cluster = c.cluster_m * c.cluster_n;
  const int rows = CeilDivide(m, c.tile_m * c.cluster_m);
  if (c.normalises) clusters = clusters / rows * rows;
  const int tiles = rows * CeilDivide(n, c.tile_n * c.cluster_n);
  launch.grid_x = std::min(tiles, clusters) * launch.cluster;
  launch.threads = (c.consumers + 1) * 128;
  launch.shared_bytes = c.stages * ((c.tile_m + c.tile_n) * kRowBytes + 2 * kBarrierBytes) +
                        c.consumers * (c.store_buffers * kStoreBytes +
                                       (types.columns + c.before_columns) * c.tile_n * 4);
  launch.x_box_rows = c.tile_m / c.cluster_n;
  launch.w_box_rows = c.tile_n / c.cluster_m;
  if (c.normalises) {
    const int64_t parts = int64_t{rows} * c.cluster_m;
    launch.partials_bytes = parts * CeilDivide(n, 8) * 8 * kMomentsBytes;
    launch.arrivals = int64_t{CeilDivide(n, c.tile_n * c.cluster_n)} * c.cluster_n;
  }
  return launch;
}

WgmmaLaunch Launch(const WgmmaRowsConfig& c, const KernelTypes&, int m, int n) {
  WgmmaLaunch launch;
  launch.cluster = c.share * c.split_k;
  launch.grid_x = CeilDivide(n, c.tile_rows * c.share) * launch.cluster;
  launch.grid_y = CeilDivide(m, c.batch);
  launch.threads = c.tile_rows / 64 * 128 + 32;
  launch.shared_bytes =
      c.stages * ((c.tile_rows + c.batch) * kRowBytes * c.slabs_per_stage + 2 * kBarrierBytes);
  launch.x_box_rows = c.batch / c.share;
  launch.w_box_rows = c.tile_rows;
  return launch;
}

}  // namespace mlpserve::cuda
