#include "server/tools/bench/run.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status/status_macros.h"
#include "server/tools/bench/expected.h"
#include "server/tools/bench/record.h"

namespace mlpserve::tools {
namespace {

class Runner {
 public:
  Runner(const RunOptions& options, KernelBench& bench, std::ostream& table, std::ostream* records)
      : options_(options), bench_(bench), table_(table), records_(records) {}

  void Begin(bool is_timed);
  absl::Status Run(const Step& step, const Problem& problem);
  const RunResult& result() const { return result_; }

 private:
  LayerSpec LayerOf(const Problem& problem);
  absl::Status MultiplyIfNew(const Problem& problem, Columns columns);
  absl::Status JudgeColumns(const Problem& problem, const LayerSpec& layer, Columns columns,
                            const std::vector<Candidate>& candidates, std::vector<Judge>& judges);
  absl::StatusOr<std::string> FindWrongBits(const Step& step, const Problem& problem,
                                            const std::vector<Candidate>& candidates,
                                            size_t candidate);
  absl::StatusOr<std::vector<size_t>> Check(const Step& step, const Problem& problem,
                                            const LayerSpec& layer,
                                            const std::vector<Candidate>& candidates);
  absl::Status Time(const Step& step, const Problem& problem,
                    const std::vector<Candidate>& candidates, const std::vector<size_t>& right);
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

  // Kept between problems, since neighbours often share them.
  Tensor weight_;
  std::vector<float> x_;
  std::pair<int64_t, int64_t> weight_of_;  // n, k
  std::optional<Products> products_;
  std::tuple<int64_t, int64_t, int64_t, ComputeType> products_of_;
  Columns products_columns_;
  std::vector<double> errors_;  // of the candidates
};

void Runner::Begin(bool is_timed) {
  const MachineFigures machine = bench_.Machine();
  table_ << machine.name << "\n";
  nlohmann::ordered_json json = {
      {"op", "machine"}, {"gpu", machine.name}, {"driver", machine.driver}};
  if (machine.power_limit_w > 0) json["power_limit_w"] = machine.power_limit_w;
  json["date"] = options_.date;
  json["commit"] = options_.commit;
  Write(json.dump());
  for (const std::string& warning : bench_.Warnings()) table_ << "warning: " << warning << "\n";
  if (!is_timed) return;
  read_gbps_ = bench_.MeasureReading();
  if (read_gbps_ > 0) {
    table_ << absl::StrFormat("memory is read at %.0f GB/s\n", read_gbps_);
    Write(nlohmann::ordered_json({{"op", "read"}, {"gbps", read_gbps_}}).dump());
  }
  table_ << TableHeading() << std::endl;
}

LayerSpec Runner::LayerOf(const Problem& p) {
  if (weight_.empty() || weight_of_ != std::pair(p.n, p.k)) {
    weight_ = MakeWeight(p.n, p.k);
    weight_of_ = {p.n, p.k};
  }
  return MakeLayer(p, weight_);
}

absl::Status Runner::MultiplyIfNew(const Problem& p, Columns columns) {
  const auto of = std::tuple(p.m, p.n, p.k, p.compute);
  if (products_ && products_of_ == of && products_columns_ == columns) return absl::OkStatus();
  products_.reset();
  Products products;
  MLPSERVE_ASSIGN_OR_RETURN(products.rounded, bench_.Multiply(p.compute, columns));
  if (p.compute == ComputeType::kTf32) {
    MLPSERVE_ASSIGN_OR_RETURN(products.stored, bench_.Multiply(ComputeType::kFp32, columns));
  }
  products_ = std::move(products);
  products_of_ = of;
  products_columns_ = columns;
  return absl::OkStatus();
}

// Judges every candidate that was right so far.
absl::Status Runner::JudgeColumns(const Problem& p, const LayerSpec& layer, Columns columns,
                                  const std::vector<Candidate>& candidates,
                                  std::vector<Judge>& judges) {
  MLPSERVE_RETURN_IF_ERROR(MultiplyIfNew(p, columns));
  const Expected expected = Expect(p, layer, x_, columns, *products_);
  const bool has_plain = std::ranges::any_of(candidates, &Candidate::is_plain);
  const Expected plain = has_plain ? ExpectPlain(p, columns, *products_) : Expected{};
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!judges[i].is_right_so_far()) continue;
    MLPSERVE_ASSIGN_OR_RETURN(const Output output, bench_.Compute(i, columns));
    judges[i].Add(columns, candidates[i].is_plain ? plain : expected, output.values);
    if (output.trespasses > 0) {
      judges[i].Refuse(absl::StrCat("expected nothing beside y to be written, found ",
                                    output.trespasses, " bytes"));
    }
  }
  return absl::OkStatus();
}

// Checks the bits of a candidate whose values are right; empty: they are right, too.
absl::StatusOr<std::string> Runner::FindWrongBits(const Step& step, const Problem& p,
                                                  const std::vector<Candidate>& candidates,
                                                  size_t candidate) {
  if (candidates[candidate].is_plain) return std::string();
  if (p.layers > 1) {
    MLPSERVE_ASSIGN_OR_RETURN(const bool holds, bench_.ChainHolds(candidate));
    if (!holds) return std::string("a chain's bits are not those of its layers one by one");
  }
  const bool stands_alone = !UsesBatchStatistics(p.epilogue.layer.epilogue);
  if (step.mode == Mode::kCheck && stands_alone) {
    MLPSERVE_ASSIGN_OR_RETURN(const bool stands, bench_.RowsStandAlone(candidate));
    if (!stands) return std::string("a row has other bits among fewer rows");
  }
  return std::string();
}

absl::StatusOr<std::vector<size_t>> Runner::Check(const Step& step, const Problem& p,
                                                  const LayerSpec& layer,
                                                  const std::vector<Candidate>& candidates) {
  std::vector<Judge> judges;
  for (const Candidate& candidate : candidates) {
    judges.emplace_back(p, candidate.is_plain || p.epilogue.is_named);
    if (!candidate.refused.empty()) judges.back().Refuse(candidate.refused);
  }
  for (const Columns columns : ColumnsAtATime(p, options_.most_held_values)) {
    MLPSERVE_RETURN_IF_ERROR(JudgeColumns(p, layer, columns, candidates, judges));
  }
  errors_.assign(candidates.size(), 0);
  std::vector<size_t> right;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Verdict verdict = judges[i].Finish();
    errors_[i] = verdict.relative_error;
    std::string wrong = verdict.reason;
    if (wrong.empty()) {
      MLPSERVE_ASSIGN_OR_RETURN(wrong, FindWrongBits(step, p, candidates, i));
    }
    if (wrong.empty()) right.push_back(i);
    const std::string what = absl::StrCat(Describe(p), " ", candidates[i].variant);
    if (!wrong.empty()) {
      table_ << "WRONG " << what << ": " << wrong << std::endl;
    } else if (step.mode != Mode::kTime) {
      table_ << "ok    " << what << absl::StrFormat(": relative error %.2g", errors_[i])
             << std::endl;
    }
  }
  result_.checked += static_cast<int>(right.size());
  result_.wrong += static_cast<int>(candidates.size() - right.size());
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
    // The plain product comes first: the others are printed beside it.
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

absl::Status Runner::Time(const Step& step, const Problem& p,
                          const std::vector<Candidate>& candidates,
                          const std::vector<size_t>& right) {
  (void)bench_.TakeCardFigures();
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<Times> times, bench_.Time(right, step.time));
  Report(p, candidates, right, times);
  return absl::OkStatus();
}

absl::Status Runner::Run(const Step& step, const Problem& p) {
  x_ = MakeRows(p);
  const LayerSpec layer = LayerOf(p);
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<Candidate> candidates,
                            bench_.Prepare(p, layer, x_, step.variants));
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<size_t> right, Check(step, p, layer, candidates));
  if (right.empty() || step.mode == Mode::kCheck) return absl::OkStatus();
  if (step.mode == Mode::kProfile) return bench_.Profile(right);
  return Time(step, p, candidates, right);
}

}  // namespace

absl::StatusOr<RunResult> RunKernelBench(const std::vector<Step>& steps, const RunOptions& options,
                                         KernelBench& bench, std::ostream& table,
                                         std::ostream* records) {
  for (const Step& step : steps) {
    for (const Problem& problem : step.problems) {
      MLPSERVE_RETURN_IF_ERROR(bench.CheckFits(problem));
    }
  }
  Runner runner(options, bench, table, records);
  runner.Begin(std::ranges::any_of(steps, [](const Step& s) { return s.mode == Mode::kTime; }));
  for (const Step& step : steps) {
    for (const Problem& problem : step.problems) {
      const absl::Status status = runner.Run(step, problem);
      if (status.ok()) continue;
      return absl::Status(status.code(),
                          absl::StrCat(Describe(problem), ": ", std::string(status.message())));
    }
  }
  return runner.result();
}

}  // namespace mlpserve::tools
