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

std::string Constant(const char* name, int value) {
  return absl::StrCat("  static constexpr int ", name, " = ", value, ";\n");
}

std::string Name(const FfmaTile& t) {
  return absl::StrCat(t.tile_m, "x", t.tile_n, "x", t.tile_k, ".t", t.threads_m, "x", t.threads_n) +
         absl::StrCat(".b", t.blocks_per_sm);
}

std::string Name(const MmaTile& t) {
  return absl::StrCat(t.tile_m, "x", t.tile_n, "x", t.tile_k, ".w", t.warps_m, "x", t.warps_n, ".s",
                      t.stages, ".b", t.blocks_per_sm);
}

std::string Name(const MmaRowsTile& t) {
  return absl::StrCat(t.tile_n, "x", t.tile_m, "x", t.tile_k, ".w", t.warps_n, ".s", t.stages, ".b",
                      t.blocks_per_sm);
}

}  // namespace

std::string Constants(const FfmaTile& t) {
  return absl::StrCat(Constant("kTileM", t.tile_m), Constant("kTileN", t.tile_n),
                      Constant("kTileK", t.tile_k), Constant("kThreadsM", t.threads_m),
                      Constant("kThreadsN", t.threads_n)) +
         Constant("kBlocksPerSm", t.blocks_per_sm);
}

std::string Constants(const MmaTile& t) {
  return absl::StrCat(Constant("kTileM", t.tile_m), Constant("kTileN", t.tile_n),
                      Constant("kTileK", t.tile_k), Constant("kWarpsM", t.warps_m)) +
         absl::StrCat(Constant("kWarpsN", t.warps_n), Constant("kStages", t.stages),
                      Constant("kBlocksPerSm", t.blocks_per_sm));
}

std::string Constants(const MmaRowsTile& t) {
  return absl::StrCat(Constant("kTileN", t.tile_n), Constant("kTileM", t.tile_m),
                      Constant("kTileK", t.tile_k), Constant("kWarpsN", t.warps_n),
                      Constant("kStages", t.stages)) +
         Constant("kBlocksPerSm", t.blocks_per_sm);
}

std::string_view MainLoopName(const Tile& tile) {
  constexpr std::string_view kNames[] = {"ffma", "mma", "mma_rows", "wgmma_gemm", "wgmma_rows"};
  static_assert(std::size(kNames) == std::variant_size_v<Tile>);
  return kNames[tile.index()];
}

std::string CodeName(const KernelConfig& config) {
  const std::string tile = std::visit([](const auto& t) { return Name(t); }, config.tile);
  return absl::StrCat(std::string(MainLoopName(config.tile)), ".", tile, ".",
                      LowerName(config.compute), ".", LowerName(config.output));
}

std::string Name(const KernelConfig& config) {
  const std::string name = CodeName(config);
  return config.split_k == 1 ? name : absl::StrCat(name, ".k", config.split_k);
}

std::string EmitConfig(const KernelConfig& config) {
  return absl::StrCat("struct Config {\n  static constexpr Type kIn = ", DeviceType(config.compute),
                      ";\n  static constexpr Type kOut = ", DeviceType(config.output), ";\n") +
         std::visit([](const auto& t) { return Constants(t); }, config.tile) + "};\n";
}

}  // namespace mlpserve::cuda
