// How one layer runs on a device: the formats and strides of what it reads and writes, the
// parts of its epilogue, and the kernels that may compute it. Worked out once and by arithmetic
// alone; compiling ahead, choosing, uploading, launching and benchmarking read it.
//
// A layer is one kernel; with batch statistics, where no kernel does the norm as well
// (wgmma_batch_norm.cuh), it is a product in FP32 and a pass for each batch norm. Rows of x, of w
// and of activations start at multiples of 16 bytes, so that any number of features will do:
// columns between the features and the stride hold zeros and are never computed with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/plan/buffers.h"
#include "kernels/cuda/plan/epilogue_parts.h"
#include "kernels/cuda/plan/kernel_choice.h"
#include "kernels/cuda/tiles/choose.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/spec/block.h"
#include "kernels/spec/datatype.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

// A batch norm with the statistics of the batch, and the ops after it.
struct NormPlan {
  EpilogueSpec epilogue;  // begins with the norm (EpiloguePart)
  BatchNorm norm;
  std::vector<float> weight, bias;  // [outputs]; empty: one number for all, which `norm` holds
  RowsPlan z, y;                    // z in FP32; y may be z
  int64_t columns_offset = 0;       // bytes into Buffer::kNormColumns
};

// The kernels that may compute batches of up to `rows` rows, the plainest first.
struct BucketPlan {
  int64_t rows = 0;
  std::vector<Proposal> candidates;
};

struct LayerPlan {
  std::string name;
  ComputeType compute = ComputeType::kBf16;
  int64_t inputs = 0, outputs = 0;   // k and n
  int64_t max_rows = 0;              // of a batch
  DataType given = DataType::kFp32;  // the weight's format on the host
  // Whether kernels may read the weight in two parts for each number: FP32 out of three products of
  // TF32 (tf32_terms.cuh). Both forms of it are on the device until the kernels are chosen.
  bool is_split = false;
  bool batch_invariant = false;
  RowsPlan x, block_input, y;  // of the product: y is unfinished where norms follow
  EpilogueSpec epilogue;       // canonical and without batch norm
  std::vector<NormPlan> norms;
  // Ascending; one for all batches where rows must not depend on their batch.
  std::vector<BucketPlan> buckets;

  DataType stored() const { return StorageType(compute); }  // x and w
  int64_t weight_stride() const { return AlignedStride(inputs, stored()); }
  int64_t weight_bytes() const;
  int64_t split_weight_bytes() const;  // 0: it is not split
  int64_t columns_bytes() const;       // vectors of the epilogue and of the norms
  // Whether the weight lies on the device as it does on the host.
  bool is_weight_as_given() const { return given == stored() && weight_stride() == inputs; }
  // The bucket that serves a batch of that many rows.
  const BucketPlan& bucket(int64_t rows) const;
};

// Where a layer of a block reads and writes.
struct LayerRows {
  RowsPlan x, block_input, y;
};

struct LayerOptions {
  ComputeType compute = ComputeType::kBf16;
  bool batch_invariant = false;
  std::vector<int64_t> buckets;  // ascending; the last is the most rows of a batch
  KernelChoice choice = KernelChoice::kMeasured;
  bool may_split = true;  // false: there is no room for split weights
  // False: weights are not read and are assumed to be ones that may be split. Such a plan only
  // tells bytes.
  bool reads_weights = true;
};

// `layer` has passed Validate. Pure.
LayerPlan PlanLayer(const LayerSpec& layer, const LayerRows& rows, const LayerOptions& options,
                    const DeviceLimits& limits);

// What ChooseConfigs proposes for batches of that many rows, at most `most` kernels of a kind.
std::vector<Proposal> ProposalsFor(const LayerPlan& layer, int64_t rows, int most,
                                   const DeviceLimits& limits);

// Microseconds that a candidate takes for batches of so many rows, by the proposal's estimate and
// what the passes after it read and write: for ranking only.
double EstimateUs(const LayerPlan& layer, const Proposal& proposal, int64_t rows,
                  const DeviceLimits& limits);

}  // namespace mlpserve::cuda
