#include "kernels/cuda/config.h"

#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace mlpserve::cuda {
namespace {

std::string_view Name(MainLoop main_loop) {
  switch (main_loop) {
    case MainLoop::kFfma:
      return "ffma";
    case MainLoop::kMma:
      return "mma";
    case MainLoop::kMmaRows:
      return "mma_rows";
    case MainLoop::kWgmma:
      return "wgmma";
    case MainLoop::kWgmmaRows:
      return "wgmma_rows";
  }
  return "?";
}

std::string_view TypeText(ComputeType type) {
  switch (type) {
    case ComputeType::kFp32:
      return "Type::kFp32";
    case ComputeType::kTf32:
      return "Type::kTf32";
    case ComputeType::kFp16:
      return "Type::kFp16";
    case ComputeType::kBf16:
      return "Type::kBf16";
  }
  return "?";
}

std::string_view TypeText(DataType type) {
  switch (type) {
    case DataType::kFp32:
      return "Type::kFp32";
    case DataType::kFp16:
      return "Type::kFp16";
    case DataType::kBf16:
      return "Type::kBf16";
  }
  return "?";
}

template <typename T>
std::string LowerName(T type) {
  return absl::AsciiStrToLower(std::string(mlpserve::Name(type)));
}

}  // namespace

std::string CodeName(const KernelConfig& c) {
  std::string name = absl::StrCat(std::string(Name(c.main_loop)), ".", LowerName(c.compute), ".",
                                  LowerName(c.output), ".", c.tile_m, "x", c.tile_n, "x", c.tile_k);
  absl::StrAppend(&name, ".w", c.warps_m, "x", c.warps_n, ".s", c.stages, ".b", c.blocks_per_sm);
  if (c.cluster > 1) absl::StrAppend(&name, ".c", c.cluster);
  return name;
}

std::string Name(const KernelConfig& c) {
  return c.split_k == 1 ? CodeName(c) : absl::StrCat(CodeName(c), ".k", c.split_k);
}

std::string EmitConfig(const KernelConfig& c) {
  std::string text = "struct Config {\n";
  const auto constant = [&text](const char* name, int value) {
    absl::StrAppend(&text, "  static constexpr int ", name, " = ", value, ";\n");
  };
  absl::StrAppend(&text, "  static constexpr Type kIn = ", std::string(TypeText(c.compute)), ";\n");
  absl::StrAppend(&text, "  static constexpr Type kOut = ", std::string(TypeText(c.output)), ";\n");
  constant("kTileM", c.tile_m);
  constant("kTileN", c.tile_n);
  constant("kTileK", c.tile_k);
  constant("kWarpsM", c.warps_m);
  constant("kWarpsN", c.warps_n);
  constant("kStages", c.stages);
  constant("kBlocksPerSm", c.blocks_per_sm);
  constant("kCluster", c.cluster);
  absl::StrAppend(&text, "};\n");
  return text;
}

}  // namespace mlpserve::cuda
