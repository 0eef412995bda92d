#include "server/tools/bench/cpu_kernel_bench.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_block.h"
#include "kernels/cpu/worker_team.h"
#include "kernels/cuda/bench/in_turn.h"
#include "kernels/spec/rounding.h"

namespace mlpserve::tools {
namespace {

using Bytes = std::vector<std::byte>;

Bytes Encode(std::span<const float> values, DataType type) {
  Bytes bytes(values.size() * ByteSize(type));
  for (size_t i = 0; i < values.size(); ++i) {
    WriteElement(type, values[i], &bytes[i * ByteSize(type)]);
  }
  return bytes;
}

double MillisecondsOf(const std::function<void()>& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
      .count();
}

class CpuKernelBench final : public KernelBench {
 public:
  explicit CpuKernelBench(int threads) : team_(threads) {}

  MachineFigures Machine() const override {
    return {.name = absl::StrCat("processor, ", team_.threads(),
                                 team_.threads() == 1 ? " thread" : " threads"),
            .driver = ""};
  }

  absl::Status CheckFits(const Problem& problem) const override;
  absl::StatusOr<std::vector<Candidate>> Prepare(const Problem& problem, const LayerSpec& layer,
                                                 std::span<const float> x,
                                                 const Variants& variants) override;
  absl::StatusOr<ProductSums> Multiply(ComputeType rounded_to) override {
    const Problem& p = problem_;
    return MultiplyOnHost(x_, layer_->weight, p.m, p.n, p.k, rounded_to);
  }
  absl::StatusOr<std::vector<float>> Compute(size_t) override;
  absl::StatusOr<bool> ChainHolds(size_t) override;
  absl::StatusOr<std::vector<Times>> Time(const std::vector<size_t>& candidates,
                                          const TimeOptions& options) override;

 private:
  std::unique_ptr<cpu::CpuBlock> Load(int layers);

  cpu::WorkerTeam team_;
  Problem problem_;
  const LayerSpec* layer_ = nullptr;  // the caller's, until the next Prepare
  std::span<const float> x_;          // likewise
  Bytes input_, output_;
  std::vector<std::unique_ptr<cpu::CpuBlock>> copies_;
  std::unique_ptr<cpu::CpuBlock> chain_;  // null: none
};

absl::Status CpuKernelBench::CheckFits(const Problem& p) const {
  // The weights as they are made, packed copies of them, and the oracle's float64 matrices.
  const double weight = static_cast<double>(p.n) * static_cast<double>(p.k) * sizeof(float);
  const double copies =
      bench::ColdCopies(static_cast<size_t>(weight)) + (p.layers > 1 ? 2 * p.layers : 0);
  const double rows = static_cast<double>(p.m) * static_cast<double>(p.n + p.k);
  const double need = weight * (copies + 2) + rows * 12 * sizeof(double);
  const double have =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (need <= have) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(Describe(p), ": expected what fits into ", static_cast<int64_t>(have) >> 20,
                   " MiB of memory, found ", static_cast<int64_t>(need / (1 << 20)), " MiB"));
}

std::unique_ptr<cpu::CpuBlock> CpuKernelBench::Load(int layers) {
  const DataType type = problem_.stored();
  BlockSpec block{
      .name = "bench", .input_type = type, .output_type = type, .compute = problem_.compute};
  block.layers.assign(static_cast<size_t>(layers), *layer_);
  return std::make_unique<cpu::CpuBlock>(
      block, cpu::CpuBlockOptions{.max_rows = problem_.m, .team = &team_});
}

absl::StatusOr<std::vector<Candidate>> CpuKernelBench::Prepare(const Problem& problem,
                                                               const LayerSpec& layer,
                                                               std::span<const float> x,
                                                               const Variants& variants) {
  copies_.clear();
  chain_.reset();
  problem_ = problem;
  layer_ = &layer;
  x_ = x;
  input_ = Encode(x, problem.stored());
  output_.assign(static_cast<size_t>(problem.m * problem.n) * ByteSize(problem.stored()),
                 std::byte{0xFF});
  const int copies = bench::ColdCopies(static_cast<size_t>(problem.weight_bytes()));
  for (int i = 0; i < copies; ++i) copies_.push_back(Load(1));
  if (problem.layers > 1) chain_ = Load(problem.layers);
  const std::string variant = copies_.front()->Variant(0);
  for (const std::string& name : variants.names) {
    if (name != variant) {
      return absl::InvalidArgumentError(
          absl::StrCat("--variants: expected chosen, all or ", variant, ", found ", name));
    }
  }
  return std::vector<Candidate>{{.variant = variant, .resources = {}}};
}

absl::StatusOr<std::vector<float>> CpuKernelBench::Compute(size_t) {
  std::ranges::fill(output_, std::byte{0xFF});
  copies_.front()->Run(input_.data(), output_.data(), problem_.m);
  const size_t size = ByteSize(problem_.stored());
  std::vector<float> y(output_.size() / size);
  for (size_t i = 0; i < y.size(); ++i) y[i] = ReadElement(problem_.stored(), &output_[i * size]);
  return y;
}

absl::StatusOr<bool> CpuKernelBench::ChainHolds(size_t) {
  Bytes from = input_;
  Bytes to = output_;
  for (int i = 0; i < problem_.layers; ++i) {
    copies_.front()->Run(from.data(), to.data(), problem_.m);
    std::swap(from, to);
  }
  std::ranges::fill(output_, std::byte{0xFF});
  chain_->Run(input_.data(), output_.data(), problem_.m);
  return output_ == from;
}

absl::StatusOr<std::vector<Times>> CpuKernelBench::Time(const std::vector<size_t>&,
                                                        const TimeOptions& options) {
  const auto run = [this](int turn) {
    copies_[static_cast<size_t>(turn) % copies_.size()]->Run(input_.data(), output_.data(),
                                                             problem_.m);
  };
  Times times;
  times.burst_ms = bench::MediansInTurn(
      {[&](int turn) { return MillisecondsOf([&] { run(turn); }); }}, options.burst_rounds)[0];
  std::vector<bench::RunMany> many = {[&](int count) {
    return MillisecondsOf([&] {
      for (int i = 0; i < count; ++i) run(i);
    });
  }};
  if (chain_ != nullptr) {
    many.emplace_back([&](int count) {
      return MillisecondsOf([&] {
        for (int i = 0; i < count; ++i) chain_->Run(input_.data(), output_.data(), problem_.m);
      });
    });
  }
  const std::vector<double> means = bench::MeansInTurn(many, options.seconds, options.rounds);
  times.ms = means[0];
  if (chain_ != nullptr) times.chain_ms = means[1] / problem_.layers;
  return std::vector<Times>{times};
}

}  // namespace

std::unique_ptr<KernelBench> MakeCpuKernelBench(int threads) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::make_unique<CpuKernelBench>(threads > 0 ? threads : cores);
}

}  // namespace mlpserve::tools
