#include "kernels/cuda/engine/layer_chooser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/sha256.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/tiles/choose.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// Without stack or spills. A kernel with either is only taken where nothing else can be had.
bool IsInRegisters(const Candidate& candidate) { return candidate.local_bytes == 0; }

}  // namespace

std::vector<Proposal> UnmeasuredOrder(const LayerPlan& layer, const BucketPlan& bucket,
                                      KernelChoice choice, const DeviceLimits& limits) {
  std::vector<Proposal> order = bucket.candidates;
  if (choice != KernelChoice::kMeasured) return order;
  std::ranges::stable_sort(order, {}, [&](const Proposal& proposal) {
    return EstimateUs(layer, proposal, bucket.rows, limits);
  });
  return order;
}

LayerChooser::Kind& LayerChooser::KindFor(const LayerPlan& layer) {
  return kinds_.try_emplace(KindOf(layer), layer, store_).first->second;
}

absl::StatusOr<TuningRecord*> LayerChooser::RecordOf(const LayerPlan& layer,
                                                     const BucketPlan& bucket) {
  std::map<int64_t, TuningRecord>& records = KindFor(layer).records;
  const auto found = records.find(bucket.rows);
  if (found != records.end()) return &found->second;
  const Device& device = store_.device();
  MLPSERVE_ASSIGN_OR_RETURN(const std::string of_plan,
                            MeasurementKey(layer, bucket, device.limits));
  const std::string key =
      Sha256Hex({of_plan, device.name, absl::StrCat(device.driver_version), device.limits.arch,
                 options_.library == nullptr ? "" : options_.library->version()});
  return &records.try_emplace(bucket.rows, options_.tuning_directory, key).first->second;
}

absl::Status LayerChooser::AddTexts(const LayerPlan& layer, std::vector<KernelText>& texts) {
  for (const BucketPlan& bucket : layer.buckets) {
    std::vector<Proposal> wanted = bucket.candidates;
    if (measures()) {
      MLPSERVE_ASSIGN_OR_RETURN(const TuningRecord* record, RecordOf(layer, bucket));
      if (!record->At(bucket.rows).empty()) continue;
    }
    if (!measures() || !options_.may_measure) {
      wanted = UnmeasuredOrder(layer, bucket, options_.choice, store_.limits());
      wanted.resize(1);
    }
    for (const Proposal& proposal : wanted) {
      MLPSERVE_ASSIGN_OR_RETURN(KernelText text, GemmText(layer, proposal.config));
      texts.push_back(std::move(text));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Candidate> LayerChooser::ByName(const LayerPlan& layer, const LayerData& data,
                                               const BucketPlan& bucket, const std::string& name) {
  CandidateMaker& maker = KindFor(layer).maker;
  if (IsLibrary(name) && options_.library != nullptr) {
    MLPSERVE_ASSIGN_OR_RETURN(std::vector<Candidate> library,
                              maker.Library(data, bucket.rows, options_.library));
    for (Candidate& candidate : library) {
      if (candidate.name == name) return std::move(candidate);
    }
  }
  for (const Proposal& proposal : bucket.candidates) {
    if (Name(proposal.config) == name) return maker.Ours(proposal.config, bucket.rows);
  }
  return absl::NotFoundError(absl::StrCat("no kernel is called ", name));
}

absl::StatusOr<Candidate> LayerChooser::FirstThatCanBeMade(const LayerPlan& layer,
                                                           const std::vector<Proposal>& proposals,
                                                           int64_t rows) {
  std::optional<Candidate> spills;
  absl::Status first_error;
  for (const Proposal& proposal : proposals) {
    absl::StatusOr<Candidate> made = KindFor(layer).maker.Ours(proposal.config, rows);
    if (IsFatal(made.status()) || (made.ok() && IsInRegisters(*made))) return made;
    first_error.Update(made.status());
    if (made.ok() && !spills) spills = *std::move(made);
  }
  if (spills) return *std::move(spills);
  return first_error;
}

absl::StatusOr<Candidate> LayerChooser::Unmeasured(const LayerPlan& layer, const LayerData& data,
                                                   const BucketPlan& bucket) {
  if (options_.choice == KernelChoice::kLibrary && options_.library != nullptr) {
    MLPSERVE_ASSIGN_OR_RETURN(std::vector<Candidate> library,
                              KindFor(layer).maker.Library(data, bucket.rows, options_.library, 1));
    if (!library.empty()) return std::move(library.front());
  }
  return FirstThatCanBeMade(layer, UnmeasuredOrder(layer, bucket, options_.choice, store_.limits()),
                            bucket.rows);
}

absl::StatusOr<std::vector<Candidate>> LayerChooser::All(const LayerPlan& layer,
                                                         const LayerData& data,
                                                         const BucketPlan& bucket) {
  CandidateMaker& maker = KindFor(layer).maker;
  std::vector<Candidate> candidates;
  absl::Status first_error;
  for (const Proposal& proposal : bucket.candidates) {
    absl::StatusOr<Candidate> made = maker.Ours(proposal.config, bucket.rows);
    if (IsFatal(made.status())) return made.status();
    first_error.Update(made.status());
    if (!made.ok() || (!IsInRegisters(*made) && !candidates.empty())) continue;
    candidates.push_back(*std::move(made));
  }
  if (candidates.empty()) return first_error;
  if (options_.library == nullptr) return candidates;
  absl::StatusOr<std::vector<Candidate>> library =
      maker.Library(data, bucket.rows, options_.library);
  if (IsFatal(library.status())) return library.status();
  if (!library.ok()) return candidates;
  for (Candidate& candidate : *library) candidates.push_back(std::move(candidate));
  return candidates;
}

ChosenKernel LayerChooser::Finish(const LayerPlan& layer, const BucketPlan& bucket,
                                  const Candidate& candidate,
                                  const std::vector<Measurement>& measured) const {
  ChosenKernel chosen{.row = {.bucket = bucket.rows,
                              .outputs = layer.outputs,
                              .inputs = layer.inputs,
                              .compute = layer.compute,
                              .variant = candidate.name,
                              .reads_split = candidate.reads_split,
                              .registers = candidate.cta.registers,
                              .shared_bytes = candidate.cta.shared_bytes,
                              .ctas_per_sm = CtasPerSm(store_.limits().sm, candidate.cta)},
                      .step = candidate.step,
                      .scratch = candidate.scratch};
  for (const Measurement& m : measured) {
    if (m.variant == candidate.name) chosen.row.us = m.us;
    double& library = chosen.row.library_us;
    if (IsLibrary(m.variant) && m.us > 0) library = library > 0 ? std::min(library, m.us) : m.us;
  }
  return chosen;
}

absl::StatusOr<ChosenKernel> LayerChooser::Measure(const LayerPlan& layer, const LayerData& data,
                                                   const BucketPlan& bucket, TuningRecord& record) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, All(layer, data, bucket));
  if (candidates.size() == 1) return Finish(layer, bucket, candidates.front(), {});
  const int64_t m = layer.batch_invariant ? std::min(bucket.rows, kInvariantRows) : bucket.rows;
  const auto begin = std::chrono::steady_clock::now();
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<double> us,
                            measurer_.Time(layer, data, candidates, static_cast<int32_t>(m)));
  measuring_ += std::chrono::steady_clock::now() - begin;
  std::vector<Measurement> measured;
  for (size_t i = 0; i < us.size(); ++i) {
    measured.push_back({.rows = bucket.rows, .us = us[i], .variant = candidates[i].name});
  }
  // What cannot be kept is measured again by the next load.
  (void)record.Add(measured);
  return Finish(layer, bucket, candidates[PickFastest(measured, kLeastGain)], measured);
}

absl::StatusOr<ChosenKernel> LayerChooser::ChooseNew(const LayerPlan& layer, const LayerData& data,
                                                     const BucketPlan& bucket) {
  if (measures()) {
    MLPSERVE_ASSIGN_OR_RETURN(TuningRecord * record, RecordOf(layer, bucket));
    const std::vector<Measurement> measured = record->At(bucket.rows);
    if (!measured.empty()) {
      const absl::StatusOr<Candidate> known =
          ByName(layer, data, bucket, measured[PickFastest(measured, kLeastGain)].variant);
      if (known.ok()) return Finish(layer, bucket, *known, measured);
      if (IsFatal(known.status())) return known.status();
    }
    if (options_.may_measure) return Measure(layer, data, bucket, *record);
  }
  MLPSERVE_ASSIGN_OR_RETURN(const Candidate candidate, Unmeasured(layer, data, bucket));
  return Finish(layer, bucket, candidate, {});
}

absl::StatusOr<ChosenKernel> LayerChooser::Choose(const LayerPlan& layer, const LayerData& data,
                                                  const BucketPlan& bucket) {
  std::map<int64_t, ChosenKernel>& chosen = KindFor(layer).chosen;
  const auto found = chosen.find(bucket.rows);
  if (found != chosen.end()) return found->second;
  MLPSERVE_ASSIGN_OR_RETURN(ChosenKernel one, ChooseNew(layer, data, bucket));
  return chosen.emplace(bucket.rows, std::move(one)).first->second;
}

}  // namespace mlpserve::cuda
