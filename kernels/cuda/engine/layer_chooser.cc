#include "kernels/cuda/engine/layer_chooser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/cuda/engine/fused_gemm.h"
#include "kernels/cuda/engine/library_gemm.h"
#include "kernels/cuda/engine/timing.h"
#include "kernels/cuda/jit/device_sources.h"
#include "kernels/cuda/jit/sha256.h"
#include "kernels/cuda/tiles/choose.h"

namespace mlpserve::cuda {
namespace {

constexpr int kAllProposals = 1000;

// A kernel that cannot be had is left out; a device that is lost or full ends everything.
bool IsFatal(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable ||
         status.code() == absl::StatusCode::kResourceExhausted;
}

// What a block of the kernel takes of an SM.
BlockResources BlockOf(const FusedGemm& gemm, const KernelConfig& config, const Product& product,
                       int64_t rows) {
  const LaunchShape shape = LaunchOf(config, product, rows, 1).shape;
  return {.threads = shape.threads,
          .registers = gemm.resources().registers,
          .shared_bytes = gemm.resources().static_shared_bytes + shape.shared_bytes};
}

std::string DigestOfSources() {
  std::string all;
  for (const DeviceSource& source : DeviceSources()) {
    all.append(source.path);
    all.append(source.text);
  }
  return Sha256Hex({all});
}

}  // namespace

struct LayerChooser::Candidate {
  std::string name;
  std::shared_ptr<const Step> step;
  BlockResources block = {};  // no threads: the library's, which does not say
  bool reads_halves = false;

  static Candidate Of(std::unique_ptr<FusedGemm> gemm, const KernelConfig& config,
                      const Product& product, int64_t rows) {
    const BlockResources block = BlockOf(*gemm, config, product, rows);
    return {.name = Name(config),
            .step = std::move(gemm),
            .block = block,
            .reads_halves = ReadsHalves(config.tile)};
  }
};

bool LayerChooser::may_use_library() const {
  // The library promises nothing about the order of its additions.
  return library_ != nullptr && !options_.batch_invariant &&
         (options_.choice == KernelChoice::kMeasured || options_.choice == KernelChoice::kLibrary);
}

bool LayerChooser::Wants(const KernelConfig& config) const {
  switch (options_.choice) {
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

std::vector<KernelConfig> LayerChooser::Configs(const Product& product, int64_t rows) const {
  ChooseOptions options = product.Options(options_.batch_invariant);
  if (options_.choice == KernelChoice::kWgmma) options.most = kAllProposals;
  const std::vector<Proposal> proposals =
      ChooseConfigs({.m = rows, .n = product.args.n, .k = product.args.k}, product.compute,
                    product.output, options, store_.device().limits);
  std::vector<KernelConfig> configs;
  for (const Proposal& proposal : proposals) {
    if (Wants(proposal.config)) configs.push_back(proposal.config);
  }
  if (configs.empty()) configs.push_back(proposals.front().config);
  return configs;
}

// Everything that a measurement depends on.
std::string LayerChooser::RecordKey(const Product& product) const {
  static const std::string sources = DigestOfSources();
  const Device& device = store_.device();
  return Sha256Hex({sources, device.name, absl::StrCat(device.driver_version), device.limits.arch,
                    absl::StrCat(product.args.n, "x", product.args.k), ToString(product.epilogue),
                    std::string(Name(product.compute)), std::string(Name(product.output)),
                    product.norm ? ToString(product.norm->epilogue) : "",
                    std::string(Name(product.norm ? product.norm->types.y : product.output)),
                    absl::StrCat(product.passes.size()), product.y_aligned() ? "aligned" : "",
                    product.norm && product.norm_y_aligned() ? "aligned" : "",
                    product.has_halves ? "halves" : "", options_.batch_invariant ? "invariant" : "",
                    library_ == nullptr ? "" : library_->version()});
}

TuningRecord& LayerChooser::RecordOf(const Product& product) {
  const std::string key = RecordKey(product);
  return records_.try_emplace(key, options_.tuning_directory, key).first->second;
}

void LayerChooser::CompileAhead(const Product& product, const std::vector<int64_t>& buckets) {
  const bool measures = options_.choice == KernelChoice::kMeasured;
  const TuningRecord& record = RecordOf(product);
  std::vector<KernelStore::GemmRequest> requests;
  for (const int64_t rows : buckets) {
    if (measures && !record.At(rows).empty()) continue;
    for (const KernelConfig& config : Configs(product, rows)) {
      requests.push_back(RequestFor(product, config));
      if (!measures) break;
    }
  }
  store_.CompileAhead(requests);
}

absl::StatusOr<std::vector<LayerChooser::Candidate>> LayerChooser::Candidates(
    const Product& product, int64_t rows) const {
  std::vector<Candidate> candidates;
  absl::Status first_error;
  for (const KernelConfig& config : Configs(product, rows)) {
    absl::StatusOr<std::unique_ptr<FusedGemm>> gemm =
        FusedGemm::Make(product, config, rows, store_);
    if (!gemm.ok()) {
      if (IsFatal(gemm.status())) return gemm.status();
      first_error.Update(gemm.status());
      continue;
    }
    if (!(*gemm)->resources().in_registers() && !candidates.empty()) continue;
    candidates.push_back(Candidate::Of(*std::move(gemm), config, product, rows));
    if (options_.choice != KernelChoice::kMeasured) break;
  }
  if (candidates.empty()) return first_error;
  if (!may_use_library()) return candidates;
  auto library = LibraryGemm::Make(product, rows, library_, store_);
  if (!library.ok()) {
    if (IsFatal(library.status())) return library.status();
    return candidates;
  }
  if (options_.choice == KernelChoice::kLibrary && !library->empty()) candidates.clear();
  for (auto& gemm : *library) {
    const std::string name = gemm->name();
    candidates.push_back({.name = name, .step = std::move(gemm)});
  }
  return candidates;
}

absl::StatusOr<LayerChooser::Candidate> LayerChooser::ByName(const Product& product, int64_t rows,
                                                             const std::string& name) const {
  if (IsLibrary(name) && may_use_library()) {
    auto library = LibraryGemm::Make(product, rows, library_, store_);
    if (!library.ok()) return library.status();
    for (auto& gemm : *library) {
      if (gemm->name() == name) return Candidate{.name = name, .step = std::move(gemm)};
    }
  }
  for (const KernelConfig& config : Configs(product, rows)) {
    if (Name(config) != name) continue;
    absl::StatusOr<std::unique_ptr<FusedGemm>> gemm =
        FusedGemm::Make(product, config, rows, store_);
    if (!gemm.ok()) return gemm.status();
    return Candidate::Of(*std::move(gemm), config, product, rows);
  }
  return absl::NotFoundError(absl::StrCat("no kernel is called ", name));
}

absl::StatusOr<ChosenKernel> LayerChooser::Choose(const Product& product, int64_t rows,
                                                  const Stream& stream) {
  const auto finish = [&](const Candidate& candidate, const std::vector<Measurement>& measured) {
    ChosenKernel chosen{
        .plan = {.bucket = rows,
                 .outputs = product.args.n,
                 .inputs = product.args.k,
                 .compute = product.compute,
                 .variant = candidate.name,
                 .reads_halves = candidate.reads_halves,
                 .registers = candidate.block.registers,
                 .shared_bytes = candidate.block.shared_bytes,
                 .blocks_per_sm = BlocksPerSm(store_.device().limits.sm, candidate.block)},
        .step = candidate.step};
    for (const Measurement& m : measured) {
      if (m.variant == candidate.name) chosen.plan.us = m.us;
      double& library = chosen.plan.library_us;
      if (IsLibrary(m.variant) && m.us > 0) library = library > 0 ? std::min(library, m.us) : m.us;
    }
    return chosen;
  };

  const bool measures = options_.choice == KernelChoice::kMeasured;
  TuningRecord& record = RecordOf(product);
  std::vector<Measurement> measured;
  if (measures) measured = record.At(rows);
  if (!measured.empty()) {
    const std::string& name = measured[PickFastest(measured, kLeastGain)].variant;
    const absl::StatusOr<Candidate> known = ByName(product, rows, name);
    if (known.ok()) return finish(*known, measured);
    if (IsFatal(known.status())) return known.status();
  }
  absl::StatusOr<std::vector<Candidate>> candidates = Candidates(product, rows);
  if (!candidates.ok()) return candidates.status();
  if (!measures || candidates->size() == 1) return finish(candidates->front(), {});
  std::vector<const Step*> steps;
  for (const Candidate& candidate : *candidates) steps.push_back(candidate.step.get());
  const int64_t m = options_.batch_invariant ? std::min(rows, kInvariantRows) : rows;
  const auto begin = std::chrono::steady_clock::now();
  const absl::StatusOr<std::vector<double>> us = TimeInTurn(steps, static_cast<int32_t>(m), stream);
  if (!us.ok()) return us.status();
  measured.clear();
  for (size_t i = 0; i < us->size(); ++i) {
    measured.push_back({.rows = rows, .us = (*us)[i], .variant = (*candidates)[i].name});
  }
  // What cannot be kept is measured again by the next load.
  (void)record.Add(measured);
  ChosenKernel chosen = finish((*candidates)[PickFastest(measured, kLeastGain)], measured);
  chosen.measuring = std::chrono::steady_clock::now() - begin;
  return chosen;
}

}  // namespace mlpserve::cuda
