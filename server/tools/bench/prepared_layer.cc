#include "server/tools/bench/prepared_layer.h"

#include <utility>

#include "kernels/cuda/bench/device.h"
#include "kernels/cuda/bench/in_turn.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::tools {

absl::Status PreparedLayer::UploadRows(std::span<const float> x) {
  const DataType type = problem_.stored();
  const size_t size = ByteSize(type);
  std::vector<std::byte> rows(static_cast<size_t>(problem_.m * x_.stride) * size);
  for (int64_t row = 0; row < problem_.m; ++row) {
    for (int64_t i = 0; i < problem_.k; ++i) {
      WriteElement(type, x[static_cast<size_t>(row * problem_.k + i)],
                   &rows[static_cast<size_t>(row * x_.stride + i) * size]);
    }
  }
  return cuda::CopyToDevice(x_.data, rows.data(), rows.size());
}

absl::Status PreparedLayer::Upload(const LayerSpec& layer, std::span<const float> x) {
  const DataType type = problem_.stored();
  const auto allocate = [&](int64_t features, cuda::Activation& activation) -> absl::Status {
    const auto made =
        builder_.AllocateActivation(features, cuda::AlignedStride(features, type), type);
    if (!made.ok()) return made.status();
    activation = *made;
    return absl::OkStatus();
  };
  MLPSERVE_RETURN_IF_ERROR(allocate(problem_.k, x_));
  MLPSERVE_RETURN_IF_ERROR(allocate(problem_.n, y_));
  MLPSERVE_RETURN_IF_ERROR(builder_.ReserveUnfinished(problem_.n));
  if (problem_.compute == ComputeType::kFp32) {
    MLPSERVE_RETURN_IF_ERROR(builder_.ReserveHalves(problem_.k));
  }
  MLPSERVE_RETURN_IF_ERROR(UploadRows(x));
  const int copies = bench::ColdCopies(static_cast<size_t>(problem_.weight_bytes()));
  for (int i = 0; i < copies; ++i) {
    auto built = builder_.Build(layer, problem_.compute, x_, x_, y_, stream_);
    if (!built.ok()) return built.status();
    copies_.push_back(*std::move(built));
  }
  if (problem_.layers == 1) return absl::OkStatus();
  for (cuda::Activation& activation : between_) {
    MLPSERVE_RETURN_IF_ERROR(allocate(problem_.n, activation));
  }
  return BuildChain(layer);
}

absl::Status PreparedLayer::BuildChain(const LayerSpec& layer) {
  cuda::Activation from = x_;
  for (int i = 0; i < problem_.layers; ++i) {
    const cuda::Activation& to = between_[static_cast<size_t>(i) % 2];
    auto built = builder_.Build(layer, problem_.compute, from, x_, to, stream_);
    if (!built.ok()) return built.status();
    chain_.push_back(*std::move(built));
    from = to;
  }
  return absl::OkStatus();
}

std::vector<std::byte> PreparedLayer::Download(const cuda::Activation& from) const {
  const size_t bytes = static_cast<size_t>(problem_.m * from.stride) * ByteSize(from.type);
  std::vector<std::byte> copied(bytes);
  bench::CopyToHost(copied.data(), from.data, bytes);
  return copied;
}

}  // namespace mlpserve::tools
