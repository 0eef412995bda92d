#include "kernels/cuda/plan/split_weight.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/tiles/choose.h"

namespace mlpserve::cuda {
namespace {

constexpr int64_t kPieceValues = int64_t{1} << 20;  // read at a time

// Rows of x are scaled to at most 2^64: sums of fewer than 2^23 products stay below 2^127.
constexpr float kMostWeight = 0x1p40f;
// The last bit of such a weight is worth 2^-123, a normal number.
constexpr float kLeastWeight = 0x1p-100f;

}  // namespace

bool MayBeSplit(const LayerSpec& layer) {
  if (layer.inputs < kLeastHalvesDepth) return false;
  const auto fits = [](float w) {
    const float magnitude = std::fabs(w);
    return magnitude == 0 || (magnitude >= kLeastWeight && magnitude <= kMostWeight);
  };
  std::vector<float> piece(static_cast<size_t>(std::min(kPieceValues, layer.weight.size())));
  for (int64_t done = 0; done < layer.weight.size(); done += kPieceValues) {
    const std::span<float> values(
        piece.data(), static_cast<size_t>(std::min(kPieceValues, layer.weight.size() - done)));
    // A weight that cannot be read fails again when it is uploaded, and that error says why.
    if (!layer.weight.Read(done, values).ok() || !std::ranges::all_of(values, fits)) return false;
  }
  return true;
}

}  // namespace mlpserve::cuda
