// One kernel's compile-time choices as data: what Config says in the generated source.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "kernels/cuda/wgmma_launch.h"
#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

// Each main loop has its own tile. Sizes are in elements; m counts rows of y, n columns, k depth.

// ffma.cuh: products in FP32, on any architecture.
struct FfmaTile {
  int tile_m = 64;
  int tile_n = 64;
  int tile_k = 16;
  int threads_m = 16;  // threads along tile_m
  int threads_n = 16;
  int blocks_per_sm = 2;  // promised to the compiler: bounds the registers per thread
};

// mma.cuh: mma.sync, sm_80 and up.
struct MmaTile {
  int tile_m = 128;
  int tile_n = 128;
  int tile_k = 32;  // of one pipeline stage
  int warps_m = 2;
  int warps_n = 4;
  int stages = 3;
  int blocks_per_sm = 1;
};

// mma_rows.cuh: mma.sync for few rows of x, which are the narrow operand.
struct MmaRowsTile {
  int tile_n = 64;  // rows of w: 16 for each warp along n
  int tile_m = 16;  // rows of x: a multiple of 8
  int tile_k = 64;  // of one pipeline stage
  int warps_n = 4;
  int stages = 4;
  int blocks_per_sm = 2;
};

// The definitions of struct Config that a main loop reads besides kIn and kOut.
std::string Constants(const FfmaTile& tile);
std::string Constants(const MmaTile& tile);
std::string Constants(const MmaRowsTile& tile);

using Tile = std::variant<FfmaTile, MmaTile, MmaRowsTile, WgmmaConfig, WgmmaRowsConfig>;

struct KernelConfig {
  Tile tile;
  ComputeType compute = ComputeType::kBf16;
  DataType output = DataType::kBf16;
  int split_k = 1;  // GemmArgs::split_k: a launch parameter, not part of the code
};

// The file of the tile's main loop without folder and ending: "mma", "wgmma_rows".
std::string_view MainLoopName(const Tile& tile);

// "mma.128x128x32.w2x4.s3.b1.bf16.bf16.k4" (".k4": split_k, if not 1): for logs, metrics and as a
// key: the numbers of the tile, the format of products, the format of y.
std::string Name(const KernelConfig& config);
// The same without the launch parameter: equal for configs that share their code.
std::string CodeName(const KernelConfig& config);

// The text of struct Config.
std::string EmitConfig(const KernelConfig& config);

}  // namespace mlpserve::cuda
