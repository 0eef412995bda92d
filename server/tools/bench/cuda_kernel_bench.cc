#include "server/tools/bench/cuda_kernel_bench.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/bench/card_monitor.h"
#include "kernels/cuda/bench/device.h"
#include "kernels/cuda/bench/in_turn.h"
#include "kernels/cuda/bench/timing.h"
#include "kernels/cuda/block/layer_builder.h"
#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/cuda/kernel_cache.h"
#include "kernels/cuda/nvrtc.h"
#include "kernels/spec/rounding.h"
#include "server/tools/bench/cuda_arithmetic.h"
#include "server/tools/bench/layer_ways.h"

namespace mlpserve::tools {
namespace {

constexpr int kPickRounds = 9;                   // of a burst that picks the library's fastest
constexpr int kGraphLaunches = 24;               // at least, back to back
constexpr size_t kSpareBytes = size_t{1} << 30;  // for scratch memory and the runtime

using Steps = std::vector<std::shared_ptr<const cuda::Step>>;

struct Entry {
  Candidate candidate;
  Steps copies;  // the product, for each copy of the weights
  Steps chain;   // the product, for each layer of the chain
};

struct Prepared {
  Prepared(const Problem& p, cuda::KernelStore& store) : problem(p), builder(p.m, store) {}

  const Problem problem;
  cuda::LayerBuilder builder;
  cuda::Activation x, y;
  std::array<cuda::Activation, 2> between;  // layers of the chain
  std::vector<cuda::DeviceLayer> copies;    // y = layer(x), each with weights of its own
  std::vector<cuda::DeviceLayer> chain;     // each reads what the last has written
  std::vector<Entry> entries;

  int32_t rows() const { return static_cast<int32_t>(problem.m); }
};

class CudaKernelBench final : public KernelBench {
 public:
  CudaKernelBench(cuda::KernelCompiler compiler, cuda::Device device, cuda::Stream stream,
                  absl::StatusOr<std::shared_ptr<const cuda::CublasLt>> library)
      : store_(std::move(compiler), std::move(device)),
        stream_(std::move(stream)),
        library_(library.ok() ? *library : nullptr) {
    if (!library.ok()) warnings_.emplace_back(library.status().message());
    std::string error;
    monitor_ = bench::CardMonitor::Open(bench::PciBusId(store_.device().ordinal), error);
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
  absl::StatusOr<ProductSums> Multiply(ComputeType rounded_to) override {
    return MultiplyOnDevice(prepared_->copies.front().product, prepared_->problem.m, rounded_to,
                            store_, stream_);
  }
  absl::StatusOr<std::vector<float>> Compute(size_t candidate) override;
  absl::StatusOr<bool> ChainHolds(size_t candidate) override;
  absl::StatusOr<std::vector<Times>> Time(const std::vector<size_t>& candidates,
                                          const TimeOptions& options) override;
  CardFigures TakeCardFigures() override {
    if (monitor_ == nullptr) return {};
    const bench::CardState state = monitor_->Take();
    return {.sm_mhz = state.sm_mhz, .power_w = state.power_w};
  }

 private:
  GpuTools tools() { return {.store = store_, .library = library_, .stream = stream_}; }
  absl::Status Upload(const LayerSpec& layer, std::span<const float> x);
  absl::Status BuildChain(const LayerSpec& layer);
  absl::StatusOr<Entry> MakeEntry(const Way& way);
  absl::Status AddFastest(const std::vector<Way>& ways);

  absl::Status LaunchCopy(const Entry& entry, size_t copy) const;
  absl::Status LaunchChainLayer(const Entry& entry, size_t layer) const;
  bench::Launch CopyLauncher(const Entry& entry, absl::Status& failed) const;
  bench::Launch ChainLauncher(const Entry& entry, absl::Status& failed) const;
  std::vector<std::byte> Download(const cuda::Activation& from) const;

  cuda::KernelStore store_;
  const cuda::Stream stream_;
  const std::shared_ptr<const cuda::CublasLt> library_;  // may be null
  std::unique_ptr<bench::CardMonitor> monitor_;          // may be null
  std::vector<std::string> warnings_;
  std::unique_ptr<Prepared> prepared_;
};

absl::Status CudaKernelBench::CheckFits(const Problem& p) const {
  const double weight = static_cast<double>(p.weight_bytes());
  const double copies =
      bench::ColdCopies(static_cast<size_t>(p.weight_bytes())) + (p.layers > 1 ? p.layers : 0);
  const double outputs = static_cast<double>(p.m) * static_cast<double>(p.n);
  const double inputs = static_cast<double>(p.m) * static_cast<double>(p.k);
  // Weights, with one in FP32 while it is converted; rows; results in the stored format, in FP32
  // and twice in float64.
  const double need = weight * copies + static_cast<double>(p.n * p.k) * sizeof(float) +
                      (inputs + 3 * outputs) * static_cast<double>(ByteSize(p.stored())) +
                      outputs * (sizeof(float) + 2 * sizeof(double)) + kSpareBytes;
  const double have = static_cast<double>(bench::FreeBytes());
  if (need <= have) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      Describe(p), ": expected what fits into ", static_cast<int64_t>(have) >> 20,
      " MiB of free memory on the GPU, found ", static_cast<int64_t>(need / (1 << 20)), " MiB"));
}

absl::Status CudaKernelBench::Upload(const LayerSpec& layer, std::span<const float> x) {
  Prepared& now = *prepared_;
  const Problem& p = now.problem;
  const DataType type = p.stored();
  const auto allocate = [&](int64_t features, cuda::Activation& activation) -> absl::Status {
    const auto made =
        now.builder.AllocateActivation(features, cuda::AlignedStride(features, type), type);
    if (!made.ok()) return made.status();
    activation = *made;
    return absl::OkStatus();
  };
  MLPSERVE_RETURN_IF_ERROR(allocate(p.k, now.x));
  MLPSERVE_RETURN_IF_ERROR(allocate(p.n, now.y));
  MLPSERVE_RETURN_IF_ERROR(now.builder.ReserveUnfinished(p.n));
  const size_t size = ByteSize(type);
  std::vector<std::byte> rows(static_cast<size_t>(p.m * now.x.stride) * size);
  for (int64_t row = 0; row < p.m; ++row) {
    for (int64_t i = 0; i < p.k; ++i) {
      WriteElement(type, x[static_cast<size_t>(row * p.k + i)],
                   &rows[static_cast<size_t>(row * now.x.stride + i) * size]);
    }
  }
  MLPSERVE_RETURN_IF_ERROR(cuda::CopyToDevice(now.x.data, rows.data(), rows.size()));
  const int copies = bench::ColdCopies(static_cast<size_t>(p.weight_bytes()));
  for (int i = 0; i < copies; ++i) {
    auto built = now.builder.Build(layer, p.compute, now.x, now.x, now.y, stream_);
    if (!built.ok()) return built.status();
    now.copies.push_back(*std::move(built));
  }
  if (p.layers == 1) return absl::OkStatus();
  for (cuda::Activation& activation : now.between) {
    MLPSERVE_RETURN_IF_ERROR(allocate(p.n, activation));
  }
  return BuildChain(layer);
}

absl::Status CudaKernelBench::BuildChain(const LayerSpec& layer) {
  Prepared& now = *prepared_;
  cuda::Activation from = now.x;
  for (int i = 0; i < now.problem.layers; ++i) {
    const cuda::Activation& to = now.between[static_cast<size_t>(i) % 2];
    auto built = now.builder.Build(layer, now.problem.compute, from, now.x, to, stream_);
    if (!built.ok()) return built.status();
    now.chain.push_back(*std::move(built));
    from = to;
  }
  return absl::OkStatus();
}

absl::StatusOr<Entry> CudaKernelBench::MakeEntry(const Way& way) {
  Prepared& now = *prepared_;
  Entry entry{.candidate = {.variant = way.variant, .is_plain = way.is_plain, .resources = {}}};
  const auto add = [&](const cuda::DeviceLayer& layer, Steps& steps) -> absl::Status {
    const cuda::Product product =
        way.is_plain ? PlainProduct(layer.product, now.y.data, now.y.stride) : layer.product;
    auto made = MakeStep(way, product, now.problem.m, tools());
    if (!made.ok()) return made.status();
    entry.candidate.resources = made->resources;
    steps.push_back(made->step);
    return absl::OkStatus();
  };
  for (const cuda::DeviceLayer& layer : now.copies) {
    MLPSERVE_RETURN_IF_ERROR(add(layer, entry.copies));
  }
  if (way.is_plain) return entry;
  for (const cuda::DeviceLayer& layer : now.chain) {
    MLPSERVE_RETURN_IF_ERROR(add(layer, entry.chain));
  }
  return entry;
}

// Of the library's algorithms, the one that is fastest here; none where there are none.
absl::Status CudaKernelBench::AddFastest(const std::vector<Way>& ways) {
  std::vector<Entry> entries;
  for (const Way& way : ways) {
    absl::StatusOr<Entry> entry = MakeEntry(way);
    if (!entry.ok()) return entry.status();
    // The heuristics also name what refuses to run.
    if (!LaunchCopy(*entry, 0).ok()) continue;
    MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
    entries.push_back(*std::move(entry));
  }
  if (entries.empty()) return absl::OkStatus();
  absl::Status failed;
  std::vector<bench::Launch> launches;
  for (const Entry& entry : entries) launches.push_back(CopyLauncher(entry, failed));
  const std::vector<double> ms = bench::BurstMs(launches, kPickRounds, stream_.get());
  MLPSERVE_RETURN_IF_ERROR(failed);
  const auto fastest = static_cast<size_t>(std::ranges::min_element(ms) - ms.begin());
  prepared_->entries.push_back(std::move(entries[fastest]));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Candidate>> CudaKernelBench::Prepare(const Problem& problem,
                                                                const LayerSpec& layer,
                                                                std::span<const float> x,
                                                                const Variants& variants) {
  prepared_.reset();
  prepared_ = std::make_unique<Prepared>(problem, store_);
  MLPSERVE_RETURN_IF_ERROR(Upload(layer, x));
  const cuda::Product& product = prepared_->copies.front().product;
  const auto ways = FindWays(product, PlainProduct(product, prepared_->y.data, prepared_->y.stride),
                             problem.m, variants, tools());
  if (!ways.ok()) return ways.status();
  for (const Way& way : ways->ours) {
    absl::StatusOr<Entry> entry = MakeEntry(way);
    if (entry.ok()) {
      prepared_->entries.push_back(*std::move(entry));
    } else if (variants.kind == Variants::Kind::kAll) {
      std::fprintf(stderr, "left out %s: %s\n", way.variant.c_str(),
                   std::string(entry.status().message()).c_str());
    } else {
      return entry.status();
    }
  }
  MLPSERVE_RETURN_IF_ERROR(AddFastest(ways->library));
  MLPSERVE_RETURN_IF_ERROR(AddFastest(ways->plain));
  std::vector<Candidate> candidates;
  for (const Entry& entry : prepared_->entries) candidates.push_back(entry.candidate);
  return candidates;
}

absl::Status CudaKernelBench::LaunchCopy(const Entry& entry, size_t copy) const {
  MLPSERVE_RETURN_IF_ERROR(entry.copies[copy]->Launch(prepared_->rows(), stream_));
  if (entry.candidate.is_plain) return absl::OkStatus();
  for (const auto& pass : prepared_->copies[copy].passes) {
    MLPSERVE_RETURN_IF_ERROR(pass->Launch(prepared_->rows(), stream_));
  }
  return absl::OkStatus();
}

absl::Status CudaKernelBench::LaunchChainLayer(const Entry& entry, size_t layer) const {
  MLPSERVE_RETURN_IF_ERROR(entry.chain[layer]->Launch(prepared_->rows(), stream_));
  for (const auto& pass : prepared_->chain[layer].passes) {
    MLPSERVE_RETURN_IF_ERROR(pass->Launch(prepared_->rows(), stream_));
  }
  return absl::OkStatus();
}

// They launch on stream_, which is the one that they are timed on.
bench::Launch CudaKernelBench::CopyLauncher(const Entry& entry, absl::Status& failed) const {
  return [this, &entry, &failed](int turn, cudaStream_t) {
    failed.Update(LaunchCopy(entry, static_cast<size_t>(turn) % entry.copies.size()));
  };
}

bench::Launch CudaKernelBench::ChainLauncher(const Entry& entry, absl::Status& failed) const {
  return [this, &entry, &failed](int turn, cudaStream_t) {
    failed.Update(LaunchChainLayer(entry, static_cast<size_t>(turn) % entry.chain.size()));
  };
}

std::vector<std::byte> CudaKernelBench::Download(const cuda::Activation& from) const {
  const size_t bytes =
      static_cast<size_t>(prepared_->problem.m * from.stride) * ByteSize(from.type);
  std::vector<std::byte> copied(bytes);
  bench::CopyToHost(copied.data(), from.data, bytes);
  return copied;
}

absl::StatusOr<std::vector<float>> CudaKernelBench::Compute(size_t candidate) {
  const Prepared& now = *prepared_;
  const Problem& p = now.problem;
  const size_t size = ByteSize(now.y.type);
  bench::Poison(now.y.data, static_cast<size_t>(p.m * now.y.stride) * size);
  MLPSERVE_RETURN_IF_ERROR(LaunchCopy(now.entries[candidate], 0));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  const std::vector<std::byte> bytes = Download(now.y);
  std::vector<float> y(static_cast<size_t>(p.m * p.n));
  for (int64_t row = 0; row < p.m; ++row) {
    for (int64_t i = 0; i < p.n; ++i) {
      y[static_cast<size_t>(row * p.n + i)] =
          ReadElement(now.y.type, &bytes[static_cast<size_t>(row * now.y.stride + i) * size]);
    }
  }
  return y;
}

absl::StatusOr<bool> CudaKernelBench::ChainHolds(size_t candidate) {
  const Entry& entry = prepared_->entries[candidate];
  const cuda::Activation& last = prepared_->between[(entry.chain.size() - 1) % 2];
  for (size_t i = 0; i < entry.chain.size(); ++i) {
    MLPSERVE_RETURN_IF_ERROR(LaunchChainLayer(entry, i));
    MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  }
  const std::vector<std::byte> one_by_one = Download(last);
  for (const cuda::Activation& buffer : prepared_->between) {
    bench::Poison(buffer.data, one_by_one.size());
  }
  const auto graph = cuda::Graph::Capture(stream_, [&] {
    for (size_t i = 0; i < entry.chain.size(); ++i) {
      MLPSERVE_RETURN_IF_ERROR(LaunchChainLayer(entry, i));
    }
    return absl::OkStatus();
  });
  if (!graph.ok()) return graph.status();
  MLPSERVE_RETURN_IF_ERROR(graph->Launch(stream_));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  // Padding between rows is nobody's.
  const std::vector<std::byte> chained = Download(last);
  const size_t stride = static_cast<size_t>(last.stride) * ByteSize(last.type);
  const size_t used = static_cast<size_t>(last.features) * ByteSize(last.type);
  for (size_t row = 0; row < chained.size(); row += stride) {
    const auto begin = chained.begin() + static_cast<std::ptrdiff_t>(row);
    const auto expected = one_by_one.begin() + static_cast<std::ptrdiff_t>(row);
    if (!std::equal(begin, begin + static_cast<std::ptrdiff_t>(used), expected)) return false;
  }
  return true;
}

absl::StatusOr<std::vector<Times>> CudaKernelBench::Time(const std::vector<size_t>& candidates,
                                                         const TimeOptions& options) {
  const Prepared& now = *prepared_;
  absl::Status failed;
  std::vector<bench::Launch> launches;
  for (const size_t i : candidates) launches.push_back(CopyLauncher(now.entries[i], failed));
  const std::vector<double> burst = bench::BurstMs(launches, options.burst_rounds, stream_.get());
  // Chains take their turns among the others.
  std::vector<std::pair<size_t, size_t>> chains;  // index into candidates, into launches
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Entry& entry = now.entries[candidates[i]];
    if (entry.chain.empty()) continue;
    chains.emplace_back(i, launches.size());
    launches.push_back(ChainLauncher(entry, failed));
  }
  const int whole = std::lcm(static_cast<int>(now.copies.size()), now.problem.layers);
  const int count = whole * std::max(1, kGraphLaunches / whole);
  const std::vector<double> sustained =
      bench::SustainedMs(launches, count, options.seconds, options.rounds, stream_.get());
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
  const absl::StatusOr<std::vector<cuda::Device>> devices = cuda::FindDevices();
  if (!devices.ok()) return devices.status();
  const cuda::Device& device = devices->front();
  const auto nvrtc = cuda::Nvrtc::Open();
  if (!nvrtc.ok()) return absl::NotFoundError(std::string(nvrtc.status().message()));
  if (!(*nvrtc)->Supports(device.limits.arch)) {
    return absl::NotFoundError(absl::StrCat("expected an NVRTC that compiles for ",
                                            device.limits.arch, ", found ", (*nvrtc)->version()));
  }
  std::optional<cuda::KernelCache> cache;
  if (!kernel_cache.empty()) {
    absl::StatusOr<cuda::KernelCache> opened = cuda::KernelCache::Open(kernel_cache);
    if (!opened.ok()) return opened.status();
    cache = *std::move(opened);
  }
  MLPSERVE_RETURN_IF_ERROR(cuda::Use(device));
  absl::StatusOr<cuda::Stream> stream = cuda::Stream::Create();
  if (!stream.ok()) return stream.status();
  return std::make_unique<CudaKernelBench>(cuda::KernelCompiler(*nvrtc, std::move(cache)), device,
                                           *std::move(stream), cuda::CublasLt::Open());
}

}  // namespace mlpserve::tools
