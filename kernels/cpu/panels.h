// A layer's weights packed for the product x·Wᵀ: panels of 64 outputs, and in a panel the weights
// of one input after those of another, so that a product reads them once, in order.
//
//   FP32 [panels][strips][inputs, padded][columns of a strip]
//   BF16 [panels][inputs, padded, / 2][64][2]
// A strip is what a product computes at a time (StripColumns: 64 columns with AVX-512, 16 with
// AVX2). BF16's layout is oneDNN's BA16a64b2a, which it also chooses when asked, so that one copy
// serves our kernels and oneDNN's. Padded inputs and the outputs that the last panel lacks have
// weights of zero. Immutable once built.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/spec/block.h"

namespace mlpserve::cpu {

inline constexpr int64_t kPanelColumns = 64;

enum class WeightFormat : uint8_t { kFp32, kBf16 };

class Panels {
 public:
  // Reads the layer's weight and rounds it to `compute` on up to `threads` threads, each of which
  // holds one panel as it was given; kBf16 is for ComputeType::kBf16 alone. Errors: Tensor::Read's.
  static absl::StatusOr<Panels> Pack(const LayerSpec& layer, ComputeType compute,
                                     WeightFormat format, int threads);

  WeightFormat format() const { return format_; }
  int64_t inputs() const { return inputs_; }
  int64_t padded_inputs() const;
  int64_t outputs() const { return outputs_; }
  int64_t count() const { return (outputs_ + kPanelColumns - 1) / kPanelColumns; }
  std::span<const std::byte> panel(int64_t index) const {
    return {data_.get() + index * panel_bytes_, static_cast<size_t>(panel_bytes_)};
  }
  int64_t bytes() const { return data_.size(); }

 private:
  class Packer;

  Panels(const LayerSpec& layer, WeightFormat format);

  WeightFormat format_;
  int64_t inputs_;
  int64_t outputs_;
  int64_t panel_bytes_;
  AlignedBuffer<std::byte> data_;
};

}  // namespace mlpserve::cpu
