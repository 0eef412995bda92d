#include "kernels/cuda/mma_launch.h"

#include <algorithm>

#include "kernels/cuda/ceil_divide.h"

namespace mlpserve::cuda {
namespace {

MmaLaunch Tiles(int tile_m, int tile_n, int64_t m, int64_t n, int split_k) {
  MmaLaunch launch;
  launch.grid_x = CeilDivide(m, tile_m) * CeilDivide(n, tile_n);
  launch.grid_y = split_k;
  if (split_k > 1) {
    launch.partials_bytes = launch.grid_x * split_k * tile_m * tile_n * int64_t{sizeof(float)};
    launch.arrivals = launch.grid_x;
  }
  return launch;
}

int RingBytes(int tile_m, int tile_n, int tile_k, int stages, int element_bytes) {
  return (tile_m + tile_n) * tile_k * stages * element_bytes;
}

}  // namespace

// SharedTiles of ffma.cuh.
int FfmaSharedBytes(const FfmaTile& t) {
  return t.tile_k * (t.tile_m + 1 + t.tile_n + 4) * static_cast<int>(sizeof(float));
}

MmaLaunch Launch(const FfmaTile& t, int, int64_t m, int64_t n, int split_k) {
  MmaLaunch launch = Tiles(t.tile_m, t.tile_n, m, n, split_k);
  launch.threads = t.threads_m * t.threads_n;
  return launch;
}

MmaLaunch Launch(const MmaTile& t, int element_bytes, int64_t m, int64_t n, int split_k) {
  MmaLaunch launch = Tiles(t.tile_m, t.tile_n, m, n, split_k);
  launch.threads = t.warps_m * t.warps_n * 32;
  launch.shared_bytes = RingBytes(t.tile_m, t.tile_n, t.tile_k, t.stages, element_bytes);
  return launch;
}

// Finished sums take the ring's place: kSumStride of mma_rows.cuh floats for each row of x.
MmaLaunch Launch(const MmaRowsTile& t, int element_bytes, int64_t m, int64_t n, int split_k) {
  MmaLaunch launch = Tiles(t.tile_m, t.tile_n, m, n, split_k);
  launch.threads = t.warps_n * 32;
  launch.shared_bytes = std::max(RingBytes(t.tile_m, t.tile_n, t.tile_k, t.stages, element_bytes),
                                 t.tile_m * (t.tile_n + 4) * static_cast<int>(sizeof(float)));
  return launch;
}

}  // namespace mlpserve::cuda
