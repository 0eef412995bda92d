#include "server/tools/bench/cpu_kernel_bench.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_block.h"
#include "kernels/cpu/worker_team.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"
#include "server/tools/bench/in_turn.h"
#include "server/tools/bench/memory_need.h"

namespace mlpserve::tools {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::byte kPoison{0xFF};  // NaN in every format
constexpr size_t kGuardBytes = 4096;

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
  absl::StatusOr<ProductSums> Multiply(ComputeType rounded_to, Columns columns) override {
    const Problem& p = problem_;
    return MultiplyOnHost(x_, layer_->weight, p.m, p.k, columns, rounded_to);
  }
  absl::StatusOr<Output> Compute(size_t candidate, Columns columns) override;
  absl::StatusOr<bool> RowsStandAlone(size_t candidate) override;
  absl::StatusOr<bool> ChainHolds(size_t) override;
  absl::StatusOr<std::vector<Times>> Time(const std::vector<size_t>& candidates,
                                          const TimeOptions& options) override;
  absl::Status Profile(const std::vector<size_t>&) override {
    return absl::InvalidArgumentError("--mode: expected a GPU to profile on, found --backend cpu");
  }

 private:
  absl::StatusOr<std::unique_ptr<cpu::CpuBlock>> Load(int layers);

  size_t OutputBytes() const {
    return static_cast<size_t>(problem_.m * problem_.n) * ByteSize(problem_.stored());
  }

  cpu::WorkerTeam team_;
  Problem problem_;
  const LayerSpec* layer_ = nullptr;  // the caller's, until the next Prepare
  std::span<const float> x_;          // likewise
  Bytes input_;
  Bytes output_;  // with a guard behind it, which nothing may write
  std::vector<std::unique_ptr<cpu::CpuBlock>> copies_;
  std::unique_ptr<cpu::CpuBlock> chain_;  // null: none
};

absl::Status CpuKernelBench::CheckFits(const Problem& p) const {
  // Packed copies of the weights, a chain's and its spares, and the float64 rows of the oracle.
  const double weight = static_cast<double>(p.n) * static_cast<double>(p.k) * sizeof(float);
  const double copies = ColdCopies(static_cast<size_t>(weight)) + (p.layers > 1 ? 2 * p.layers : 0);
  const double rows = static_cast<double>(p.m) * static_cast<double>(p.n + p.k);
  return CheckHostFits(p, weight * copies + rows * (sizeof(double) + 4 * sizeof(float)));
}

absl::StatusOr<std::unique_ptr<cpu::CpuBlock>> CpuKernelBench::Load(int layers) {
  const DataType type = problem_.stored();
  BlockSpec block{
      .name = "bench", .input_type = type, .output_type = type, .compute = problem_.compute};
  block.layers.assign(static_cast<size_t>(layers), *layer_);
  return cpu::CpuBlock::Create(block, {.max_rows = problem_.m, .team = &team_});
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
  output_.assign(OutputBytes() + kGuardBytes, kPoison);
  const int copies = ColdCopies(static_cast<size_t>(problem.weight_bytes()));
  for (int i = 0; i < copies; ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(copies_.emplace_back(), Load(1));
  }
  if (problem.layers > 1) {
    MLPSERVE_ASSIGN_OR_RETURN(chain_, Load(problem.layers));
  }
  const std::string variant = copies_.front()->Variant(0);
  for (const std::string& name : variants.names) {
    if (name != variant) {
      return absl::InvalidArgumentError(
          absl::StrCat("--variants: expected chosen, all or ", variant, ", found ", name));
    }
  }
  return std::vector<Candidate>{{.variant = variant, .resources = {}}};
}

absl::StatusOr<Output> CpuKernelBench::Compute(size_t, Columns columns) {
  std::ranges::fill(output_, kPoison);
  copies_.front()->Run(input_.data(), output_.data(), problem_.m);
  const size_t size = ByteSize(problem_.stored());
  Output output;
  output.values.reserve(static_cast<size_t>(problem_.m * columns.count));
  for (int64_t row = 0; row < problem_.m; ++row) {
    for (int64_t i = 0; i < columns.count; ++i) {
      const auto at = static_cast<size_t>(row * problem_.n + columns.first + i) * size;
      output.values.push_back(ReadElement(problem_.stored(), &output_[at]));
    }
  }
  const auto guard = output_.begin() + static_cast<std::ptrdiff_t>(OutputBytes());
  output.trespasses = std::count_if(guard, output_.end(), [](std::byte b) { return b != kPoison; });
  return output;
}

absl::StatusOr<bool> CpuKernelBench::RowsStandAlone(size_t) {
  copies_.front()->Run(input_.data(), output_.data(), problem_.m);
  const Bytes all = output_;
  const int64_t fewer = (problem_.m + 2) / 3;
  std::ranges::fill(output_, kPoison);
  copies_.front()->Run(input_.data(), output_.data(), fewer);
  const auto used = static_cast<std::ptrdiff_t>(OutputBytes() / static_cast<size_t>(problem_.m) *
                                                static_cast<size_t>(fewer));
  return std::equal(all.begin(), all.begin() + used, output_.begin());
}

absl::StatusOr<bool> CpuKernelBench::ChainHolds(size_t) {
  Bytes from = input_;
  Bytes to = output_;
  for (int i = 0; i < problem_.layers; ++i) {
    copies_.front()->Run(from.data(), to.data(), problem_.m);
    std::swap(from, to);
  }
  std::ranges::fill(output_, kPoison);
  chain_->Run(input_.data(), output_.data(), problem_.m);
  return std::equal(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(OutputBytes()),
                    from.begin());
}

absl::StatusOr<std::vector<Times>> CpuKernelBench::Time(const std::vector<size_t>&,
                                                        const TimeOptions& options) {
  const auto run = [this](int turn) {
    copies_[static_cast<size_t>(turn) % copies_.size()]->Run(input_.data(), output_.data(),
                                                             problem_.m);
  };
  Times times;
  times.burst_ms = MediansInTurn({[&](int turn) { return MillisecondsOf([&] { run(turn); }); }},
                                 options.burst_rounds)[0];
  std::vector<RunMany> many = {[&](int count) {
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
  const std::vector<double> means = MeansInTurn(many, options.seconds, options.rounds);
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
