// A block on one device, worked out before anything is allocated or compiled:
//
//   wire rows -> [input format] -> layer 0 -> ... -> last layer, straight to the wire's format
//
// A bucket is a number of rows that kernels are chosen for (buckets.h), and a batch runs in the
// smallest one that holds it. With the bucket's rows or with its own: see PadsRows.
//
// Pure: no device, driver or compiler is asked, and equal arguments give equal plans.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/jit/kernel_text.h"
#include "kernels/cuda/plan/buffers.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

struct PlanOptions {
  int64_t max_rows = 4096;       // of a batch
  std::vector<int64_t> buckets;  // ascending; empty: powers of two up to max_rows
  KernelChoice choice = KernelChoice::kMeasured;
  bool has_library = true;  // cuBLASLt may compute products too; false: no memory is set aside
  bool may_split = true;    // false: there is no room for split weights (LayerPlan::is_split)
  // False: weights are not looked at. The bytes are then an upper bound, for admission; such a plan
  // is not for loading.
  bool reads_weights = true;
};

struct BlockPlan {
  DeviceLimits limits;
  PlanOptions options;
  bool may_use_library = false;  // it promises nothing about the order of its additions
  std::vector<int64_t> buckets;  // ascending; the last is max_rows
  // The rows as they arrive on the wire, as the first layer reads them, and as they leave. The
  // first two share a buffer where the formats are equal.
  RowsPlan wire_input, input, output;
  std::vector<LayerPlan> layers;
  BufferBytes lane;  // the most that a lane needs, whichever candidates are chosen

  // Whether every row's result is its own: nothing takes statistics over the batch.
  bool rows_are_apart() const;
  // Whether a batch is run as if it filled its bucket, so that one graph of launches serves all of
  // the bucket's batches. Pad rows hold what was there before; nobody reads what comes of them.
  // Never where statistics would see them, nor where they would cost more than launches do.
  bool PadsRows(int64_t rows) const;
  // Whether the graph of that bucket fetches the batch's rows from the host and sends them back by
  // kernels of its own (host_rows.cuh): few bytes, which copies beside the graph take longer to
  // wait for than to move.
  bool MovesRowsByKernels(int64_t bucket_rows) const;
  bool converts_input() const { return wire_input.buffer != input.buffer; }
  // Index of the smallest bucket that holds so many rows (<= max_rows).
  size_t BucketOf(int64_t rows) const;
  // Bytes of the device's memory: what all lanes share, and the most that each lane adds.
  int64_t shared_bytes() const;
  int64_t lane_bytes() const { return lane.total(); }
  // Bytes of the host's memory: the rows of one slot, and those of one output.
  int64_t slot_bytes() const { return wire_input.bytes(options.max_rows); }
  int64_t output_bytes() const { return output.bytes(options.max_rows); }
};

// `block` has passed Validate.
BlockPlan PlanBlock(const BlockSpec& block, const DeviceLimits& limits,
                    const PlanOptions& options = {});

// The kernel that converts the input to the first layer's format; empty where none is needed.
absl::StatusOr<std::vector<KernelText>> InputTexts(const BlockPlan& plan);

// The kernels that move rows, fetching and sending; none where no bucket's graph does.
std::vector<KernelText> HostRowsTexts(const BlockPlan& plan);

// Every kernel that a load may ask for, each source once: what a cache is filled with ahead of
// time, on a machine without a GPU. Errors are EmitEpilogue's.
absl::StatusOr<std::vector<KernelText>> KernelTexts(const BlockPlan& plan);

}  // namespace mlpserve::cuda
