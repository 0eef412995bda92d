#include "kernels/cpu/panels.h"

#include "kernels/spec/rounding.h"

namespace mlpserve::cpu {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

int64_t PanelBytes(int64_t inputs, WeightFormat format) {
  return format == WeightFormat::kFp32 ? RoundUp(inputs, 16) * kPanelColumns * 4
                                       : RoundUp(inputs, 32) * kPanelColumns * 2;
}

}  // namespace

Panels::Panels(const LayerSpec& layer, ComputeType compute, WeightFormat format)
    : format_(format),
      inputs_(layer.inputs),
      outputs_(layer.outputs),
      panel_bytes_(PanelBytes(layer.inputs, format)),
      data_(count() * panel_bytes_) {
  const bool fp32 = format == WeightFormat::kFp32;
  for (int64_t n = 0; n < outputs_; ++n) {
    std::byte* panel = data_.get() + n / kPanelColumns * panel_bytes_;
    const int64_t column = n % kPanelColumns;
    for (int64_t k = 0; k < inputs_; ++k) {
      const float weight = RoundTo(compute, layer.weight[n * inputs_ + k]);
      if (fp32) {
        WriteElement(DataType::kFp32, weight, panel + (k * kPanelColumns + column) * 4);
      } else {
        const int64_t pair = (k / 2 * kPanelColumns + column) * 2 + k % 2;
        WriteElement(DataType::kBf16, weight, panel + pair * 2);
      }
    }
  }
}

}  // namespace mlpserve::cpu
