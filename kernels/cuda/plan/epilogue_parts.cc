#include "kernels/cuda/plan/epilogue_parts.h"

#include <map>
#include <utility>
#include <variant>

namespace mlpserve::cuda {
namespace {

// Copies ops into a part, together with the columns that they use.
class PartBuilder {
 public:
  explicit PartBuilder(const EpilogueSpec& from) : from_(from) {}

  void Begin(const BatchNorm& norm) {
    part_.norm = norm;
    const size_t outputs = from_.columns.empty() ? 0 : from_.columns.front().size();
    part_.epilogue.columns.assign(kNormColumns, std::vector<float>(outputs));
    part_.epilogue.ops = {
        {MultiplyAdd{.shift = {.column = 0}}},
        {MultiplyAdd{.scale = {.column = 1}, .shift = {.column = 2}}},
    };
  }

  void Append(Op op) {
    Renumber(op);
    part_.epilogue.ops.push_back(std::move(op));
  }

  EpiloguePart Take() {
    used_.clear();
    return std::exchange(part_, {});
  }

 private:
  void Renumber(Operand& operand) {
    if (!operand.is_column()) return;
    const auto [found, is_new] =
        used_.try_emplace(operand.column, static_cast<int>(part_.epilogue.columns.size()));
    if (is_new) {
      part_.epilogue.columns.push_back(from_.columns[static_cast<size_t>(operand.column)]);
    }
    operand.column = found->second;
  }

  void Renumber(Op& op) {
    if (auto* affine = std::get_if<MultiplyAdd>(&op.value)) {
      Renumber(affine->scale);
      Renumber(affine->shift);
    } else if (auto* residual = std::get_if<Residual>(&op.value)) {
      for (Op& inner : residual->ops) Renumber(inner);
    } else if (auto* gate = std::get_if<Gate>(&op.value)) {
      for (Op& inner : gate->ops) Renumber(inner);
    }
  }

  const EpilogueSpec& from_;
  EpiloguePart part_;
  std::map<int, int> used_;
};

}  // namespace

std::vector<EpiloguePart> CutAtBatchNorms(const EpilogueSpec& canonical) {
  std::vector<EpiloguePart> parts;
  PartBuilder builder(canonical);
  for (const Op& op : canonical.ops) {
    if (const auto* norm = std::get_if<BatchNorm>(&op.value)) {
      parts.push_back(builder.Take());
      builder.Begin(*norm);
    } else {
      builder.Append(op);
    }
  }
  parts.push_back(builder.Take());
  return parts;
}

}  // namespace mlpserve::cuda
