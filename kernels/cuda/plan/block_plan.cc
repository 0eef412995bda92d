#include "kernels/cuda/plan/block_plan.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "kernels/cuda/plan/buckets.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/plan/pass_texts.h"
#include "kernels/cuda/plan/scratch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// Up to here kernels read weights rather than rows; above it, launching takes less time than the
// pad rows could.
constexpr int64_t kMostPaddedBucket = 256;
// Of a batch's input and of its output. A multiprocessor moves them in two round trips at most.
constexpr int64_t kMostBytesByKernels = int64_t{64} << 10;

bool MayUseLibrary(const BlockSpec& block, const PlanOptions& options) {
  return options.has_library && !block.batch_invariant &&
         (options.choice == KernelChoice::kMeasured || options.choice == KernelChoice::kLibrary);
}

// Rows on the wire follow one another without padding.
RowsPlan WireRows(Buffer buffer, int64_t features, DataType type) {
  return {.buffer = buffer, .features = features, .stride = features, .type = type};
}

RowsPlan AlignedRows(Buffer buffer, int64_t features, DataType type) {
  return {.buffer = buffer,
          .features = features,
          .stride = AlignedStride(features, type),
          .type = type};
}

void PlanInput(const BlockSpec& block, BlockPlan& plan) {
  const DataType stored = StorageType(block.compute);
  plan.wire_input = WireRows(Buffer::kWireInput, block.input_features(), block.input_type);
  plan.input = AlignedRows(Buffer::kInput, block.input_features(), stored);
  const bool is_same = block.input_type == stored && plan.input.stride == plan.wire_input.stride;
  if (is_same) plan.input = plan.wire_input;
  plan.output = WireRows(Buffer::kWireOutput, block.output_features(), block.output_type);
}

// Each norm of a block writes its vectors to a place of its own.
void PlaceNormColumns(BlockPlan& plan) {
  int64_t offset = 0;
  for (LayerPlan& layer : plan.layers) {
    for (NormPlan& norm : layer.norms) {
      norm.columns_offset = offset;
      offset += static_cast<int64_t>(norm.epilogue.columns.size()) * ColumnsStride(layer.outputs) *
                static_cast<int64_t>(sizeof(float));
    }
  }
}

void SizeLane(BlockPlan& plan) {
  plan.lane[Buffer::kWireInput] = plan.wire_input.bytes(plan.options.max_rows);
  for (const LayerPlan& layer : plan.layers) {
    plan.lane.Cover(LaneBytes(layer, plan.limits, plan.may_use_library));
  }
}

// The texts in the order in which they were added; a source that is there already is left out.
class TextSet {
 public:
  void Add(KernelText text) {
    if (seen_.insert(text.source).second) texts_.push_back(std::move(text));
  }
  void Add(std::vector<KernelText> texts) {
    for (KernelText& text : texts) Add(std::move(text));
  }
  std::vector<KernelText> Take() { return std::move(texts_); }

 private:
  std::set<std::string> seen_;
  std::vector<KernelText> texts_;
};

absl::Status AddLayer(const BlockPlan& plan, const LayerPlan& layer, TextSet& texts) {
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<KernelText> passes, PassTexts(layer, plan.limits));
  texts.Add(std::move(passes));
  for (const BucketPlan& bucket : layer.buckets) {
    for (const Proposal& proposal : bucket.candidates) {
      MLPSERVE_ASSIGN_OR_RETURN(KernelText gemm, GemmText(layer, proposal.config));
      texts.Add(std::move(gemm));
    }
  }
  if (!plan.may_use_library) return absl::OkStatus();
  MLPSERVE_ASSIGN_OR_RETURN(std::optional<KernelText> pass, LibraryPassText(layer));
  if (pass) texts.Add(*std::move(pass));
  return absl::OkStatus();
}

}  // namespace

size_t BlockPlan::BucketOf(int64_t rows) const {
  return static_cast<size_t>(std::ranges::lower_bound(buckets, rows) - buckets.begin());
}

bool BlockPlan::rows_are_apart() const {
  return std::ranges::all_of(layers, [](const LayerPlan& layer) { return layer.norms.empty(); });
}

bool BlockPlan::PadsRows(int64_t rows) const {
  const int64_t bucket = buckets[BucketOf(rows)];
  return rows == bucket || (bucket <= kMostPaddedBucket && 2 * rows > bucket && rows_are_apart());
}

bool BlockPlan::MovesRowsByKernels(int64_t bucket_rows) const {
  return std::max(wire_input.bytes(bucket_rows), output.bytes(bucket_rows)) <= kMostBytesByKernels;
}

int64_t BlockPlan::shared_bytes() const {
  int64_t bytes = 0;
  for (const LayerPlan& layer : layers) {
    bytes += layer.weight_bytes() + layer.split_weight_bytes() + layer.columns_bytes();
  }
  return bytes;
}

BlockPlan PlanBlock(const BlockSpec& block, const DeviceLimits& limits,
                    const PlanOptions& options) {
  BlockPlan plan{.limits = limits,
                 .options = options,
                 .may_use_library = MayUseLibrary(block, options),
                 .buckets = Buckets(options.max_rows, options.buckets)};
  PlanInput(block, plan);
  const LayerOptions layer_options{.compute = block.compute,
                                   .batch_invariant = block.batch_invariant,
                                   .buckets = plan.buckets,
                                   .choice = options.choice,
                                   .may_split = options.may_split,
                                   .reads_weights = options.reads_weights};
  RowsPlan x = plan.input;
  for (size_t i = 0; i < block.layers.size(); ++i) {
    const LayerSpec& layer = block.layers[i];
    const Buffer between = i % 2 == 0 ? Buffer::kBetweenEven : Buffer::kBetweenOdd;
    const RowsPlan y = i + 1 == block.layers.size()
                           ? plan.output
                           : AlignedRows(between, layer.outputs, StorageType(block.compute));
    plan.layers.push_back(
        PlanLayer(layer, {.x = x, .block_input = plan.input, .y = y}, layer_options, limits));
    x = y;
  }
  PlaceNormColumns(plan);
  SizeLane(plan);
  return plan;
}

absl::StatusOr<std::vector<KernelText>> InputTexts(const BlockPlan& plan) {
  if (!plan.converts_input()) return std::vector<KernelText>{};
  MLPSERVE_ASSIGN_OR_RETURN(KernelText text,
                            ElementwiseText({}, {.x = plan.wire_input.type, .y = plan.input.type}));
  return std::vector<KernelText>{std::move(text)};
}

std::vector<KernelText> HostRowsTexts(const BlockPlan& plan) {
  if (!plan.MovesRowsByKernels(plan.buckets.front())) return {};
  return {FetchRowsText(), SendRowsText()};
}

absl::StatusOr<std::vector<KernelText>> KernelTexts(const BlockPlan& plan) {
  TextSet texts;
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<KernelText> input, InputTexts(plan));
  texts.Add(std::move(input));
  texts.Add(HostRowsTexts(plan));
  for (const LayerPlan& layer : plan.layers) {
    MLPSERVE_RETURN_IF_ERROR(AddLayer(plan, layer, texts));
  }
  return texts.Take();
}

}  // namespace mlpserve::cuda
