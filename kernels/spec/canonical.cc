#include "kernels/spec/canonical.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace mlpserve {
namespace {

// One value for every column, or (if `columns` is not empty) one for each.
struct Values {
  double value = 0;
  std::vector<double> columns;

  double at(size_t i) const { return columns.empty() ? value : columns[i]; }
  bool Is(double constant) const { return columns.empty() && value == constant; }
};

struct Affine {  // z * scale + shift
  Values scale{.value = 1};
  Values shift{.value = 0};

  bool IsIdentity() const { return scale.Is(1) && shift.Is(0); }
};

Values Load(const Operand& operand, const EpilogueSpec& from) {
  if (!operand.is_column()) return {.value = operand.value};
  const std::vector<float>& column = from.columns[operand.column];
  return {.columns = {column.begin(), column.end()}};
}

// Equal columns become a constant. Columns that hold NaN or infinity stay columns, so that every
// constant of a canonical epilogue is finite and can be printed in generated code.
void Collapse(Values& values) {
  if (values.columns.empty()) return;
  const uint64_t first = std::bit_cast<uint64_t>(values.columns.front());
  const bool equal = std::ranges::all_of(
      values.columns, [first](double v) { return std::bit_cast<uint64_t>(v) == first; });
  if (!equal || !std::isfinite(values.columns.front())) return;
  values = {.value = values.columns.front()};
}

// How many entries an element-wise function of the two has (0: one, for every column).
size_t Width(const Values& a, const Values& b) {
  return std::max(a.columns.size(), b.columns.size());
}

template <typename F>
Values Map(size_t width, F f) {
  if (width == 0) return {.value = f(0)};
  Values result;
  result.columns.resize(width);
  for (size_t i = 0; i < width; ++i) result.columns[i] = f(i);
  return result;
}

bool All(const Values& values, bool (*predicate)(double)) {
  if (values.columns.empty()) return predicate(values.value);
  return std::ranges::all_of(values.columns, predicate);
}

bool FitsFp32(double value) { return std::isfinite(static_cast<float>(value)); }
bool FitsFp32AsFactor(double value) {
  return FitsFp32(value) && (value == 0 || std::fabs(value) >= std::numeric_limits<float>::min());
}

// `second` after `first`, or nothing where the product leaves FP32's range. In particular nothing
// that holds NaN or infinity is folded: (z + 1) * inf is not z * inf + inf.
std::optional<Affine> Fold(const Affine& first, const Affine& second) {
  Affine folded;
  folded.scale = Map(Width(first.scale, second.scale),
                     [&](size_t i) { return first.scale.at(i) * second.scale.at(i); });
  const size_t width = std::max(Width(first.shift, second.scale), second.shift.columns.size());
  folded.shift = Map(
      width, [&](size_t i) { return first.shift.at(i) * second.scale.at(i) + second.shift.at(i); });
  if (!All(folded.scale, FitsFp32AsFactor) || !All(folded.shift, FitsFp32)) return std::nullopt;
  Collapse(folded.scale);
  Collapse(folded.shift);
  return folded;
}

// The columns of an epilogue under construction, in float64 and in no particular order.
using ColumnPool = std::vector<std::vector<double>>;

Operand Store(Values values, ColumnPool& pool) {
  if (values.columns.empty()) return {.value = values.value};
  pool.push_back(std::move(values.columns));
  return {.column = static_cast<int>(pool.size()) - 1};
}

// Builds one list of canonical ops. A run of multiply-adds is held back until another op ends it.
class OpList {
 public:
  OpList(const EpilogueSpec& from, ColumnPool& pool) : from_(from), pool_(pool) {}

  void Append(const std::vector<Op>& ops) {
    for (const Op& op : ops) std::visit([this](const auto& o) { Add(o); }, op.value);
  }

  void AddAffine(Affine affine) {
    Collapse(affine.scale);
    Collapse(affine.shift);
    if (affine.IsIdentity()) return;
    // The run's last may fold with its predecessor only once it has been folded itself.
    while (!run_.empty()) {
      std::optional<Affine> folded = Fold(run_.back(), affine);
      if (!folded) break;
      run_.pop_back();
      if (folded->IsIdentity()) return;
      affine = *std::move(folded);
    }
    run_.push_back(std::move(affine));
  }

  std::vector<Op> Finish() {
    EndRun();
    return std::move(ops_);
  }

 private:
  void Add(const MultiplyAdd& op) { AddAffine({Load(op.scale, from_), Load(op.shift, from_)}); }

  void Add(const Clamp& op) {
    if (std::isinf(op.min) && op.min < 0 && std::isinf(op.max) && op.max > 0) return;
    EndRun();
    Clamp* last = ops_.empty() ? nullptr : std::get_if<Clamp>(&ops_.back().value);
    if (last == nullptr) {
      ops_.push_back({op});
    } else {
      *last = {.min = std::clamp(last->min, op.min, op.max),
               .max = std::clamp(last->max, op.min, op.max)};
    }
  }

  void Add(const Pointwise& op) { Push({op}); }
  void Add(const AddInput& op) { Push({op}); }

  void Add(const Residual& op) {
    std::vector<Op> ops = Nested(op.ops);
    if (ops.empty()) {
      AddAffine({.scale = {.value = 2}, .shift = {}});  // z + z
    } else {
      Push({Residual{std::move(ops)}});
    }
  }

  void Add(const Gate& op) {
    std::vector<Op> ops = Nested(op.ops);
    if (ops == std::vector<Op>{{Pointwise{.function = Function::kSigmoid}}}) {
      Push({Pointwise{.function = Function::kSilu}});
      return;
    }
    if (ops.empty()) ops.push_back({MultiplyAdd{}});  // z * z: a gate holds at least one op
    Push({Gate{std::move(ops)}});
  }

  // (z - mean), times the deviation's inverse, times weight, plus bias: three steps, which fold
  // into one wherever the numbers allow.
  void Add(const RunningBatchNorm& op) {
    const Values mean = Load(op.mean, from_);
    const Values variance = Load(op.variance, from_);
    AddAffine({.shift = Map(mean.columns.size(), [&](size_t i) { return -mean.at(i); })});
    AddAffine({.scale = Map(variance.columns.size(),
                            [&](size_t i) { return 1 / std::sqrt(variance.at(i) + op.eps); })});
    AddAffine({Load(op.weight, from_), Load(op.bias, from_)});
  }

  void Add(const BatchNorm& op) {
    Values weight = Load(op.weight, from_);
    Values bias = Load(op.bias, from_);
    Collapse(weight);
    Collapse(bias);
    Push({BatchNorm{.weight = Store(std::move(weight), pool_),
                    .bias = Store(std::move(bias), pool_),
                    .eps = op.eps}});
  }

  void Push(Op op) {
    EndRun();
    ops_.push_back(std::move(op));
  }

  std::vector<Op> Nested(const std::vector<Op>& ops) const {
    OpList nested(from_, pool_);
    nested.Append(ops);
    return nested.Finish();
  }

  void EndRun() {
    for (Affine& affine : run_) {
      ops_.push_back({MultiplyAdd{.scale = Store(std::move(affine.scale), pool_),
                                  .shift = Store(std::move(affine.shift), pool_)}});
    }
    run_.clear();
  }

  const EpilogueSpec& from_;
  ColumnPool& pool_;
  std::vector<Op> ops_;
  std::vector<Affine> run_;  // not yet in ops_; each could not be folded into the one before it
};

// Rounds to FP32 and numbers the columns, each once, in order of first use.
class Numbering {
 public:
  Numbering(const ColumnPool& pool, std::vector<std::vector<float>>& columns)
      : pool_(pool), columns_(columns) {}

  void Visit(std::vector<Op>& ops) {
    for (Op& op : ops) std::visit([this](auto& o) { Visit(o); }, op.value);
  }

 private:
  void Visit(MultiplyAdd& op) {
    Visit(op.scale);
    Visit(op.shift);
  }
  void Visit(BatchNorm& op) {
    Visit(op.weight);
    Visit(op.bias);
  }
  void Visit(Residual& op) { Visit(op.ops); }
  void Visit(Gate& op) { Visit(op.ops); }
  void Visit(RunningBatchNorm&) {}
  void Visit(Clamp&) {}
  void Visit(Pointwise&) {}
  void Visit(AddInput&) {}

  void Visit(Operand& operand) {
    if (!operand.is_column()) {
      operand.value = static_cast<float>(operand.value);
      return;
    }
    const std::vector<double>& source = pool_[operand.column];
    std::vector<float> column(source.begin(), source.end());
    const auto bits = std::bit_cast<uint32_t, float>;
    const auto found = std::ranges::find_if(columns_, [&](const std::vector<float>& other) {
      return std::ranges::equal(column, other, {}, bits, bits);
    });
    operand.column = static_cast<int>(found - columns_.begin());
    if (found == columns_.end()) columns_.push_back(std::move(column));
  }

  const ColumnPool& pool_;
  std::vector<std::vector<float>>& columns_;
};

}  // namespace

EpilogueSpec Canonicalize(const LayerSpec& layer) {
  ColumnPool pool;
  OpList list(layer.epilogue, pool);
  if (!layer.bias.empty()) {
    list.AddAffine({.shift = {.columns = {layer.bias.begin(), layer.bias.end()}}});
  }
  list.Append(layer.epilogue.ops);

  EpilogueSpec canonical;
  canonical.ops = list.Finish();
  Numbering(pool, canonical.columns).Visit(canonical.ops);
  return canonical;
}

}  // namespace mlpserve
