#include "kernels/cuda/plan/layer_plan.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "kernels/cuda/plan/split_weight.h"
#include "kernels/cuda/tiles/wgmma_launch.h"
#include "kernels/spec/canonical.h"

namespace mlpserve::cuda {
namespace {

constexpr int kMostProposals = ChooseOptions{}.most;
constexpr int kAllProposals = 1000;
constexpr double kPassUs = 2;  // of a launch
constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

bool Wants(KernelChoice choice, const KernelConfig& config) {
  switch (choice) {
    case KernelChoice::kMeasured:
      return true;
    case KernelChoice::kWgmma:
      return IsWgmma(config.tile);
    case KernelChoice::kPlain:
    case KernelChoice::kLibrary:
      break;
  }
  return !IsWgmma(config.tile);
}

std::vector<Proposal> Candidates(const LayerPlan& layer, int64_t rows, KernelChoice choice,
                                 const DeviceLimits& limits) {
  const int most = choice == KernelChoice::kWgmma ? kAllProposals : kMostProposals;
  const std::vector<Proposal> all = ProposalsFor(layer, rows, most, limits);
  std::vector<Proposal> wanted;
  std::ranges::copy_if(all, std::back_inserter(wanted),
                       [choice](const Proposal& p) { return Wants(choice, p.config); });
  if (wanted.empty()) wanted.push_back(all.front());
  return wanted;
}

bool IsSplit(const LayerSpec& layer, const LayerOptions& options, const DeviceLimits& limits) {
  const bool has_kernels =
      options.compute == ComputeType::kFp32 && limits.has_wgmma() &&
      (options.choice == KernelChoice::kMeasured || options.choice == KernelChoice::kWgmma);
  if (!has_kernels || !options.may_split || layer.inputs < kLeastHalvesDepth) return false;
  return !options.reads_weights || MayBeSplit(layer);
}

std::vector<float> ColumnOf(const Operand& operand, const EpilogueSpec& canonical) {
  if (!operand.is_column()) return {};
  return canonical.columns[static_cast<size_t>(operand.column)];
}

// The epilogue's parts: the first follows the product, each further one is a norm's pass.
void PlanEpilogue(const LayerSpec& spec, const RowsPlan& y, LayerPlan& layer) {
  const EpilogueSpec canonical = Canonicalize(spec);
  std::vector<EpiloguePart> parts = CutAtBatchNorms(canonical);
  const RowsPlan z{.buffer = Buffer::kUnfinished,
                   .features = layer.outputs,
                   .stride = AlignedStride(layer.outputs, DataType::kFp32)};
  layer.epilogue = std::move(parts.front().epilogue);
  layer.y = parts.size() > 1 ? z : y;
  for (size_t i = 1; i < parts.size(); ++i) {
    const BatchNorm norm = *parts[i].norm;
    layer.norms.push_back({.epilogue = std::move(parts[i].epilogue),
                           .norm = norm,
                           .weight = ColumnOf(norm.weight, canonical),
                           .bias = ColumnOf(norm.bias, canonical),
                           .z = z,
                           .y = i + 1 < parts.size() ? z : y});
  }
}

}  // namespace

int64_t LayerPlan::weight_bytes() const {
  return outputs * weight_stride() * static_cast<int64_t>(ByteSize(stored()));
}

int64_t LayerPlan::split_weight_bytes() const {
  return is_split ? outputs * SplitStrideOfW(inputs) * kFloatBytes : 0;
}

int64_t LayerPlan::columns_bytes() const {
  const auto bytes_of = [this](size_t vectors) {
    return static_cast<int64_t>(std::max<size_t>(vectors, 1)) * ColumnsStride(outputs) *
           kFloatBytes;
  };
  int64_t bytes = bytes_of(epilogue.columns.size());
  for (const NormPlan& norm : norms) {
    bytes += bytes_of(norm.epilogue.columns.size());
    if (!norm.weight.empty()) bytes += bytes_of(1);
    if (!norm.bias.empty()) bytes += bytes_of(1);
  }
  return bytes;
}

const BucketPlan& LayerPlan::bucket(int64_t rows) const {
  return *std::ranges::lower_bound(buckets, rows, {}, &BucketPlan::rows);
}

std::vector<Proposal> ProposalsFor(const LayerPlan& layer, int64_t rows, int most,
                                   const DeviceLimits& limits) {
  ChooseOptions options{.columns = static_cast<int>(layer.epilogue.columns.size()),
                        .y_aligned = layer.y.is_aligned(),
                        .batch_invariant = layer.batch_invariant,
                        .most = most,
                        .norm = {},
                        .has_halves = layer.is_split};
  // A kernel does no more than one norm.
  if (layer.norms.size() == 1) {
    const NormPlan& norm = layer.norms.front();
    options.norm = {.before_columns = options.columns,
                    .columns = static_cast<int>(norm.epilogue.columns.size()),
                    .output = norm.y.type,
                    .y_aligned = norm.y.is_aligned()};
  }
  return ChooseConfigs({.m = rows, .n = layer.outputs, .k = layer.inputs}, layer.compute,
                       layer.y.type, options, limits);
}

double EstimateUs(const LayerPlan& layer, const Proposal& proposal, int64_t rows,
                  const DeviceLimits& limits) {
  double us = proposal.estimate_us;
  if (Normalises(proposal.config.tile)) return us;
  for (const NormPlan& norm : layer.norms) {
    const auto bytes = static_cast<double>(norm.z.bytes(rows) + norm.y.bytes(rows));
    us += kPassUs + 1e6 * bytes / limits.bytes_per_s;
  }
  return us;
}

LayerPlan PlanLayer(const LayerSpec& layer, const LayerRows& rows, const LayerOptions& options,
                    const DeviceLimits& limits) {
  LayerPlan plan{.name = layer.name,
                 .compute = options.compute,
                 .inputs = layer.inputs,
                 .outputs = layer.outputs,
                 .max_rows = options.buckets.back(),
                 .given = layer.weight.type(),
                 .is_split = IsSplit(layer, options, limits),
                 .batch_invariant = options.batch_invariant,
                 .x = rows.x,
                 .block_input = rows.block_input};
  PlanEpilogue(layer, rows.y, plan);
  // One kernel, with one order of its sums, must take every batch.
  const std::vector<int64_t> buckets =
      options.batch_invariant ? std::vector<int64_t>{options.buckets.back()} : options.buckets;
  for (const int64_t bucket : buckets) {
    plan.buckets.push_back(
        {.rows = bucket, .candidates = Candidates(plan, bucket, options.choice, limits)});
  }
  return plan;
}

}  // namespace mlpserve::cuda
