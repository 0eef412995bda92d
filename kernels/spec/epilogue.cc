#include "kernels/spec/epilogue.h"

#include <charconv>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace mlpserve {
namespace {

// The shortest decimal text that reads back as the same number.
std::string Text(double value) {
  char buffer[40];
  const std::to_chars_result end = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, end.ptr);
}

std::string Text(const Operand& operand) {
  return operand.is_column() ? absl::StrCat("c", operand.column) : Text(operand.value);
}

std::string Text(const std::vector<Op>& ops);

struct OpText {
  std::string operator()(const MultiplyAdd& op) const {
    return absl::StrCat("scale ", Text(op.scale), " shift ", Text(op.shift));
  }
  std::string operator()(const Clamp& op) const {
    return absl::StrCat("clamp ", Text(op.min), " ", Text(op.max));
  }
  std::string operator()(const Pointwise& op) const {
    const FunctionInfo& info = InfoOf(op.function);
    const std::string text(info.text);
    return info.takes_parameter() ? absl::StrCat(text, " ", Text(op.parameter)) : text;
  }
  std::string operator()(const Residual& op) const {
    return absl::StrCat("residual(", Text(op.ops), ")");
  }
  std::string operator()(const Gate& op) const { return absl::StrCat("gate(", Text(op.ops), ")"); }
  std::string operator()(const AddInput&) const { return "add_input"; }
  std::string operator()(const RunningBatchNorm& op) const {
    return absl::StrCat("running_batch_norm weight ", Text(op.weight), " bias ", Text(op.bias),
                        " mean ", Text(op.mean), " variance ", Text(op.variance), " eps ",
                        Text(op.eps));
  }
  std::string operator()(const BatchNorm& op) const {
    return absl::StrCat("batch_norm weight ", Text(op.weight), " bias ", Text(op.bias), " eps ",
                        Text(op.eps));
  }
};

std::string Text(const std::vector<Op>& ops) {
  std::string text;
  for (const Op& op : ops) {
    absl::StrAppend(&text, text.empty() ? "" : " | ", std::visit(OpText(), op.value));
  }
  return text;
}

bool UsesInput(const std::vector<Op>& ops) {
  for (const Op& op : ops) {
    if (std::holds_alternative<AddInput>(op.value)) return true;
    const Residual* residual = std::get_if<Residual>(&op.value);
    if (residual != nullptr && UsesInput(residual->ops)) return true;
    const Gate* gate = std::get_if<Gate>(&op.value);
    if (gate != nullptr && UsesInput(gate->ops)) return true;
  }
  return false;
}

}  // namespace

std::string ToString(const EpilogueSpec& epilogue) { return Text(epilogue.ops); }

bool UsesBatchStatistics(const EpilogueSpec& epilogue) {
  for (const Op& op : epilogue.ops) {
    if (std::holds_alternative<BatchNorm>(op.value)) return true;
  }
  return false;
}

bool UsesInput(const EpilogueSpec& epilogue) { return UsesInput(epilogue.ops); }

}  // namespace mlpserve
