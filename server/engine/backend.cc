#include "server/engine/backend.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mlpserve {

absl::Status Check(const Placement& placement) {
  if (placement.max_rows >= 1 && placement.slots >= 1 && placement.lanes >= 1 &&
      placement.outputs >= placement.lanes && placement.lanes_per_device >= 1 &&
      placement.lanes % placement.lanes_per_device == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "expected at least one row, slot and lane, an output for each lane, and as many "
      "lanes on each device, found ",
      placement.max_rows, " rows, ", placement.slots, " slots, ", placement.lanes, " lanes, ",
      placement.lanes_per_device, " on a device, and ", placement.outputs, " outputs"));
}

std::vector<BatchTime> MeasureBatches(int64_t max_rows, int64_t row_bytes,
                                      const std::function<void(int64_t rows)>& run) {
  constexpr Duration kLongEnough = std::chrono::milliseconds(5);
  constexpr int64_t kMostBytes = int64_t{1} << 20;
  std::vector<BatchTime> times;
  for (int64_t rows = std::min<int64_t>(2, max_rows);; rows = std::min(2 * rows, max_rows)) {
    Duration best = Duration::max();
    for (int i = 0; i < 2; ++i) {  // the first touches memory, and may be interrupted
      const TimePoint begin = Clock::now();
      run(rows);
      best = std::min(best, Clock::now() - begin);
    }
    times.push_back({.rows = rows, .time = best});
    if (best >= kLongEnough || rows == max_rows || 2 * rows * row_bytes > kMostBytes) return times;
  }
}

int64_t RowBytes(int64_t features, DataType type) {
  return features * static_cast<int64_t>(ByteSize(type));
}

int64_t BufferBytes(const BlockSpec& block, const Placement& placement) {
  return placement.max_rows *
         (placement.slots * RowBytes(block.input_features(), block.input_type) +
          placement.outputs * RowBytes(block.output_features(), block.output_type));
}

}  // namespace mlpserve
