#include "kernels/cuda/config.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace mlpserve::cuda {
namespace {

// "FP16" names the same format in both enumerations, and Type::kFp16 in device code.
template <typename T>
std::string LowerName(T type) {
  return absl::AsciiStrToLower(std::string(mlpserve::Name(type)));
}

template <typename T>
std::string DeviceType(T type) {
  std::string name = LowerName(type);
  name[0] = absl::ascii_toupper(name[0]);
  return absl::StrCat("Type::k", name);
}

std::vector<Constant> Constants(const Tile& tile) {
  return std::visit([](const auto& t) { return t.Constants(); }, tile);
}

}  // namespace

std::vector<Constant> FfmaTile::Constants() const {
  return {{"kTileM", tile_m},
          {"kTileN", tile_n},
          {"kTileK", tile_k},
          {"kThreadsM", threads_m},
          {"kThreadsN", threads_n}};
}

std::vector<Constant> MmaTile::Constants() const {
  return {{"kTileM", tile_m},
          {"kTileN", tile_n},
          {"kTileK", tile_k},
          {"kWarpsM", warps_m},
          {"kWarpsN", warps_n},
          {"kStages", stages},
          {"kBlocksPerSm", blocks_per_sm}};
}

std::vector<Constant> MmaRowsTile::Constants() const {
  return {{"kTileN", tile_n},   {"kTileM", tile_m},  {"kTileK", tile_k},
          {"kWarpsN", warps_n}, {"kStages", stages}, {"kBlocksPerSm", blocks_per_sm}};
}

std::vector<Constant> WgmmaGemmTile::Constants() const {
  return {{"kTileM", tile_m},           {"kTileN", tile_n},
          {"kStages", stages},          {"kClusterM", cluster_m},
          {"kClusterN", cluster_n},     {"kPingPong", ping_pong},
          {"kGroupM", group_m},         {"kStoreBuffers", store_buffers},
          {"kStoreByTma", store_by_tma}};
}

std::vector<Constant> WgmmaRowsTile::Constants() const {
  return {{"kTileRows", tile_rows}, {"kBatch", batch},
          {"kStages", stages},      {"kBlocksPerStage", blocks_per_stage},
          {"kShare", share},        {"kSplitK", split_k}};
}

std::string_view MainLoopName(const Tile& tile) {
  constexpr std::string_view kNames[] = {"ffma", "mma", "mma_rows", "wgmma_gemm", "wgmma_rows"};
  static_assert(std::size(kNames) == std::variant_size_v<Tile>);
  return kNames[tile.index()];
}

std::string CodeName(const KernelConfig& config) {
  std::string name = absl::StrCat(std::string(MainLoopName(config.tile)), " ",
                                  LowerName(config.compute), " ", LowerName(config.output));
  for (const Constant& c : Constants(config.tile)) {
    absl::StrAppend(&name, " ", std::string(c.name.substr(1)), c.value);
  }
  return name;
}

std::string Name(const KernelConfig& config) {
  const std::string name = CodeName(config);
  return config.split_k == 1 ? name : absl::StrCat(name, " Split", config.split_k);
}

std::string EmitConfig(const KernelConfig& config) {
  std::string text =
      absl::StrCat("struct Config {\n  static constexpr Type kIn = ", DeviceType(config.compute),
                   ";\n  static constexpr Type kOut = ", DeviceType(config.output), ";\n");
  for (const Constant& c : Constants(config.tile)) {
    absl::StrAppend(&text, "  static constexpr int ", std::string(c.name), " = ", c.value, ";\n");
  }
  return absl::StrCat(text, "};\n");
}

}  // namespace mlpserve::cuda
