#include "kernels/cuda/tiles/config.h"

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

}  // namespace

std::string MainLoopPath(const Tile& tile) {
  const char* const folder = IsWgmma(tile) ? "wgmma/" : "mma/";
  return absl::StrCat("kernels/cuda/device/", folder, std::string(MainLoopName(tile)), ".cuh");
}

std::string_view MainLoopName(const Tile& tile) {
  constexpr std::string_view kNames[] = {"ffma", "mma", "mma_rows", "wgmma_gemm", "wgmma_rows"};
  static_assert(std::size(kNames) == std::variant_size_v<Tile>);
  if (Normalises(tile)) return "wgmma_batch_norm";
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
  const ComputeType operands = ReadsHalves(config.tile) ? ComputeType::kTf32 : config.compute;
  return absl::StrCat("struct Config {\n  static constexpr Type kIn = ", DeviceType(operands),
                      ";\n  static constexpr Type kOut = ", DeviceType(config.output), ";\n") +
         std::visit([](const auto& t) { return Constants(t); }, config.tile) + "};\n";
}

}  // namespace mlpserve::cuda
