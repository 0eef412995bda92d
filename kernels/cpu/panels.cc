#include "kernels/cpu/panels.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/product.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cpu {
namespace {

// How many inputs are packed at a time: few enough for their weights of one panel to stay in the L2
// cache while they are transposed. A multiple of a vector's width, as RoundRows needs.
constexpr int64_t kBlockInputs = 512;
// Padded, because rows that lie a power of two apart would share a few sets of the L1 cache.
constexpr int64_t kBlockStride = kBlockInputs + 16;

constexpr int64_t kWorthThreads = int64_t{1} << 20;  // weights; packing fewer takes some 2 ms

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

int64_t PaddedInputs(int64_t inputs, WeightFormat format) {
  return RoundUp(inputs, format == WeightFormat::kFp32 ? 16 : 32);
}

// `rows` is [columns, kBlockStride]; `to` is where the strip's first input of them goes.
void PackStrip(const float* rows, int64_t columns, int64_t inputs, int64_t strip, float* to) {
  for (int64_t k = 0; k < inputs; ++k) {
    for (int64_t column = 0; column < columns; ++column) {
      to[k * strip + column] = rows[column * kBlockStride + k];
    }
  }
}

// `rows` is [outputs, kBlockStride]; the panel's first input here is `first`.
void PackFp32(const float* rows, int64_t outputs, int64_t first, int64_t inputs, float* panel,
              int64_t padded_inputs) {
  const int64_t strip = StripColumns();
  for (int64_t column = 0; column < outputs; column += strip) {
    PackStrip(rows + column * kBlockStride, std::min(strip, outputs - column), inputs, strip,
              panel + column * padded_inputs + first * strip);
  }
}

void PackBf16(const float* rows, int64_t outputs, int64_t first, int64_t inputs, uint16_t* panel) {
  for (int64_t k = 0; k < inputs; ++k) {
    uint16_t* const to = panel + (first + k) / 2 * kPanelColumns * 2 + (first + k) % 2;
    for (int64_t column = 0; column < outputs; ++column) {
      to[2 * column] = Bf16FromFloat(rows[column * kBlockStride + k]);
    }
  }
}

}  // namespace

// The buffers with which one thread packs panels.
class Panels::Packer {
 public:
  Packer(const LayerSpec& layer, ComputeType compute, Panels& panels)
      : weight_(layer.weight),
        compute_(compute),
        panels_(panels),
        row_bytes_(layer.inputs * static_cast<int64_t>(ByteSize(weight_.type()))),
        given_(std::min(kPanelColumns, layer.outputs) * row_bytes_),
        block_(kPanelColumns * kBlockStride) {}

  absl::Status Pack(int64_t panel) {
    const int64_t row = panel * kPanelColumns;
    const int64_t outputs = std::min(kPanelColumns, panels_.outputs_ - row);
    MLPSERVE_RETURN_IF_ERROR(weight_.ReadBytes(
        row * row_bytes_, {given_.get(), static_cast<size_t>(outputs * row_bytes_)}));
    for (int64_t first = 0; first < panels_.inputs_; first += kBlockInputs) {
      PackBlock(panel, outputs, first);
    }
    return absl::OkStatus();
  }

 private:
  void PackBlock(int64_t panel, int64_t outputs, int64_t first) {
    const int64_t inputs = std::min(kBlockInputs, panels_.inputs_ - first);
    const int64_t first_byte = first * static_cast<int64_t>(ByteSize(weight_.type()));
    float* const block = block_.get();
    for (int64_t column = 0; column < outputs; ++column) {
      ReadRows(weight_.type(), given_.get() + column * row_bytes_ + first_byte, 1, inputs,
               block + column * kBlockStride, kBlockStride);
    }
    RoundRows(compute_, block, kBlockStride, outputs, inputs, block, kBlockStride);
    std::byte* const to = panels_.data_.get() + panel * panels_.panel_bytes_;
    if (panels_.format_ == WeightFormat::kFp32) {
      PackFp32(block, outputs, first, inputs, reinterpret_cast<float*>(to),
               panels_.padded_inputs());
    } else {
      PackBf16(block, outputs, first, inputs, reinterpret_cast<uint16_t*>(to));
    }
  }

  const Tensor& weight_;
  const ComputeType compute_;
  Panels& panels_;
  const int64_t row_bytes_;
  AlignedBuffer<std::byte> given_;  // one panel's rows
  AlignedBuffer<float> block_;      // [outputs, kBlockStride] of them, rounded
};

Panels::Panels(const LayerSpec& layer, WeightFormat format)
    : format_(format),
      inputs_(layer.inputs),
      outputs_(layer.outputs),
      panel_bytes_(padded_inputs() * kPanelColumns * (format == WeightFormat::kFp32 ? 4 : 2)),
      data_(count() * panel_bytes_) {}

int64_t Panels::padded_inputs() const { return PaddedInputs(inputs_, format_); }

absl::StatusOr<Panels> Panels::Pack(const LayerSpec& layer, ComputeType compute,
                                    WeightFormat format, int threads) {
  Panels panels(layer, format);
  std::atomic<int64_t> next = 0;
  std::mutex mutex;
  absl::Status status;  // the first error; guarded by mutex
  const auto pack = [&](Packer& packer) {
    for (int64_t panel = next++; panel < panels.count(); panel = next++) {
      const absl::Status packed = packer.Pack(panel);
      if (packed.ok()) continue;
      const std::lock_guard lock(mutex);
      status.Update(packed);
      next = panels.count();
    }
  };
  const int64_t useful = layer.weight.size() < kWorthThreads ? 1 : panels.count();
  // Packers allocate here and not on the threads, where std::bad_alloc would end the program.
  std::deque<Packer> packers;
  for (int64_t i = 0; i < std::min<int64_t>(threads, useful); ++i) {
    packers.emplace_back(layer, compute, panels);
  }
  {
    std::vector<std::jthread> helpers;
    for (size_t i = 1; i < packers.size(); ++i) {
      helpers.emplace_back([&, i] { pack(packers[i]); });
    }
    pack(packers.front());
  }
  MLPSERVE_RETURN_IF_ERROR(status);
  return panels;
}

}  // namespace mlpserve::cpu
