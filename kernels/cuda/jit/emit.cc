#include "kernels/cuda/jit/emit.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// Collects the statements that compute a value; each step returns the name of its result.
class Emitter {
 public:
  // Returns the name of ops(value).
  absl::StatusOr<std::string> EmitOps(const std::vector<Op>& ops, std::string value) {
    for (const Op& op : ops) {
      MLPSERVE_ASSIGN_OR_RETURN(
          value, std::visit([&](const auto& o) { return EmitOp(o, value); }, op.value));
    }
    return value;
  }

  const std::string& statements() const { return statements_; }

 private:
  using Result = absl::StatusOr<std::string>;

  // A new name for the value of `expression`.
  std::string Define(const std::string& expression) {
    std::string name = absl::StrCat("z", ++values_);
    absl::StrAppend(&statements_, "    const float ", name, " = ", expression, ";\n");
    return name;
  }

  static std::string Text(const Operand& operand) {
    return operand.is_column() ? absl::StrCat("column.c[", operand.column, "]")
                               : FloatText(operand.value);
  }

  static bool IsConstant(const Operand& operand, double value) {
    return !operand.is_column() && operand.value == value;
  }

  Result EmitOp(const MultiplyAdd& op, const std::string& z) {
    if (IsConstant(op.shift, 0)) return Define(absl::StrCat(z, " * ", Text(op.scale)));
    if (IsConstant(op.scale, 1)) return Define(absl::StrCat(z, " + ", Text(op.shift)));
    return Define(absl::StrCat("fmaf(", z, ", ", Text(op.scale), ", ", Text(op.shift), ")"));
  }

  Result EmitOp(const Clamp& op, const std::string& z) {
    std::string value = z;
    if (!std::isinf(op.min)) value = absl::StrCat("MaxNan(", value, ", ", FloatText(op.min), ")");
    if (!std::isinf(op.max)) value = absl::StrCat("MinNan(", value, ", ", FloatText(op.max), ")");
    return Define(value);
  }

  Result EmitOp(const Pointwise& op, const std::string& z) {
    const FunctionInfo& info = InfoOf(op.function);
    const std::string parameter =
        info.takes_parameter() ? absl::StrCat(", ", FloatText(op.parameter)) : "";
    return Define(absl::StrCat(std::string(info.device_text), "(", z, parameter, ")"));
  }

  Result EmitOp(const Residual& op, const std::string& z) {
    MLPSERVE_ASSIGN_OR_RETURN(const std::string inner, EmitOps(op.ops, z));
    return Define(absl::StrCat(z, " + ", inner));
  }

  Result EmitOp(const Gate& op, const std::string& z) {
    MLPSERVE_ASSIGN_OR_RETURN(const std::string inner, EmitOps(op.ops, z));
    return Define(absl::StrCat(z, " * ", inner));
  }

  Result EmitOp(const AddInput&, const std::string& z) { return Define(absl::StrCat(z, " + x")); }

  Result EmitOp(const RunningBatchNorm&, const std::string&) {
    return absl::InternalError(
        "expected a canonical epilogue, found a running batch norm that is not folded");
  }

  Result EmitOp(const BatchNorm&, const std::string&) {
    return absl::UnimplementedError(
        "expected an epilogue cut at its batch norms, found one that is not");
  }

  std::string statements_;
  int values_ = 0;
};

std::string EmitLoad(size_t columns) {
  std::string text;
  absl::StrAppend(&text, "  static __device__ __forceinline__ Column Load(const Args& args, ",
                  "int column) {\n");
  if (columns == 0) {
    absl::StrAppend(&text, "    (void)args;\n    (void)column;\n    return Column{};\n  }\n");
    return text;
  }
  absl::StrAppend(&text, "    const float* p = args.columns + column;\n    return Column{{");
  for (size_t i = 0; i < columns; ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", "p[", i, " * args.columns_stride]");
  }
  absl::StrAppend(&text, "}};\n  }\n");
  return text;
}

}  // namespace

std::string FloatText(double value) {
  const float rounded = static_cast<float>(value);
  if (std::isfinite(rounded)) return absl::StrFormat("%af", rounded);
  return absl::StrFormat("FloatFromBits(0x%08xu)", std::bit_cast<uint32_t>(rounded));
}

absl::StatusOr<std::string> EmitEpilogue(const EpilogueSpec& canonical, std::string_view name) {
  Emitter emitter;
  MLPSERVE_ASSIGN_OR_RETURN(const std::string result, emitter.EmitOps(canonical.ops, "z"));
  const size_t columns = canonical.columns.size();
  std::string text;
  absl::StrAppend(&text, "struct ", std::string(name), " {\n");
  absl::StrAppend(&text,
                  "  static constexpr bool kUsesInput = ", UsesInput(canonical) ? "true" : "false",
                  ";\n");
  absl::StrAppend(&text, "  static constexpr int kColumns = ", columns, ";\n");
  absl::StrAppend(&text, "  using Args = EpilogueArgs;\n");
  absl::StrAppend(&text, "  struct Column {\n    float c[", columns == 0 ? 1 : columns, "];\n",
                  "  };\n", EmitLoad(columns));
  absl::StrAppend(&text, "  static __device__ __forceinline__ float Apply(float z, ",
                  "const Column& column, float x) {\n    (void)column;\n    (void)x;\n",
                  emitter.statements(), "    return ", result, ";\n  }\n};\n");
  return text;
}

}  // namespace mlpserve::cuda
