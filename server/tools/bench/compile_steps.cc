#include "server/tools/bench/compile_steps.h"

#include <cstdint>
#include <map>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/cuda/tiles/parse_config.h"
#include "kernels/status/status_macros.h"
#include "server/tools/bench/parallel.h"
#include "server/tools/bench/prepared_layer.h"

namespace mlpserve::tools {
namespace {

constexpr int kAllProposals = 1000;

absl::StatusOr<cuda::DeviceLimits> LimitsOf(const std::string& arch) {
  for (const cuda::DeviceLimits& limits : {cuda::Rtx4090(), cuda::H200()}) {
    if (limits.arch == arch) return limits;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--compile: expected sm_89 or sm_90a, found '", arch, "'"));
}

absl::StatusOr<std::vector<cuda::KernelConfig>> ConfigsOf(const Step& step, const Problem& problem,
                                                          const cuda::LayerPlan& layer,
                                                          const cuda::DeviceLimits& limits) {
  std::vector<cuda::KernelConfig> configs;
  for (const std::string& name : step.variants.names) {
    MLPSERVE_ASSIGN_OR_RETURN(const cuda::KernelConfig config,
                              cuda::ParseConfig(name, problem.compute, layer.y.type));
    configs.push_back(config);
  }
  if (step.variants.kind == Variants::Kind::kNamed) return configs;
  for (const cuda::Proposal& proposal :
       cuda::ProposalsFor(layer, problem.m, kAllProposals, limits)) {
    configs.push_back(proposal.config);
  }
  return configs;
}

// Each once, by its source.
using Texts = std::map<std::string, cuda::KernelText>;

absl::Status AddTexts(const Step& step, const Problem& problem, const cuda::DeviceLimits& limits,
                      Texts& texts) {
  const ProblemRows rows = RowsOf(problem);
  const cuda::LayerPlan layer = cuda::PlanLayer(
      MakeLayer(problem, {}), {.x = rows.x, .block_input = rows.x, .y = rows.y},
      {.compute = problem.compute, .buckets = {problem.m}, .reads_weights = false}, limits);
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<cuda::KernelConfig> configs,
                            ConfigsOf(step, problem, layer, limits));
  for (const cuda::KernelConfig& config : configs) {
    MLPSERVE_ASSIGN_OR_RETURN(cuda::KernelText text, cuda::GemmText(layer, config));
    texts.try_emplace(text.source, text);
  }
  return absl::OkStatus();
}

absl::Status CompileAll(const Texts& texts, const std::string& arch, const cuda::Nvrtc& nvrtc) {
  std::vector<const cuda::KernelText*> all;
  for (const auto& [source, text] : texts) all.push_back(&text);
  std::mutex mutex;
  absl::Status failed;
  InParallel(static_cast<int64_t>(all.size()), [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const auto compiled =
          nvrtc.Compile(all[i]->source, all[i]->label, {.arch = arch, .kernel = all[i]->kernel});
      const std::lock_guard lock(mutex);
      failed.Update(compiled.status());
    }
  });
  return failed;
}

}  // namespace

absl::StatusOr<CompiledSteps> CompileSteps(const std::vector<Step>& steps,
                                           const std::string& arch) {
  MLPSERVE_ASSIGN_OR_RETURN(const cuda::DeviceLimits limits, LimitsOf(arch));
  MLPSERVE_ASSIGN_OR_RETURN(const auto nvrtc, cuda::Nvrtc::Open());
  Texts texts;
  for (const Step& step : steps) {
    for (const Problem& problem : step.problems) {
      MLPSERVE_RETURN_IF_ERROR(AddTexts(step, problem, limits, texts));
    }
  }
  MLPSERVE_RETURN_IF_ERROR(CompileAll(texts, arch, *nvrtc));
  return CompiledSteps{.kernels = static_cast<int>(texts.size()), .compiler = nvrtc->version()};
}

}  // namespace mlpserve::tools
