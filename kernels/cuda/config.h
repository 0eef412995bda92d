// One kernel's compile-time choices as data: what Config says in the generated source.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

// A number that the source of a main loop reads as Config::<name>.
struct Constant {
  std::string_view name;
  int value = 0;
};

// Each main loop has its own tile. Sizes are in elements; m counts rows of y, n columns, k depth.

// ffma.cuh: products in FP32, on any architecture.
struct FfmaTile {
  int tile_m = 64;
  int tile_n = 64;
  int tile_k = 16;
  int threads_m = 16;  // threads along tile_m
  int threads_n = 16;
  std::vector<Constant> Constants() const;
  bool operator==(const FfmaTile&) const = default;
};

// mma.cuh: mma.sync, sm_80 and up.
struct MmaTile {
  int tile_m = 128;
  int tile_n = 128;
  int tile_k = 32;  // of one pipeline stage
  int warps_m = 2;
  int warps_n = 4;
  int stages = 3;
  int blocks_per_sm = 1;  // promised to the compiler: bounds the registers per thread
  std::vector<Constant> Constants() const;
  bool operator==(const MmaTile&) const = default;
};

// mma_rows.cuh: mma.sync for few rows of x, which are the narrow operand.
struct MmaRowsTile {
  int tile_n = 64;  // rows of w: 16 for each warp along n
  int tile_m = 16;  // rows of x: a multiple of 8
  int tile_k = 64;  // of one pipeline stage
  int warps_n = 4;
  int stages = 4;
  int blocks_per_sm = 2;
  std::vector<Constant> Constants() const;
  bool operator==(const MmaRowsTile&) const = default;
};

// wgmma_gemm.cuh: wgmma with TMA, sm_90a.
struct WgmmaGemmTile {
  int tile_m = 128;
  int tile_n = 256;
  int stages = 4;
  int cluster_m = 2;
  int cluster_n = 1;
  int ping_pong = 0;
  int group_m = 8;  // rows of tiles per raster group
  int store_buffers = 1;
  int store_by_tma = 1;  // 0 where y is not 16-byte aligned
  std::vector<Constant> Constants() const;
  bool operator==(const WgmmaGemmTile&) const = default;
};

// wgmma_rows.cuh: few rows on sm_90a.
struct WgmmaRowsTile {
  int tile_rows = 128;  // rows of w
  int batch = 16;       // rows of x
  int stages = 4;
  int blocks_per_stage = 1;
  int share = 1;    // blocks that receive one copy of x
  int split_k = 1;  // blocks of a cluster that share a tile
  std::vector<Constant> Constants() const;
  bool operator==(const WgmmaRowsTile&) const = default;
};

using Tile = std::variant<FfmaTile, MmaTile, MmaRowsTile, WgmmaGemmTile, WgmmaRowsTile>;

struct KernelConfig {
  Tile tile;
  ComputeType compute = ComputeType::kBf16;
  DataType output = DataType::kBf16;
  int split_k = 1;  // GemmArgs::split_k: a launch parameter, not part of the code

  bool operator==(const KernelConfig&) const = default;
};

// The file of the tile's main loop without folder and ending: "mma", "wgmma_rows".
std::string_view MainLoopName(const Tile& tile);

// "mma bf16 bf16 TileM128 TileN128 ... SplitK4", for logs, metrics and as a key.
std::string Name(const KernelConfig& config);
// The same without the launch parameter: equal for configs that share their code.
std::string CodeName(const KernelConfig& config);

// The text of struct Config.
std::string EmitConfig(const KernelConfig& config);

}  // namespace mlpserve::cuda
