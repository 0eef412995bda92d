#include "server/tools/bench/layer_ways.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/cuda/engine/layer_chooser.h"
#include "kernels/cuda/engine/library_gemm.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/plan/scratch.h"
#include "kernels/cuda/tiles/parse_config.h"
#include "kernels/cuda/tiles/tuning_space.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::tools {
namespace {

constexpr int kAllProposals = 1000;

std::vector<Way> WaysOfOurs(const cuda::LayerPlan& layer, const GpuTools& tools) {
  std::vector<Way> ways;
  for (const cuda::Proposal& proposal :
       cuda::ProposalsFor(layer, layer.max_rows, kAllProposals, tools.store.limits())) {
    ways.push_back({.variant = Name(proposal.config), .config = proposal.config});
  }
  return ways;
}

absl::StatusOr<std::vector<Way>> WaysOfLibrary(const LayerOnDevice& layer, bool is_plain,
                                               const GpuTools& tools) {
  std::vector<Way> ways;
  if (tools.library == nullptr) return ways;
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<cuda::Candidate> candidates,
                            MakeLibrary(layer, is_plain, tools));
  for (size_t i = 0; i < candidates.size(); ++i) {
    ways.push_back({.variant = is_plain ? kPlainVariant : candidates[i].name,
                    .is_plain = is_plain,
                    .config = {},
                    .algorithm = i});
  }
  return ways;
}

// The name of the kernel that the service would choose.
absl::StatusOr<std::string> Choose(const LayerOnDevice& layer, const GpuTools& tools) {
  cuda::LayerChooser chooser(
      {.library = tools.library,
       .lane = cuda::LaneBytes(layer.plan, tools.store.limits(), tools.library != nullptr)},
      tools.store, tools.stream);
  std::vector<cuda::KernelText> texts;
  MLPSERVE_RETURN_IF_ERROR(chooser.AddTexts(layer.plan, texts));
  tools.store.CompileAhead(texts);
  MLPSERVE_ASSIGN_OR_RETURN(const cuda::ChosenKernel chosen,
                            chooser.Choose(layer.plan, layer.data, layer.plan.buckets.front()));
  return chosen.row.variant;
}

absl::Status CompileAhead(const std::vector<Way>& ways, const cuda::LayerPlan& layer,
                          const GpuTools& tools) {
  std::vector<cuda::KernelText> texts;
  for (const Way& way : ways) {
    if (!way.config) continue;
    MLPSERVE_ASSIGN_OR_RETURN(cuda::KernelText text, cuda::GemmText(layer, *way.config));
    texts.push_back(std::move(text));
  }
  tools.store.CompileAhead(texts);
  return absl::OkStatus();
}

// A kernel outside the tuning space, which the service never chooses. Whether it fits the device
// and compiles is found out when it is built.
absl::StatusOr<Way> Outside(const std::string& name, const cuda::LayerPlan& layer,
                            const GpuTools& tools) {
  MLPSERVE_ASSIGN_OR_RETURN(cuda::KernelConfig config,
                            cuda::ParseConfig(name, layer.compute, layer.y.type));
  const cuda::DeviceLimits& limits = tools.store.limits();
  if (cuda::IsWgmma(config.tile) && !limits.has_wgmma()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a kernel for ", limits.arch, ", found ", name));
  }
  if (cuda::Normalises(config.tile)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a kernel that normalises to be one that the service could choose, found ", name));
  }
  if (cuda::ReadsHalves(config.tile) && !layer.is_split) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a kernel that reads w whole, found ", name));
  }
  if (auto* wgmma = std::get_if<cuda::WgmmaConfig>(&config.tile);
      wgmma != nullptr && !layer.y.is_aligned()) {
    wgmma->store_by_tma = 0;
  }
  const int shared_bytes = cuda::ResourcesOf(config.tile, config.compute, config.output,
                                             static_cast<int>(layer.epilogue.columns.size()))
                               .shared_bytes;
  if (shared_bytes > limits.sm.shared_per_cta) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a kernel of at most ", limits.sm.shared_per_cta,
                     " bytes of shared memory, found ", name, " with ", shared_bytes));
  }
  return Way{.variant = Name(config), .config = config};
}

// The named ways: some are among `all`, the others are kernels outside the tuning space.
absl::StatusOr<std::vector<Way>> Named(const std::vector<std::string>& names,
                                       const std::vector<Way>& all, const cuda::LayerPlan& layer,
                                       const GpuTools& tools) {
  std::vector<Way> ways;
  for (const std::string& name : names) {
    const auto found = std::ranges::find(all, name, &Way::variant);
    if (found != all.end()) {
      ways.push_back(*found);
      continue;
    }
    absl::StatusOr<Way> outside = Outside(name, layer, tools);
    if (!outside.ok()) {
      const auto variant = [](std::string* out, const Way& way) { out->append(way.variant); };
      return absl::InvalidArgumentError(
          absl::StrCat("--variants: ", std::string(outside.status().message()),
                       "; the service could choose ", absl::StrJoin(all, ", ", variant)));
    }
    ways.push_back(*std::move(outside));
  }
  return ways;
}

}  // namespace

absl::StatusOr<Ways> FindWays(const LayerOnDevice& layer, const LayerOnDevice& plain,
                              const Variants& variants, const GpuTools& tools) {
  Ways ways;
  MLPSERVE_ASSIGN_OR_RETURN(ways.plain, WaysOfLibrary(plain, true, tools));
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<Way> library, WaysOfLibrary(layer, false, tools));
  std::vector<Way> ours = WaysOfOurs(layer.plan, tools);
  if (variants.kind == Variants::Kind::kAll) {
    ways.ours = std::move(ours);
    ways.library = std::move(library);
  } else {
    std::vector<std::string> names = variants.names;
    if (variants.kind == Variants::Kind::kChosen) {
      MLPSERVE_ASSIGN_OR_RETURN(std::string chosen, Choose(layer, tools));
      names = {std::move(chosen)};
    }
    ours.insert(ours.end(), library.begin(), library.end());
    MLPSERVE_ASSIGN_OR_RETURN(ways.ours, Named(names, ours, layer.plan, tools));
  }
  MLPSERVE_RETURN_IF_ERROR(CompileAhead(ways.ours, layer.plan, tools));
  return ways;
}

absl::StatusOr<std::vector<cuda::Candidate>> MakeLibrary(const LayerOnDevice& layer, bool is_plain,
                                                         const GpuTools& tools) {
  return cuda::CandidateMaker(layer.plan, tools.store)
      .Library(layer.data, layer.plan.max_rows, tools.library,
               is_plain ? kMostPlainAlgorithms : cuda::LibraryGemm::kMostAlgorithms);
}

absl::StatusOr<cuda::Candidate> MakeCandidate(const Way& way, const LayerOnDevice& layer,
                                              const GpuTools& tools) {
  if (way.config) {
    return cuda::CandidateMaker(layer.plan, tools.store).Ours(*way.config, layer.plan.max_rows);
  }
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<cuda::Candidate> library,
                            MakeLibrary(layer, way.is_plain, tools));
  if (way.algorithm >= library.size()) {
    return absl::InternalError(absl::StrCat("expected algorithm ", way.algorithm,
                                            " of cuBLASLt again, found ", library.size()));
  }
  return std::move(library[way.algorithm]);
}

std::optional<Resources> ResourcesOf(const cuda::Candidate& candidate) {
  if (candidate.cta.threads == 0) return std::nullopt;
  return Resources{.registers = candidate.cta.registers,
                   .shared_bytes = candidate.cta.shared_bytes,
                   .local_bytes = candidate.local_bytes};
}

}  // namespace mlpserve::tools
