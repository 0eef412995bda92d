#include "server/tools/bench/prepared_layer.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/driver/memory.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"
#include "server/tools/bench/cuda_device.h"
#include "server/tools/bench/in_turn.h"

namespace mlpserve::tools {

namespace {

constexpr size_t kGuardBytes = size_t{64} << 10;
constexpr int64_t kUploadedBytes = int64_t{64} << 20;  // of x, at a time
constexpr std::byte kPoison{0xFF};

}  // namespace

absl::Status PreparedLayer::AllocateY() {
  const DataType type = problem_.stored();
  const int64_t stride =
      problem_.padding < 0 ? cuda::AlignedStride(problem_.n, type) : problem_.n + problem_.padding;
  const size_t bytes = static_cast<size_t>(problem_.m * stride) * ByteSize(type);
  MLPSERVE_ASSIGN_OR_RETURN(y_memory_, cuda::DeviceMemory::Allocate(bytes + 2 * kGuardBytes));
  y_ = {.data = static_cast<std::byte*>(y_memory_.get()) + kGuardBytes,
        .features = problem_.n,
        .stride = stride,
        .type = type};
  return absl::OkStatus();
}

// What lies between the rows is NaN: nothing may come of it.
absl::Status PreparedLayer::UploadRows(std::span<const float> x) {
  const DataType type = problem_.stored();
  const size_t size = ByteSize(type);
  const size_t row_bytes = static_cast<size_t>(x_.stride) * size;
  const int64_t at_once = std::max<int64_t>(1, kUploadedBytes / static_cast<int64_t>(row_bytes));
  std::vector<std::byte> rows;
  for (int64_t first = 0; first < problem_.m; first += at_once) {
    const int64_t count = std::min(at_once, problem_.m - first);
    rows.assign(static_cast<size_t>(count) * row_bytes, kPoison);
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t i = 0; i < problem_.k; ++i) {
        WriteElement(type, x[static_cast<size_t>((first + row) * problem_.k + i)],
                     &rows[static_cast<size_t>(row) * row_bytes + static_cast<size_t>(i) * size]);
      }
    }
    MLPSERVE_RETURN_IF_ERROR(cuda::CopyToDevice(
        static_cast<std::byte*>(x_.data) + static_cast<size_t>(first) * row_bytes, rows.data(),
        rows.size()));
  }
  return absl::OkStatus();
}

absl::Status PreparedLayer::Upload(const LayerSpec& layer, std::span<const float> x) {
  const DataType type = problem_.stored();
  const int64_t padding = std::max<int64_t>(0, problem_.padding);
  MLPSERVE_ASSIGN_OR_RETURN(
      x_, builder_.AllocateActivation(problem_.k, cuda::AlignedStride(problem_.k + padding, type),
                                      type));
  MLPSERVE_RETURN_IF_ERROR(AllocateY());
  MLPSERVE_RETURN_IF_ERROR(builder_.ReserveUnfinished(problem_.n));
  if (problem_.compute == ComputeType::kFp32) {
    MLPSERVE_RETURN_IF_ERROR(builder_.ReserveHalves(problem_.k));
  }
  MLPSERVE_RETURN_IF_ERROR(UploadRows(x));
  const int copies = ColdCopies(static_cast<size_t>(problem_.weight_bytes()));
  for (int i = 0; i < copies; ++i) {
    auto built = builder_.Build(layer, problem_.compute, x_, x_, y_, stream_);
    if (!built.ok()) return built.status();
    copies_.push_back(*std::move(built));
  }
  if (problem_.layers == 1) return absl::OkStatus();
  for (cuda::Activation& activation : between_) {
    MLPSERVE_ASSIGN_OR_RETURN(
        activation,
        builder_.AllocateActivation(problem_.n, cuda::AlignedStride(problem_.n, type), type));
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

void PreparedLayer::PoisonY() const { Poison(y_memory_.get(), y_memory_.size()); }

std::vector<std::byte> PreparedLayer::Download(const cuda::Activation& from, int64_t rows,
                                               int64_t first, int64_t count) const {
  const size_t size = ByteSize(from.type);
  std::vector<std::byte> copied(static_cast<size_t>(rows * count) * size);
  CopyRowsToHost(copied.data(),
                 static_cast<const std::byte*>(from.data) + static_cast<size_t>(first) * size,
                 static_cast<size_t>(from.stride) * size, static_cast<size_t>(count) * size,
                 static_cast<size_t>(rows));
  return copied;
}

int64_t PreparedLayer::CountTrespasses() const {
  const auto* memory = static_cast<const std::byte*>(y_memory_.get());
  const auto count = [](const std::vector<std::byte>& bytes) {
    return std::ranges::count_if(bytes, [](std::byte b) { return b != kPoison; });
  };
  std::vector<std::byte> guard(kGuardBytes);
  CopyToHost(guard.data(), memory, kGuardBytes);
  int64_t trespasses = count(guard);
  CopyToHost(guard.data(), memory + y_memory_.size() - kGuardBytes, kGuardBytes);
  trespasses += count(guard);
  const int64_t used = std::min(y_.stride, cuda::AlignedStride(problem_.n, y_.type));
  return trespasses + count(Download(y_, problem_.m, used, y_.stride - used));
}

}  // namespace mlpserve::tools
