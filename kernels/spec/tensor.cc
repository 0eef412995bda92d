#include "kernels/spec/tensor.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

class FloatsInMemory final : public TensorSource {
 public:
  explicit FloatsInMemory(std::vector<float> values) : values_(std::move(values)) {}

  absl::Status Read(int64_t offset, std::span<std::byte> to) const override {
    const std::span<const std::byte> all = std::as_bytes(std::span(values_));
    std::ranges::copy(all.subspan(static_cast<size_t>(offset), to.size()), to.begin());
    return absl::OkStatus();
  }

 private:
  const std::vector<float> values_;
};

}  // namespace

Tensor::Tensor(std::vector<float> values) : size_(static_cast<int64_t>(values.size())) {
  source_ = std::make_shared<FloatsInMemory>(std::move(values));
}

absl::Status Tensor::ReadBytes(int64_t offset, std::span<std::byte> to) const {
  return to.empty() ? absl::OkStatus() : source_->Read(offset, to);
}

absl::Status Tensor::Read(int64_t first, std::span<float> to) const {
  if (type_ == DataType::kFp32) {
    return ReadBytes(first * static_cast<int64_t>(sizeof(float)), std::as_writable_bytes(to));
  }
  const auto convert = type_ == DataType::kFp16 ? FloatFromFp16 : FloatFromBf16;
  std::array<uint16_t, 16384> chunk;
  while (!to.empty()) {
    const std::span<uint16_t> stored(chunk.data(), std::min(chunk.size(), to.size()));
    MLPSERVE_RETURN_IF_ERROR(
        ReadBytes(first * static_cast<int64_t>(sizeof(uint16_t)), std::as_writable_bytes(stored)));
    std::ranges::transform(stored, to.begin(), convert);
    first += static_cast<int64_t>(stored.size());
    to = to.subspan(stored.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> Tensor::ToFloats() const {
  std::vector<float> values(static_cast<size_t>(size_));
  MLPSERVE_RETURN_IF_ERROR(Read(0, values));
  return values;
}

}  // namespace mlpserve
