#include "server/tools/bench/run.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/tools/bench/expected.h"
#include "server/tools/bench/record.h"

namespace mlpserve::tools {
namespace {

class Runner {
 public:
  Runner(const RunOptions& options, KernelBench& bench, std::ostream& table, std::ostream* records)
      : options_(options), bench_(bench), table_(table), records_(records) {}

  void Begin();
  absl::Status Run(const Problem& problem);
  const RunResult& result() const { return result_; }

 private:
  LayerSpec TakeLayer(const Problem& problem);
  absl::Status MultiplyIfNew(const Problem& problem);
  absl::StatusOr<std::vector<size_t>> Check(const Problem& problem, const LayerSpec& layer,
                                            const std::vector<Candidate>& candidates);
  absl::StatusOr<std::string> WhatIsWrong(const Problem& problem, size_t candidate, bool is_plain,
                                          const Expected& expected);
  void Report(const Problem& problem, const std::vector<Candidate>& candidates,
              const std::vector<size_t>& right, const std::vector<Times>& times);
  void Write(const std::string& line) {
    if (records_ != nullptr) *records_ << line << std::endl;
  }

  const RunOptions& options_;
  KernelBench& bench_;
  std::ostream& table_;
  std::ostream* const records_;
  RunResult result_;
  double read_gbps_ = 0;

  // Kept from problem to problem.
  std::vector<float> weight_, x_;
  std::pair<int64_t, int64_t> weight_of_;  // n, k
  std::optional<Products> products_;
  std::tuple<int64_t, int64_t, int64_t, ComputeType> products_of_;
  std::vector<double> errors_;  // of the candidates
};

void Runner::Begin() {
  const MachineFigures machine = bench_.Machine();
  table_ << machine.name << "\n";
  nlohmann::ordered_json json = {
      {"op", "machine"}, {"gpu", machine.name}, {"driver", machine.driver}};
  if (machine.power_limit_w > 0) json["power_limit_w"] = machine.power_limit_w;
  json["date"] = options_.date;
  json["commit"] = options_.commit;
  Write(json.dump());
  for (const std::string& warning : bench_.Warnings()) table_ << "warning: " << warning << "\n";
  read_gbps_ = bench_.MeasureReading();
  if (read_gbps_ > 0) {
    table_ << absl::StrFormat("memory is read at %.0f GB/s\n", read_gbps_);
    Write(nlohmann::ordered_json({{"op", "read"}, {"gbps", read_gbps_}}).dump());
  }
  table_ << TableHeading() << std::endl;
}

LayerSpec Runner::TakeLayer(const Problem& p) {
  if (weight_.empty() || weight_of_ != std::pair(p.n, p.k)) {
    weight_ = MakeWeight(p.n, p.k);
    weight_of_ = {p.n, p.k};
  }
  return MakeLayer(p, std::move(weight_));
}

absl::Status Runner::MultiplyIfNew(const Problem& p) {
  const auto of = std::tuple(p.m, p.n, p.k, p.compute);
  if (products_ && products_of_ == of) return absl::OkStatus();
  products_.reset();
  absl::StatusOr<ProductSums> rounded = bench_.Multiply(p.compute);
  if (!rounded.ok()) return rounded.status();
  Products products{.rounded = *std::move(rounded), .stored = {}};
  if (p.compute == ComputeType::kTf32) {
    absl::StatusOr<ProductSums> stored = bench_.Multiply(ComputeType::kFp32);
    if (!stored.ok()) return stored.status();
    products.stored = *std::move(stored);
  }
  products_ = std::move(products);
  products_of_ = of;
  return absl::OkStatus();
}

// Empty: the candidate is right, and may be timed.
absl::StatusOr<std::string> Runner::WhatIsWrong(const Problem& p, size_t candidate, bool is_plain,
                                                const Expected& expected) {
  const absl::StatusOr<std::vector<float>> y = bench_.Compute(candidate);
  if (!y.ok()) return y.status();
  const Verdict verdict = Judge(p, expected, *y, is_plain || p.epilogue.is_named);
  errors_[candidate] = verdict.relative_error;
  if (!verdict.is_right) return verdict.reason;
  if (p.layers < 2 || is_plain) return std::string();
  const absl::StatusOr<bool> holds = bench_.ChainHolds(candidate);
  if (!holds.ok()) return holds.status();
  if (*holds) return std::string();
  return std::string("a chain's bits are not those of its layers one by one");
}

absl::StatusOr<std::vector<size_t>> Runner::Check(const Problem& p, const LayerSpec& layer,
                                                  const std::vector<Candidate>& candidates) {
  absl::Status multiplied = MultiplyIfNew(p);
  if (!multiplied.ok()) return multiplied;
  const Expected expected = Expect(p, layer, x_, *products_);
  const bool has_plain = std::ranges::any_of(candidates, &Candidate::is_plain);
  const Expected plain = has_plain ? ExpectPlain(p, *products_) : Expected{};
  errors_.assign(candidates.size(), 0);
  std::vector<size_t> right;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const bool is_plain = candidates[i].is_plain;
    const absl::StatusOr<std::string> wrong =
        WhatIsWrong(p, i, is_plain, is_plain ? plain : expected);
    if (!wrong.ok()) return wrong.status();
    if (wrong->empty()) {
      right.push_back(i);
      continue;
    }
    ++result_.wrong;
    table_ << "WRONG " << Describe(p) << " " << candidates[i].variant << ": " << *wrong
           << std::endl;
  }
  return right;
}

void Runner::Report(const Problem& p, const std::vector<Candidate>& candidates,
                    const std::vector<size_t>& right, const std::vector<Times>& times) {
  const CardFigures card = bench_.TakeCardFigures();
  std::vector<Record> records;
  std::optional<Record> plain;
  for (size_t i = 0; i < right.size(); ++i) {
    const Candidate& candidate = candidates[right[i]];
    Record record{.op = candidate.is_plain ? kPlainOp : p.epilogue.op,
                  .m = p.m,
                  .n = p.n,
                  .k = p.k,
                  .compute = p.compute,
                  .variant = candidate.variant,
                  .burst_ms = times[i].burst_ms,
                  .ms = times[i].ms,
                  .relative_error = errors_[right[i]],
                  .resources = candidate.resources,
                  .layers = p.layers,
                  .chain_ms = times[i].chain_ms,
                  .sm_mhz = card.sm_mhz,
                  .power_w = card.power_w};
    // What the others are held against comes first.
    if (candidate.is_plain) plain = record;
    records.insert(candidate.is_plain ? records.begin() : records.end(), std::move(record));
  }
  for (const Record& record : records) {
    table_ << ToTableRow(record, plain ? &*plain : nullptr, read_gbps_) << "\n";
    Write(ToJson(record));
    ++result_.records;
  }
  table_ << std::flush;
}

absl::Status Runner::Run(const Problem& p) {
  x_ = MakeRows(p);
  LayerSpec layer = TakeLayer(p);
  const absl::StatusOr<std::vector<Candidate>> candidates =
      bench_.Prepare(p, layer, x_, options_.variants);
  if (!candidates.ok()) return candidates.status();
  const absl::StatusOr<std::vector<size_t>> right = Check(p, layer, *candidates);
  weight_ = std::move(layer.weight);
  if (!right.ok()) return right.status();
  if (right->empty()) return absl::OkStatus();
  (void)bench_.TakeCardFigures();
  const absl::StatusOr<std::vector<Times>> times = bench_.Time(*right, options_.time);
  if (!times.ok()) return times.status();
  Report(p, *candidates, *right, *times);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RunResult> RunKernelBench(const std::vector<Problem>& problems,
                                         const RunOptions& options, KernelBench& bench,
                                         std::ostream& table, std::ostream* records) {
  for (const Problem& problem : problems) {
    absl::Status fits = bench.CheckFits(problem);
    if (!fits.ok()) return fits;
  }
  Runner runner(options, bench, table, records);
  runner.Begin();
  for (const Problem& problem : problems) {
    const absl::Status status = runner.Run(problem);
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat(Describe(problem), ": ", std::string(status.message())));
    }
  }
  return runner.result();
}

}  // namespace mlpserve::tools
