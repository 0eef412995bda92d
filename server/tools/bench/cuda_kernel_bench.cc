#include "server/tools/bench/cuda_kernel_bench.h"

#include <cuda_profiler_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/jit/kernel_cache.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/cuda/plan/scratch.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"
#include "server/tools/bench/card_monitor.h"
#include "server/tools/bench/cuda_arithmetic.h"
#include "server/tools/bench/cuda_check.h"
#include "server/tools/bench/cuda_device.h"
#include "server/tools/bench/cuda_timing.h"
#include "server/tools/bench/in_turn.h"
#include "server/tools/bench/layer_ways.h"
#include "server/tools/bench/memory_need.h"
#include "server/tools/bench/parallel.h"
#include "server/tools/bench/prepared_layer.h"
#include "server/tools/bench/temporary_directory.h"

namespace mlpserve::tools {
namespace {

constexpr int kPickRounds = 9;                   // of a burst that picks the library's fastest
constexpr int kGraphLaunches = 24;               // at least, back to back
constexpr size_t kSpareBytes = size_t{1} << 30;  // for scratch memory and the runtime

using Steps = std::vector<std::unique_ptr<cuda::BoundStep>>;

struct Entry {
  Candidate candidate;
  cuda::Candidate made;
  Steps copies;  // bound to each copy of the weight
  Steps chain;   // bound to each layer of the chain
};

class CudaKernelBench final : public KernelBench {
 public:
  CudaKernelBench(cuda::KernelCompiler compiler, cuda::Device device, cuda::Stream stream,
                  absl::StatusOr<std::shared_ptr<const cuda::CublasLt>> library,
                  TemporaryDirectory temporary)
      : temporary_(std::move(temporary)),
        store_(std::move(compiler), std::move(device)),
        stream_(std::move(stream)),
        library_(library.ok() ? *library : nullptr) {
    if (!library.ok()) warnings_.emplace_back(library.status().message());
    std::string error;
    monitor_ = CardMonitor::Open(store_.device().pci_bus_id, error);
    if (monitor_ == nullptr) warnings_.push_back("clocks and power are not logged: " + error);
  }
  ~CudaKernelBench() override { (void)stream_.Synchronize(); }

  MachineFigures Machine() const override {
    return {.name = store_.device().name,
            .driver = monitor_ ? monitor_->driver() : "",
            .power_limit_w = monitor_ ? monitor_->power_limit_w() : 0};
  }
  std::vector<std::string> Warnings() const override { return warnings_; }
  double MeasureReading() override {
    const absl::StatusOr<double> gbps = tools::MeasureReading(store_, stream_);
    return gbps.ok() ? *gbps : 0;
  }
  absl::Status CheckFits(const Problem& problem) const override;
  absl::StatusOr<std::vector<Candidate>> Prepare(const Problem& problem, const LayerSpec& layer,
                                                 std::span<const float> x,
                                                 const Variants& variants) override;
  absl::StatusOr<ProductSums> Multiply(ComputeType rounded_to, Columns columns) override {
    return MultiplyOnDevice(prepared_->PlaceOf(prepared_->layer(), 0), prepared_->problem().m,
                            columns, rounded_to, store_, stream_);
  }
  absl::StatusOr<Output> Compute(size_t candidate, Columns columns) override;
  absl::StatusOr<bool> RowsStandAlone(size_t candidate) override;
  absl::StatusOr<bool> ChainHolds(size_t candidate) override;
  absl::StatusOr<std::vector<Times>> Time(const std::vector<size_t>& candidates,
                                          const TimeOptions& options) override;
  absl::Status Profile(const std::vector<size_t>& candidates) override;
  CardFigures TakeCardFigures() override {
    if (monitor_ == nullptr) return {};
    const CardState state = monitor_->Take();
    return {.sm_mhz = state.sm_mhz, .power_w = state.power_w};
  }

 private:
  GpuTools tools() { return {.store = store_, .library = library_, .stream = stream_}; }
  LayerOnDevice LayerOf(bool is_plain) const {
    return {.plan = is_plain ? prepared_->plain() : prepared_->layer(),
            .data = prepared_->copies().front()};
  }
  absl::StatusOr<Entry> MakeEntry(const Way& way);
  absl::Status Bind(Entry& entry) const;
  absl::Status BindChain(Entry& entry) const;
  absl::StatusOr<std::vector<Entry>> MakeLibraryEntries(bool is_plain);
  absl::Status AddFastest(const std::vector<Way>& ways);

  absl::Status LaunchCopy(const Entry& entry, size_t copy) const {
    return entry.copies[copy]->Launch(stream_);
  }
  absl::Status LaunchChainLayer(const Entry& entry, size_t layer) const {
    return entry.chain[layer]->Launch(stream_);
  }
  Launch CopyLauncher(const Entry& entry, absl::Status& failed) const;
  Launch ChainLauncher(const Entry& entry, absl::Status& failed) const;

  const TemporaryDirectory temporary_;  // of compiled kernels, where no other was named
  cuda::KernelStore store_;
  const cuda::Stream stream_;
  const std::shared_ptr<const cuda::CublasLt> library_;  // may be null
  std::unique_ptr<CardMonitor> monitor_;                 // may be null
  std::vector<std::string> warnings_;
  std::unique_ptr<PreparedLayer> prepared_;
  std::vector<Entry> entries_;  // ways to compute it
};

absl::Status CudaKernelBench::CheckFits(const Problem& p) const {
  MLPSERVE_RETURN_IF_ERROR(CheckHostFits(p, 0));
  const double weight = static_cast<double>(p.weight_bytes());
  const double copies =
      ColdCopies(static_cast<size_t>(p.weight_bytes())) + (p.layers > 1 ? p.layers : 0);
  const double outputs = static_cast<double>(p.m) * static_cast<double>(p.n);
  const double inputs = static_cast<double>(p.m) * static_cast<double>(p.k);
  const double held = std::min(outputs, static_cast<double>(std::max(p.m, kMostHeldValues)));
  // Weights, with one in FP32 while it is converted; rows; results in the stored format, a chain's
  // too, and in FP32; what of them is held in float64, twice.
  const double need =
      weight * copies + static_cast<double>(p.n * p.k) * sizeof(float) +
      (inputs + (p.layers > 1 ? 3 : 1) * outputs) * static_cast<double>(ByteSize(p.stored())) +
      outputs * sizeof(float) + held * 2 * sizeof(double) + kSpareBytes;
  const double have = static_cast<double>(FreeBytes());
  if (need <= have) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      Describe(p), ": expected what fits into ", static_cast<int64_t>(have) >> 20,
      " MiB of free memory on the GPU, found ", static_cast<int64_t>(need / (1 << 20)), " MiB"));
}

absl::StatusOr<Entry> CudaKernelBench::MakeEntry(const Way& way) {
  MLPSERVE_ASSIGN_OR_RETURN(cuda::Candidate made, MakeCandidate(way, LayerOf(false), tools()));
  MLPSERVE_RETURN_IF_ERROR(prepared_->Reserve(made.scratch));
  Entry entry;
  entry.candidate.variant = way.variant;
  entry.candidate.resources = ResourcesOf(made);
  entry.made = std::move(made);
  return entry;
}

// Call it once everything that is to be bound has reserved its scratch memory.
absl::Status CudaKernelBench::Bind(Entry& entry) const {
  const PreparedLayer& now = *prepared_;
  const cuda::LayerPlan& layer = entry.candidate.is_plain ? now.plain() : now.layer();
  for (size_t i = 0; i < now.copies().size(); ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(auto bound, entry.made.step->Bind(now.PlaceOf(layer, i)));
    bound->SetRows(static_cast<int32_t>(now.problem().m));
    entry.copies.push_back(std::move(bound));
  }
  return absl::OkStatus();
}

absl::Status CudaKernelBench::BindChain(Entry& entry) const {
  if (entry.candidate.is_plain) return absl::OkStatus();
  for (size_t i = 0; i < prepared_->chain_layers(); ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(auto bound, entry.made.step->Bind(prepared_->ChainPlace(i)));
    bound->SetRows(static_cast<int32_t>(prepared_->problem().m));
    entry.chain.push_back(std::move(bound));
  }
  return absl::OkStatus();
}

// Builds every way of the library that runs, for each copy of the weight.
absl::StatusOr<std::vector<Entry>> CudaKernelBench::MakeLibraryEntries(bool is_plain) {
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<cuda::Candidate> library,
                            MakeLibrary(LayerOf(is_plain), is_plain, tools()));
  std::vector<Entry> entries;
  for (cuda::Candidate& made : library) {
    Entry entry{
        .candidate = {.variant = is_plain ? kPlainVariant : made.name, .is_plain = is_plain},
        .made = std::move(made)};
    MLPSERVE_RETURN_IF_ERROR(Bind(entry));
    entries.push_back(std::move(entry));
  }
  // cuBLASLt's heuristics also return algorithms that refuse to run.
  std::erase_if(entries, [this](const Entry& entry) { return !LaunchCopy(entry, 0).ok(); });
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  return entries;
}

// Times the library's ways and returns the fastest; nothing where it has none.
absl::Status CudaKernelBench::AddFastest(const std::vector<Way>& ways) {
  if (ways.empty()) return absl::OkStatus();
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<Entry> entries, MakeLibraryEntries(ways.front().is_plain));
  if (entries.empty()) return absl::OkStatus();
  absl::Status failed;
  std::vector<Launch> launches;
  for (const Entry& entry : entries) launches.push_back(CopyLauncher(entry, failed));
  const std::vector<double> ms = BurstMs(launches, kPickRounds, stream_.get());
  MLPSERVE_RETURN_IF_ERROR(failed);
  const auto fastest = static_cast<size_t>(std::ranges::min_element(ms) - ms.begin());
  // Only the fastest gets a chain.
  MLPSERVE_RETURN_IF_ERROR(BindChain(entries[fastest]));
  entries_.push_back(std::move(entries[fastest]));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Candidate>> CudaKernelBench::Prepare(const Problem& problem,
                                                                const LayerSpec& layer,
                                                                std::span<const float> x,
                                                                const Variants& variants) {
  entries_.clear();
  prepared_.reset();
  prepared_ = std::make_unique<PreparedLayer>(problem, store_, stream_);
  MLPSERVE_RETURN_IF_ERROR(prepared_->Upload(layer, x));
  MLPSERVE_ASSIGN_OR_RETURN(const Ways ways,
                            FindWays(LayerOf(false), LayerOf(true), variants, tools()));
  if (library_ != nullptr) {
    for (const cuda::LayerPlan* plan : {&prepared_->layer(), &prepared_->plain()}) {
      MLPSERVE_RETURN_IF_ERROR(
          prepared_->Reserve(cuda::LibraryScratch(*plan, problem.m, store_.limits())));
    }
  }
  std::vector<Candidate> refused;
  for (const Way& way : ways.ours) {
    absl::StatusOr<Entry> entry = MakeEntry(way);
    if (entry.ok()) {
      entries_.push_back(*std::move(entry));
    } else if (variants.kind == Variants::Kind::kAll) {
      std::fprintf(stderr, "left out %s: %s\n", way.variant.c_str(),
                   std::string(entry.status().message()).c_str());
    } else {
      refused.push_back({.variant = way.variant, .refused = std::string(entry.status().message())});
    }
  }
  for (Entry& entry : entries_) {
    MLPSERVE_RETURN_IF_ERROR(Bind(entry));
    MLPSERVE_RETURN_IF_ERROR(BindChain(entry));
  }
  MLPSERVE_RETURN_IF_ERROR(AddFastest(ways.library));
  MLPSERVE_RETURN_IF_ERROR(AddFastest(ways.plain));
  std::vector<Candidate> candidates;
  for (const Entry& entry : entries_) candidates.push_back(entry.candidate);
  // Refused candidates come last, so that the index of any other is that of its entry.
  candidates.insert(candidates.end(), refused.begin(), refused.end());
  return candidates;
}

// The launchers use stream_ and not their argument: they are timed on stream_.
Launch CudaKernelBench::CopyLauncher(const Entry& entry, absl::Status& failed) const {
  return [this, &entry, &failed](int turn, cudaStream_t) {
    failed.Update(LaunchCopy(entry, static_cast<size_t>(turn) % entry.copies.size()));
  };
}

Launch CudaKernelBench::ChainLauncher(const Entry& entry, absl::Status& failed) const {
  return [this, &entry, &failed](int turn, cudaStream_t) {
    failed.Update(LaunchChainLayer(entry, static_cast<size_t>(turn) % entry.chain.size()));
  };
}

absl::StatusOr<Output> CudaKernelBench::Compute(size_t candidate, Columns columns) {
  const PreparedLayer& now = *prepared_;
  const Problem& p = now.problem();
  now.PoisonY();
  MLPSERVE_RETURN_IF_ERROR(LaunchCopy(entries_[candidate], 0));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  const std::vector<std::byte> bytes = now.Download(now.y(), p.m, columns.first, columns.count);
  const size_t size = ByteSize(now.y().type);
  Output output;
  output.values.resize(bytes.size() / size);
  InParallel(static_cast<int64_t>(output.values.size()), [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      output.values[i] = ReadElement(now.y().type, &bytes[i * size]);
    }
  });
  if (columns.first == 0) output.trespasses = now.CountTrespasses();
  return output;
}

absl::StatusOr<bool> CudaKernelBench::RowsStandAlone(size_t candidate) {
  // The library does not promise equal bits.
  if (!entries_[candidate].candidate.resources) return true;
  const PreparedLayer& now = *prepared_;
  cuda::BoundStep& step = *entries_[candidate].copies.front();
  const int64_t fewer = (now.problem().m + 2) / 3;
  // Some columns stand for all: a tile's bits do not depend on its place.
  const int64_t width = std::min(now.problem().n, std::max<int64_t>(1, kMostHeldValues / fewer));
  MLPSERVE_RETURN_IF_ERROR(step.Launch(stream_));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  const std::vector<std::byte> among_all = now.Download(now.y(), fewer, 0, width);
  now.PoisonY();
  step.SetRows(static_cast<int32_t>(fewer));
  const absl::Status launched = step.Launch(stream_);
  step.SetRows(static_cast<int32_t>(now.problem().m));
  MLPSERVE_RETURN_IF_ERROR(launched);
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  return now.Download(now.y(), fewer, 0, width) == among_all;
}

absl::Status CudaKernelBench::Profile(const std::vector<size_t>& candidates) {
  BENCH_CHECK(cudaProfilerStart());
  for (const size_t i : candidates) {
    const Entry& entry = entries_[i];
    // Of weights that the launch before it did not read.
    MLPSERVE_RETURN_IF_ERROR(LaunchCopy(entry, 1 % entry.copies.size()));
  }
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  BENCH_CHECK(cudaProfilerStop());
  return absl::OkStatus();
}

absl::StatusOr<bool> CudaKernelBench::ChainHolds(size_t candidate) {
  const Entry& entry = entries_[candidate];
  const cuda::RowsPlan& last = prepared_->chain_rows(entry.chain.size() - 1);
  for (size_t i = 0; i < entry.chain.size(); ++i) {
    MLPSERVE_RETURN_IF_ERROR(LaunchChainLayer(entry, i));
    MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  }
  const std::vector<std::byte> one_by_one = prepared_->Download(last);
  for (size_t i = 0; i < std::min<size_t>(2, entry.chain.size()); ++i) {
    prepared_->Poison(prepared_->chain_rows(i));
  }
  MLPSERVE_ASSIGN_OR_RETURN(const cuda::Graph graph, cuda::Graph::Capture(stream_, [&] {
                              for (size_t i = 0; i < entry.chain.size(); ++i) {
                                MLPSERVE_RETURN_IF_ERROR(LaunchChainLayer(entry, i));
                              }
                              return absl::OkStatus();
                            }));
  MLPSERVE_RETURN_IF_ERROR(graph.Launch(stream_));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  return prepared_->Download(last) == one_by_one;
}

absl::StatusOr<std::vector<Times>> CudaKernelBench::Time(const std::vector<size_t>& candidates,
                                                         const TimeOptions& options) {
  const PreparedLayer& now = *prepared_;
  absl::Status failed;
  std::vector<Launch> launches;
  for (const size_t i : candidates) launches.push_back(CopyLauncher(entries_[i], failed));
  const std::vector<double> burst = BurstMs(launches, options.burst_rounds, stream_.get());
  // Chains take their turns among the others.
  std::vector<std::pair<size_t, size_t>> chains;  // index into candidates, into launches
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Entry& entry = entries_[candidates[i]];
    if (entry.chain.empty()) continue;
    chains.emplace_back(i, launches.size());
    launches.push_back(ChainLauncher(entry, failed));
  }
  const int whole = std::lcm(static_cast<int>(now.copies().size()), now.problem().layers);
  const int count = whole * std::max(1, kGraphLaunches / whole);
  const std::vector<double> sustained =
      SustainedMs(launches, count, options.seconds, options.rounds, stream_.get());
  MLPSERVE_RETURN_IF_ERROR(failed);
  std::vector<Times> times;
  for (size_t i = 0; i < candidates.size(); ++i) {
    times.push_back({.burst_ms = burst[i], .ms = sustained[i]});
  }
  for (const auto& [candidate, launch] : chains) times[candidate].chain_ms = sustained[launch];
  return times;
}

}  // namespace

absl::StatusOr<std::unique_ptr<KernelBench>> MakeCudaKernelBench(const std::string& kernel_cache) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<cuda::Device> devices, cuda::FindDevices());
  const cuda::Device& device = devices.front();
  const auto nvrtc = cuda::Nvrtc::Open();
  if (!nvrtc.ok()) return absl::NotFoundError(std::string(nvrtc.status().message()));
  if (!(*nvrtc)->Supports(device.limits.arch)) {
    return absl::NotFoundError(absl::StrCat("expected an NVRTC that compiles for ",
                                            device.limits.arch, ", found ", (*nvrtc)->version()));
  }
  // Kernels are compiled ahead on many threads, which needs a place to find them again.
  TemporaryDirectory temporary(kernel_cache.empty());
  MLPSERVE_ASSIGN_OR_RETURN(
      auto cache, cuda::KernelCache::Open(kernel_cache.empty() ? temporary.path() : kernel_cache));
  MLPSERVE_RETURN_IF_ERROR(cuda::Use(device));
  MLPSERVE_ASSIGN_OR_RETURN(cuda::Stream stream, cuda::Stream::Create());
  return std::make_unique<CudaKernelBench>(cuda::KernelCompiler(*nvrtc, std::move(cache)), device,
                                           std::move(stream), cuda::CublasLt::Open(),
                                           std::move(temporary));
}

}  // namespace mlpserve::tools
