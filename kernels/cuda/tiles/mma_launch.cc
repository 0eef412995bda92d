#include "kernels/cuda/tiles/mma_launch.h"

#include <algorithm>

#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/cuda/tiles/config_constant.h"

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

// "64x64x16".
std::string Sizes(int a, int b, int c) {
  return std::to_string(a) + "x" + std::to_string(b) + "x" + std::to_string(c);
}

// ".s3.b2".
std::string Depths(int stages, int ctas_per_sm) {
  return ".s" + std::to_string(stages) + ".b" + std::to_string(ctas_per_sm);
}

}  // namespace

std::string Constants(const FfmaTile& t) {
  return Constant("kTileM", t.tile_m) + Constant("kTileN", t.tile_n) +
         Constant("kTileK", t.tile_k) + Constant("kThreadsM", t.threads_m) +
         Constant("kThreadsN", t.threads_n) + Constant("kThreadsK", t.threads_k) +
         Constant("kStages", t.stages) + Constant("kCtasPerSm", t.ctas_per_sm);
}

std::string Constants(const MmaTile& t) {
  return Constant("kTileM", t.tile_m) + Constant("kTileN", t.tile_n) +
         Constant("kTileK", t.tile_k) + Constant("kWarpsM", t.warps_m) +
         Constant("kWarpsN", t.warps_n) + Constant("kStages", t.stages) +
         Constant("kCtasPerSm", t.ctas_per_sm);
}

std::string Constants(const MmaRowsTile& t) {
  return Constant("kTileN", t.tile_n) + Constant("kTileM", t.tile_m) +
         Constant("kTileK", t.tile_k) + Constant("kWarpsN", t.warps_n) +
         Constant("kStages", t.stages) + Constant("kCtasPerSm", t.ctas_per_sm);
}

std::string Name(const FfmaTile& t) {
  return Sizes(t.tile_m, t.tile_n, t.tile_k) + ".t" + Sizes(t.threads_m, t.threads_n, t.threads_k) +
         Depths(t.stages, t.ctas_per_sm);
}

std::string Name(const MmaTile& t) {
  return Sizes(t.tile_m, t.tile_n, t.tile_k) + ".w" + std::to_string(t.warps_m) + "x" +
         std::to_string(t.warps_n) + Depths(t.stages, t.ctas_per_sm);
}

std::string Name(const MmaRowsTile& t) {
  return Sizes(t.tile_n, t.tile_m, t.tile_k) + ".w" + std::to_string(t.warps_n) +
         Depths(t.stages, t.ctas_per_sm);
}

MmaLaunch Launch(const FfmaTile& t, int element_bytes, int64_t m, int64_t n, int split_k) {
  MmaLaunch launch = Tiles(t.tile_m, t.tile_n, m, n, split_k);
  launch.threads = t.threads_m * t.threads_n * t.threads_k;
  launch.shared_bytes = RingBytes(t.tile_m, t.tile_n, t.tile_k, t.stages, element_bytes);
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
