#include "server/tools/bench/layer_ways.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/cuda/engine/fused_gemm.h"
#include "kernels/cuda/engine/layer_chooser.h"
#include "kernels/cuda/engine/library_gemm.h"
#include "kernels/cuda/tiles/choose.h"
#include "kernels/cuda/tiles/parse_config.h"
#include "kernels/cuda/tiles/tuning_space.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::tools {
namespace {

constexpr int kAllProposals = 1000;

std::vector<Way> WaysOfOurs(const cuda::Product& product, int64_t m, const GpuTools& tools) {
  cuda::ChooseOptions options = product.Options(false);
  options.most = kAllProposals;
  std::vector<Way> ways;
  for (const cuda::Proposal& proposal :
       cuda::ChooseConfigs({.m = m, .n = product.args.n, .k = product.args.k}, product.compute,
                           product.output, options, tools.store.device().limits)) {
    ways.push_back({.variant = Name(proposal.config), .config = proposal.config});
  }
  return ways;
}

absl::StatusOr<std::vector<std::unique_ptr<cuda::LibraryGemm>>> Library(
    const cuda::Product& product, int64_t m, bool is_plain, const GpuTools& tools) {
  return cuda::LibraryGemm::Make(
      product, m, tools.library, tools.store,
      is_plain ? kMostPlainAlgorithms : cuda::LibraryGemm::kMostAlgorithms);
}

absl::StatusOr<std::vector<Way>> WaysOfLibrary(const cuda::Product& product, int64_t m,
                                               bool is_plain, const GpuTools& tools) {
  std::vector<Way> ways;
  if (tools.library == nullptr) return ways;
  const auto gemms = Library(product, m, is_plain, tools);
  if (!gemms.ok()) return gemms.status();
  for (size_t i = 0; i < gemms->size(); ++i) {
    ways.push_back({.variant = is_plain ? kPlainVariant : (*gemms)[i]->name(),
                    .is_plain = is_plain,
                    .config = {},
                    .algorithm = i});
  }
  return ways;
}

// The name of what the service would take.
absl::StatusOr<std::string> Choose(const cuda::Product& product, int64_t m, const GpuTools& tools) {
  cuda::LayerChooser chooser({}, tools.store, tools.library);
  chooser.CompileAhead(product, {m});
  const auto chosen = chooser.Choose(product, m, tools.stream);
  if (!chosen.ok()) return chosen.status();
  return chosen->plan.variant;
}

void CompileAhead(const std::vector<Way>& ways, const cuda::Product& product,
                  const GpuTools& tools) {
  std::vector<cuda::KernelStore::GemmRequest> requests;
  for (const Way& way : ways) {
    if (way.config) requests.push_back(RequestFor(product, *way.config));
  }
  tools.store.CompileAhead(requests);
}

// A kernel that the service would not choose, but that may exist. Whether it fits and compiles is
// seen when it is made.
absl::StatusOr<Way> Outside(const std::string& name, const cuda::Product& product,
                            const GpuTools& tools) {
  MLPSERVE_ASSIGN_OR_RETURN(cuda::KernelConfig config,
                            cuda::ParseConfig(name, product.compute, product.output));
  const cuda::DeviceLimits& limits = tools.store.device().limits;
  if (cuda::IsWgmma(config.tile) && !limits.has_wgmma()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a kernel for ", limits.arch, ", found ", name));
  }
  if (cuda::Normalises(config.tile)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a kernel that normalises to be one that the service could choose, found ", name));
  }
  if (cuda::ReadsHalves(config.tile) && !product.has_halves) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a kernel that reads w whole, found ", name));
  }
  if (auto* wgmma = std::get_if<cuda::WgmmaConfig>(&config.tile);
      wgmma != nullptr && !product.y_aligned()) {
    wgmma->store_by_tma = 0;
  }
  const int shared_bytes = cuda::ResourcesOf(config.tile, config.compute, config.output,
                                             static_cast<int>(product.epilogue.columns.size()))
                               .shared_bytes;
  if (shared_bytes > limits.sm.shared_per_block) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a kernel of at most ", limits.sm.shared_per_block,
                     " bytes of shared memory, found ", name, " with ", shared_bytes));
  }
  return Way{.variant = Name(config), .config = config};
}

// Those of `all`, and kernels outside of it.
absl::StatusOr<std::vector<Way>> Named(const std::vector<std::string>& names,
                                       const std::vector<Way>& all, const cuda::Product& product,
                                       const GpuTools& tools) {
  std::vector<Way> ways;
  for (const std::string& name : names) {
    const auto found = std::ranges::find(all, name, &Way::variant);
    if (found != all.end()) {
      ways.push_back(*found);
      continue;
    }
    absl::StatusOr<Way> outside = Outside(name, product, tools);
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

cuda::Product PlainProduct(const cuda::Product& product, void* y, int64_t y_stride) {
  cuda::Product plain = product;
  plain.epilogue = {};
  plain.passes.clear();
  plain.norm.reset();
  plain.output = StorageType(product.compute);
  plain.args.y = y;
  plain.args.y_stride = y_stride;
  return plain;
}

absl::StatusOr<Ways> FindWays(const cuda::Product& product, const cuda::Product& plain, int64_t m,
                              const Variants& variants, const GpuTools& tools) {
  Ways ways;
  auto bare = WaysOfLibrary(plain, m, true, tools);
  if (!bare.ok()) return bare.status();
  ways.plain = *std::move(bare);
  auto library = WaysOfLibrary(product, m, false, tools);
  if (!library.ok()) return library.status();
  std::vector<Way> ours = WaysOfOurs(product, m, tools);
  if (variants.kind == Variants::Kind::kAll) {
    ways.ours = std::move(ours);
    ways.library = *std::move(library);
  } else {
    std::vector<std::string> names = variants.names;
    if (variants.kind == Variants::Kind::kChosen) {
      absl::StatusOr<std::string> chosen = Choose(product, m, tools);
      if (!chosen.ok()) return chosen.status();
      names = {*std::move(chosen)};
    }
    ours.insert(ours.end(), library->begin(), library->end());
    absl::StatusOr<std::vector<Way>> named = Named(names, ours, product, tools);
    if (!named.ok()) return named.status();
    ways.ours = *std::move(named);
  }
  CompileAhead(ways.ours, product, tools);
  return ways;
}

absl::StatusOr<std::vector<std::shared_ptr<const cuda::Step>>> MakeLibrarySteps(
    const cuda::Product& product, int64_t m, bool is_plain, const GpuTools& tools) {
  auto gemms = Library(product, m, is_plain, tools);
  if (!gemms.ok()) return gemms.status();
  return std::vector<std::shared_ptr<const cuda::Step>>(std::make_move_iterator(gemms->begin()),
                                                        std::make_move_iterator(gemms->end()));
}

absl::StatusOr<MadeStep> MakeStep(const Way& way, const cuda::Product& product, int64_t m,
                                  const GpuTools& tools) {
  if (!way.config) {
    const auto steps = MakeLibrarySteps(product, m, way.is_plain, tools);
    if (!steps.ok()) return steps.status();
    if (way.algorithm >= steps->size()) {
      return absl::InternalError(absl::StrCat("expected algorithm ", way.algorithm,
                                              " of cuBLASLt again, found ", steps->size()));
    }
    return MadeStep{.step = (*steps)[way.algorithm], .resources = {}};
  }
  auto gemm = cuda::FusedGemm::Make(product, *way.config, m, tools.store);
  if (!gemm.ok()) return gemm.status();
  const cuda::KernelResources& resources = (*gemm)->resources();
  const int dynamic = LaunchOf(*way.config, product, m, 1).shape.shared_bytes;
  const Resources figures{.registers = resources.registers,
                          .shared_bytes = resources.static_shared_bytes + dynamic,
                          .local_bytes = resources.stack_bytes};
  return MadeStep{.step = *std::move(gemm), .resources = figures};
}

}  // namespace mlpserve::tools
