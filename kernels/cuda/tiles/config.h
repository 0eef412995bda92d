// One kernel's compile-time choices as data: what Config says in the generated source.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "kernels/cuda/tiles/mma_launch.h"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

// Each main loop has its own tile.
using Tile = std::variant<FfmaTile, MmaTile, MmaRowsTile, WgmmaConfig, WgmmaRowsConfig>;

struct KernelConfig {
  Tile tile;
  ComputeType compute = ComputeType::kBf16;
  DataType output = DataType::kBf16;
  int split_k = 1;  // GemmArgs::split_k: a launch parameter, not part of the code
};

// Whether it needs sm_90a.
inline bool IsWgmma(const Tile& tile) {
  return std::holds_alternative<WgmmaConfig>(tile) || std::holds_alternative<WgmmaRowsConfig>(tile);
}

// Whether it does a batch norm with the batch's statistics as well.
inline bool Normalises(const Tile& tile) {
  const auto* wgmma = std::get_if<WgmmaConfig>(&tile);
  return wgmma != nullptr && wgmma->normalises;
}

// Whether it makes FP32 products out of three of TF32 (tf32_terms.cuh), and so reads split rows.
inline bool ReadsHalves(const Tile& tile) {
  const auto* wgmma = std::get_if<WgmmaConfig>(&tile);
  const auto* rows = std::get_if<WgmmaRowsConfig>(&tile);
  return (wgmma != nullptr && wgmma->terms > 1) || (rows != nullptr && rows->terms > 1);
}

// The file of the tile's main loop without folder and ending: "mma", "wgmma_rows".
std::string_view MainLoopName(const Tile& tile);
std::string MainLoopPath(const Tile& tile);  // of that file, from the root

// "mma.128x128x32.w2x4.s3.b1.bf16.bf16.k4" (".k4": split_k, if not 1): for logs, metrics and as a
// key: the numbers of the tile, the format of products, the format of y.
std::string Name(const KernelConfig& config);
// The same without the launch parameter: equal for configs that share their code.
std::string CodeName(const KernelConfig& config);

// The text of struct Config.
std::string EmitConfig(const KernelConfig& config);

}  // namespace mlpserve::cuda
