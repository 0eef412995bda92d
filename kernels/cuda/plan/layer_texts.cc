#include "kernels/cuda/plan/layer_texts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/jit/sha256.h"
#include "kernels/cuda/plan/norm_launch.h"
#include "kernels/cuda/plan/pass_texts.h"
#include "kernels/cuda/plan/scratch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

using OptionalText = absl::StatusOr<std::optional<KernelText>>;

// "FP32 aligned".
std::string Format(const RowsPlan& rows) {
  return absl::StrCat(std::string(Name(rows.type)), rows.is_aligned() ? " aligned" : "");
}

void Append(std::vector<KernelText> texts, std::vector<KernelText>& to) {
  for (KernelText& text : texts) to.push_back(std::move(text));
}

}  // namespace

absl::StatusOr<KernelText> GemmText(const LayerPlan& layer, const KernelConfig& config) {
  const bool normalises = Normalises(config.tile);
  const EpilogueSpec& last = normalises ? layer.norms.front().epilogue : layer.epilogue;
  MLPSERVE_ASSIGN_OR_RETURN(
      std::string source, KernelSource(last, config, normalises ? layer.epilogue : EpilogueSpec{}));
  return KernelText{.source = std::move(source), .kernel = kKernelName, .label = CodeName(config)};
}

OptionalText WeightText(const LayerPlan& layer) {
  if (layer.is_weight_as_given()) return std::nullopt;
  MLPSERVE_ASSIGN_OR_RETURN(KernelText text,
                            ElementwiseText({}, {.x = layer.given, .y = layer.stored()}));
  return text;
}

OptionalText LibraryPassText(const LayerPlan& layer) {
  if (LibraryEpilogueOf(layer) != LibraryEpilogue::kPass) return std::nullopt;
  MLPSERVE_ASSIGN_OR_RETURN(
      KernelText text,
      ElementwiseText(layer.epilogue, {.y = layer.y.type, .block_input = layer.block_input.type}));
  return text;
}

absl::StatusOr<NormTexts> TextsOf(const LayerPlan& layer, const NormPlan& norm,
                                  const DeviceLimits& limits) {
  const PassTypes types{.x = norm.z.type, .y = norm.y.type, .block_input = layer.block_input.type};
  const size_t last = NormVariant(layer.max_rows, limits.sm);
  NormTexts texts;
  for (size_t i = 0; i < kHeldColumns.size() && i <= last; ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(KernelText held, BatchNormText(norm.epilogue, types, i));
    texts.held.push_back(std::move(held));
  }
  if (last != kHeldInParts) return texts;
  MLPSERVE_ASSIGN_OR_RETURN(KernelText normalise, ElementwiseText(norm.epilogue, types));
  texts.in_parts = {GatherText(), FinishText(), std::move(normalise)};
  return texts;
}

absl::StatusOr<std::vector<KernelText>> PassTexts(const LayerPlan& layer,
                                                  const DeviceLimits& limits) {
  std::vector<KernelText> texts;
  MLPSERVE_ASSIGN_OR_RETURN(std::optional<KernelText> weight, WeightText(layer));
  if (weight) texts.push_back(*std::move(weight));
  if (layer.is_split) texts.push_back(SplitText());
  for (const NormPlan& norm : layer.norms) {
    MLPSERVE_ASSIGN_OR_RETURN(NormTexts of_norm, TextsOf(layer, norm, limits));
    Append(std::move(of_norm.held), texts);
    Append(std::move(of_norm.in_parts), texts);
  }
  return texts;
}

std::string KindOf(const LayerPlan& layer) {
  std::string kind =
      absl::StrCat(layer.outputs, "x", layer.inputs, " ", std::string(Name(layer.compute)), " to ",
                   Format(layer.y), layer.is_split ? " split" : "",
                   layer.batch_invariant ? " invariant" : "", " | ", ToString(layer.epilogue));
  for (const NormPlan& norm : layer.norms) {
    absl::StrAppend(&kind, " | norm to ", Format(norm.y), ": ", ToString(norm.epilogue));
  }
  for (const BucketPlan& bucket : layer.buckets) absl::StrAppend(&kind, " ", bucket.rows);
  return kind;
}

absl::StatusOr<std::string> MeasurementKey(const LayerPlan& layer, const BucketPlan& bucket,
                                           const DeviceLimits& limits) {
  std::string sources;
  for (const Proposal& proposal : bucket.candidates) {
    MLPSERVE_ASSIGN_OR_RETURN(const KernelText text, GemmText(layer, proposal.config));
    absl::StrAppend(&sources, Name(proposal.config), "\n", text.source);
  }
  MLPSERVE_ASSIGN_OR_RETURN(const std::optional<KernelText> pass, LibraryPassText(layer));
  if (pass) sources.append(pass->source);
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<KernelText> texts, PassTexts(layer, limits));
  for (const KernelText& text : texts) sources.append(text.source);
  LayerPlan only = layer;  // without the other buckets, which do not affect this one
  only.buckets.clear();
  return Sha256Hex({KindOf(only), absl::StrCat(bucket.rows), sources});
}

}  // namespace mlpserve::cuda
