#include "server/model/finite_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

constexpr size_t kStep = 256;  // a constant number of iterations is compiled to vector code

// The smallest magnitude that is no longer finite once it is rounded to the type, as FP32's bits,
// which are ordered as magnitudes are; NaN lies above infinity.
uint32_t FirstNonFinite(ComputeType compute) {
  switch (compute) {
    case ComputeType::kFp32:
      break;
    case ComputeType::kTf32:
      return 0x7f7ff000u;  // half-way between the largest and 2^128
    case ComputeType::kFp16:
      return std::bit_cast<uint32_t>(65520.0f);  // half-way to 2^16
    case ComputeType::kBf16:
      return 0x7f7f8000u;  // half-way to 2^128
  }
  return 0x7f800000u;
}

// The first of the numbers, given as bits, whose magnitude is at least `limit`.
template <typename Bits>
std::optional<int64_t> FindAtLeast(const Bits* bits, size_t count, Bits sign, Bits limit) {
  const auto magnitude = [sign](Bits value) { return static_cast<Bits>(value & ~sign); };
  for (size_t begin = 0; begin < count; begin += kStep) {
    const size_t end = std::min(count, begin + kStep);
    Bits largest = 0;
    if (end - begin == kStep) {
      for (size_t i = 0; i < kStep; ++i) {
        largest = std::max(largest, magnitude(bits[begin + i]));
      }
    } else {
      for (size_t i = begin; i < end; ++i) largest = std::max(largest, magnitude(bits[i]));
    }
    if (largest < limit) continue;
    for (size_t i = begin; i < end; ++i) {
      if (magnitude(bits[i]) >= limit) return static_cast<int64_t>(i);
    }
  }
  return std::nullopt;
}

// A value of BF16 is the upper half of one of FP32; FP16 holds nothing that is infinite in another
// type.
std::optional<int64_t> Find(std::span<const std::byte> bytes, DataType type, ComputeType compute) {
  const uint32_t limit = FirstNonFinite(compute);
  if (type == DataType::kFp32) {
    return FindAtLeast<uint32_t>(reinterpret_cast<const uint32_t*>(bytes.data()),
                                 bytes.size() / sizeof(uint32_t), 0x80000000u, limit);
  }
  const auto* halves = reinterpret_cast<const uint16_t*>(bytes.data());
  const size_t count = bytes.size() / sizeof(uint16_t);
  if (type == DataType::kFp16) return FindAtLeast<uint16_t>(halves, count, 0x8000u, 0x7c00u);
  const auto upper = static_cast<uint16_t>((limit + 0xffffu) >> 16);
  return FindAtLeast<uint16_t>(halves, count, 0x8000u, upper);
}

class Checked final : public TensorSource {
 public:
  Checked(Tensor tensor, ComputeType compute, NonFiniteError error)
      : tensor_(std::move(tensor)), compute_(compute), error_(std::move(error)) {}

  absl::Status Read(int64_t offset, std::span<std::byte> to) const override {
    MLPSERVE_RETURN_IF_ERROR(tensor_.ReadBytes(offset, to));
    const auto found = Find(to, tensor_.type(), compute_);
    if (!found.has_value()) return absl::OkStatus();
    return error_(offset / static_cast<int64_t>(ByteSize(tensor_.type())) + *found);
  }

 private:
  const Tensor tensor_;
  const ComputeType compute_;
  const NonFiniteError error_;
};

}  // namespace

std::optional<int64_t> FindNonFinite(std::span<const float> values, ComputeType compute) {
  return Find(std::as_bytes(values), DataType::kFp32, compute);
}

Tensor CheckedTensor(Tensor tensor, ComputeType compute, NonFiniteError error) {
  const DataType type = tensor.type();
  const int64_t size = tensor.size();
  return {type, size, std::make_shared<Checked>(std::move(tensor), compute, std::move(error))};
}

}  // namespace mlpserve
