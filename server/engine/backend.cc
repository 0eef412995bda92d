#include "server/engine/backend.h"

#include "absl/strings/str_cat.h"

namespace mlpserve {

absl::Status Check(const Placement& placement) {
  if (placement.max_rows >= 1 && placement.slots >= 1 && placement.lanes >= 1 &&
      placement.outputs >= placement.lanes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("expected at least one row, slot and lane, and an output for each lane, found ",
                   placement.max_rows, " rows, ", placement.slots, " slots, ", placement.lanes,
                   " lanes and ", placement.outputs, " outputs"));
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
