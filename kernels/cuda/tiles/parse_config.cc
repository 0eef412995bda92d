#include "kernels/cuda/tiles/parse_config.h"

#include <array>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace mlpserve::cuda {
namespace {

// Reads "w2x4" into as many numbers as there are pointers: false where the prefix or the count is
// another.
bool Read(absl::string_view part, absl::string_view prefix, const std::vector<int*>& numbers) {
  if (!absl::ConsumePrefix(&part, prefix)) return false;
  const std::vector<absl::string_view> found = absl::StrSplit(part, 'x');
  if (found.size() != numbers.size()) return false;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!absl::SimpleAtoi(found[i], numbers[i]) || *numbers[i] < 0 || *numbers[i] > 4096) {
      return false;
    }
  }
  return true;
}

// One part of a tile's name, wherever it stands: the tile is named again afterwards, and the two
// names must be one.
bool ReadPart(absl::string_view part, FfmaTile& t) {
  return Read(part, "t", {&t.threads_m, &t.threads_n, &t.threads_k}) ||
         Read(part, "s", {&t.stages}) || Read(part, "b", {&t.ctas_per_sm}) ||
         Read(part, "", {&t.tile_m, &t.tile_n, &t.tile_k});
}

bool ReadPart(absl::string_view part, MmaTile& t) {
  return Read(part, "w", {&t.warps_m, &t.warps_n}) || Read(part, "s", {&t.stages}) ||
         Read(part, "b", {&t.ctas_per_sm}) || Read(part, "", {&t.tile_m, &t.tile_n, &t.tile_k});
}

bool ReadPart(absl::string_view part, MmaRowsTile& t) {
  return Read(part, "w", {&t.warps_n}) || Read(part, "s", {&t.stages}) ||
         Read(part, "b", {&t.ctas_per_sm}) || Read(part, "", {&t.tile_n, &t.tile_m, &t.tile_k});
}

bool ReadPart(absl::string_view part, WgmmaConfig& c) {
  if (part == "pp") c.ping_pong = 1;
  if (part == "direct") c.store_by_tma = 0;
  return part == "pp" || part == "direct" || Read(part, "norm", {&c.before_columns}) ||
         Read(part, "s", {&c.stages}) || Read(part, "c", {&c.cluster_m, &c.cluster_n}) ||
         Read(part, "g", {&c.group_m}) || Read(part, "b", {&c.store_buffers}) ||
         Read(part, "t", {&c.terms}) || Read(part, "w", {&c.consumers}) ||
         Read(part, "", {&c.tile_m, &c.tile_n});
}

bool ReadPart(absl::string_view part, WgmmaRowsConfig& c) {
  return Read(part, "r", {&c.tile_rows, &c.batch}) ||
         Read(part, "s", {&c.stages, &c.slabs_per_stage}) ||
         Read(part, "p", {&c.prefetch_stages}) || Read(part, "x", {&c.share}) ||
         Read(part, "k", {&c.split_k}) || Read(part, "t", {&c.terms});
}

std::optional<Tile> TileOf(absl::string_view loop) {
  if (loop == "ffma") return FfmaTile{};
  if (loop == "mma") return MmaTile{};
  if (loop == "mma_rows") return MmaRowsTile{};
  if (loop == "wgmma_gemm") return WgmmaConfig{};
  if (loop == "wgmma_rows") return WgmmaRowsConfig{};
  if (loop == "wgmma_batch_norm") return WgmmaConfig{.group_m = 0, .normalises = 1};
  return std::nullopt;
}

std::string LowerName(std::string_view name) { return absl::AsciiStrToLower(std::string(name)); }

absl::Status Error(std::string_view name, const std::string& expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", expected, ", found ", std::string(name)));
}

}  // namespace

absl::StatusOr<KernelConfig> ParseConfig(std::string_view name, ComputeType compute,
                                         DataType output) {
  std::vector<std::string> parts = absl::StrSplit(std::string(name), '.');
  const std::optional<Tile> tile = TileOf(parts.front());
  if (!tile) {
    return Error(name,
                 "a kernel of ffma, mma, mma_rows, wgmma_gemm, wgmma_rows or wgmma_batch_norm");
  }
  KernelConfig config{.tile = *tile, .compute = compute, .output = output};
  parts.erase(parts.begin());
  // In the full name the split of k comes last, behind the formats.
  if (!IsWgmma(*tile) && !parts.empty() && Read(parts.back(), "k", {&config.split_k})) {
    parts.pop_back();
  }
  const size_t count = parts.size();
  if (count >= 2 && parts[count - 2] == LowerName(mlpserve::Name(compute)) &&
      parts[count - 1] == LowerName(mlpserve::Name(output))) {
    parts.resize(count - 2);
  }
  std::string tile_name;
  for (const std::string& part : parts) {
    absl::StrAppend(&tile_name, tile_name.empty() ? "" : ".", part);
    if (!std::visit([&part](auto& t) { return ReadPart(part, t); }, config.tile)) {
      return Error(
          name, absl::StrCat("a part of a ", std::string(MainLoopName(config.tile)),
                             " kernel's name for a product of ", LowerName(mlpserve::Name(compute)),
                             " with results of ", LowerName(mlpserve::Name(output)),
                             " in place of \"", part, "\""));
    }
  }
  const std::string read = std::visit([](const auto& t) { return Name(t); }, config.tile);
  if (read == tile_name) return config;
  return Error(name, absl::StrCat("a name such as ", Name(config)));
}

}  // namespace mlpserve::cuda
