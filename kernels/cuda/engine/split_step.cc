#include "kernels/cuda/engine/split_step.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/jit/device_sources.h"
#include "kernels/cuda/tiles/choose.h"

namespace mlpserve::cuda {
namespace {

constexpr int64_t kPieceValues = int64_t{1} << 20;
constexpr int kThreads = 256;                // as tf32_split.cuh has them
constexpr int kLeastWaitingCapability = 90;  // that has griddepcontrol

// Rows of x are scaled to at most 2^64: sums of fewer than 2^23 products stay below 2^127.
constexpr float kMostWeight = 0x1p40f;
// Its last bit is 2^-123, a normal number.
constexpr float kLeastWeight = 0x1p-100f;

}  // namespace

std::string SplitSource() {
  SourceJoiner source;
  source.Add("kernels/cuda/device/tf32/tf32_split.cuh");
  return std::move(source).Take();
}

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
    // Whoever uploads a weight that cannot be read says why.
    if (!layer.weight.Read(done, values).ok() || !std::ranges::all_of(values, fits)) return false;
  }
  return true;
}

absl::StatusOr<std::unique_ptr<SplitStep>> SplitStep::Make(const SplitArgs& args,
                                                           KernelStore& store) {
  absl::StatusOr<SharedKernel> kernel = store.Get(SplitSource(), kSplitKernel, 0);
  if (!kernel.ok()) return kernel.status();
  const bool waits_by_itself = store.device().limits.capability >= kLeastWaitingCapability;
  return std::unique_ptr<SplitStep>(new SplitStep(args, waits_by_itself, *std::move(kernel)));
}

absl::Status SplitStep::Launch(int32_t m, const Stream& stream) const {
  SplitArgs args = args_;
  void* arguments[] = {&args};
  return kernel_->Launch({.grid_x = m, .threads = kThreads, .programmatic = waits_by_itself_},
                         arguments, stream);
}

}  // namespace mlpserve::cuda
