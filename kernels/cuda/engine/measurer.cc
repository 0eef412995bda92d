#include "kernels/cuda/engine/measurer.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <random>
#include <utility>

#include "kernels/cuda/engine/timing.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr int64_t kColdBytes = int64_t{300} << 20;  // 5 x the L2 of an H200, 4 x a 4090's
constexpr int64_t kMostCopies = 64;
constexpr size_t kPatternValues = (size_t{1} << 18) - 5;  // rows are no multiples of it

std::vector<float> NormalValues() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(kPatternValues);
  std::ranges::generate(values, [&] { return normal(random); });
  return values;
}

std::vector<std::byte> NormalPattern(DataType type) {
  static const std::vector<float> values = NormalValues();
  const size_t size = ByteSize(type);
  std::vector<std::byte> pattern(values.size() * size);
  for (size_t i = 0; i < values.size(); ++i) WriteElement(type, values[i], &pattern[i * size]);
  return pattern;
}

absl::StatusOr<std::shared_ptr<const DeviceMemory>> Clone(
    const std::shared_ptr<const DeviceMemory>& from) {
  if (from == nullptr) return nullptr;
  MLPSERVE_ASSIGN_OR_RETURN(DeviceMemory copy, DeviceMemory::Allocate(from->size()));
  MLPSERVE_RETURN_IF_ERROR(CopyOnDevice(copy.get(), from->get(), from->size()));
  return std::make_shared<const DeviceMemory>(std::move(copy));
}

absl::StatusOr<LayerData> CloneWeights(const LayerData& data) {
  LayerData copy = data;
  MLPSERVE_ASSIGN_OR_RETURN(copy.weight, Clone(data.weight));
  MLPSERVE_ASSIGN_OR_RETURN(copy.split_weight, Clone(data.split_weight));
  return copy;
}

absl::StatusOr<Way> BindToAll(const Candidate& candidate, const LayerPlan& layer,
                              const std::vector<LayerData>& copies, const LaneMemory& memory,
                              int32_t m) {
  Way way;
  for (const LayerData& data : copies) {
    MLPSERVE_ASSIGN_OR_RETURN(
        auto bound, candidate.step->Bind({.layer = layer, .data = data, .memory = memory}));
    bound->SetRows(m);
    way.push_back(std::move(bound));
  }
  return way;
}

}  // namespace

int ColdCopies(int64_t weight_bytes) {
  return static_cast<int>(
      std::clamp(kColdBytes / std::max<int64_t>(weight_bytes, 1) + 1, int64_t{2}, kMostCopies));
}

absl::Status FillNormal(const RowsPlan& rows, const LaneMemory& memory) {
  auto* to = static_cast<std::byte*>(memory.at(rows));
  const size_t size = memory.size(rows.buffer);
  const std::vector<std::byte> pattern = NormalPattern(rows.type);
  size_t filled = std::min(size, pattern.size());
  MLPSERVE_RETURN_IF_ERROR(CopyToDevice(to, pattern.data(), filled));
  while (filled < size) {
    const size_t more = std::min(filled, size - filled);
    MLPSERVE_RETURN_IF_ERROR(CopyOnDevice(to + filled, to, more));
    filled += more;
  }
  return absl::OkStatus();
}

// Fewer where there is no room for all.
absl::Status Measurer::CopyWeights(const LayerPlan& layer, const LayerData& data) {
  if (!copies_.empty() && copies_.front().weight == data.weight) return absl::OkStatus();
  copies_.assign(1, data);
  const auto wanted = static_cast<size_t>(ColdCopies(layer.weight_bytes()));
  while (copies_.size() < wanted) {
    absl::StatusOr<LayerData> copy = CloneWeights(data);
    if (absl::IsResourceExhausted(copy.status())) break;
    if (!copy.ok()) return copy.status();
    copies_.push_back(*std::move(copy));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> Measurer::Time(const LayerPlan& layer, const LayerData& data,
                                                   const std::vector<Candidate>& candidates,
                                                   int32_t m) {
  if (!memory_) {
    MLPSERVE_ASSIGN_OR_RETURN(memory_, LaneMemory::Allocate(lane_));
  }
  MLPSERVE_RETURN_IF_ERROR(CopyWeights(layer, data));
  MLPSERVE_RETURN_IF_ERROR(FillNormal(layer.x, *memory_));
  if (UsesInput(layer.epilogue) || !layer.norms.empty()) {
    MLPSERVE_RETURN_IF_ERROR(FillNormal(layer.block_input, *memory_));
  }
  std::vector<Way> ways;
  for (const Candidate& candidate : candidates) {
    absl::StatusOr<Way> way = BindToAll(candidate, layer, copies_, *memory_, m);
    if (IsFatal(way.status())) return way.status();
    ways.push_back(way.ok() ? *std::move(way) : Way{});
  }
  return TimeInTurn(ways, stream_);
}

}  // namespace mlpserve::cuda
