#include "server/engine/backend.h"

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
      placement.lanes_per_device, " of a device, and ", placement.outputs, " outputs"));
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
