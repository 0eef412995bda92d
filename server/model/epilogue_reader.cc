#include "server/model/epilogue_reader.h"

#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/mlp_model.pb.h"
#include "server/text/strict_json.h"

namespace mlpserve {
namespace {

using Ops = google::protobuf::RepeatedPtrField<schema::EpilogueOp>;

// Reads one layer's ops. After the first error the rest is meaningless; status() has it.
class Reader {
 public:
  explicit Reader(LayerConfig& layer) : layer_(layer) {}

  const absl::Status& status() const { return status_; }

  std::vector<Op> ReadOps(const Ops& ops, const std::string& path, bool top_level) {
    std::vector<Op> read;
    for (int i = 0; i < ops.size() && status_.ok(); ++i) {
      read.push_back(ReadOp(ops[i], absl::StrCat(path, "[", i, "]"), top_level));
    }
    return read;
  }

 private:
  Op ReadOp(const schema::EpilogueOp& op, const std::string& path, bool top_level);
  Op ReadHardtanh(const schema::Hardtanh& op, const std::string& path);
  Op ReadGelu(const schema::Gelu& op, const std::string& path);
  Op ReadBatchNorm(const schema::BatchNorm& op, const std::string& path, bool top_level);
  std::vector<Op> ReadNested(const schema::Nested& op, const std::string& path);

  Operand ReadOperand(const schema::Operand& operand, const std::string& path) {
    switch (operand.of_case()) {
      case schema::Operand::kValue:
        return {.value = Constant(operand.value(), absl::StrCat(path, ".value"))};
      case schema::Operand::kTensor:
        return Column(operand.tensor(), absl::StrCat(path, ".tensor"));
      case schema::Operand::OF_NOT_SET:
        break;
    }
    Fail(path, "value or tensor", "neither");
    return {};
  }

  Operand Column(const std::string& tensor, const std::string& path) {
    if (tensor.empty()) Fail(path, "the name of a tensor", "none");
    for (size_t i = 0; i < layer_.columns.size(); ++i) {
      if (layer_.columns[i].tensor == tensor) return {.column = static_cast<int>(i)};
    }
    layer_.columns.push_back({.tensor = tensor, .path = path});
    return {.column = static_cast<int>(layer_.columns.size()) - 1};
  }

  // The epilogue is FP32: what that cannot hold would become infinite.
  double Constant(double value, const std::string& path) {
    constexpr double kLargest = std::numeric_limits<float>::max();
    if (!(std::abs(value) <= kLargest)) {
      Fail(path, "a finite number in the range of FP32", absl::StrCat(value));
    }
    return value;
  }

  void Fail(const std::string& path, const std::string& expected, const std::string& found) {
    if (!status_.ok()) return;
    status_ =
        absl::InvalidArgumentError(absl::StrCat(path, ": expected ", expected, ", found ", found));
  }

  LayerConfig& layer_;
  absl::Status status_;
};

// The op of a case that takes no parameter.
std::optional<Function> FunctionOf(schema::EpilogueOp::OpCase op) {
  switch (op) {
    case schema::EpilogueOp::kRelu:
      return Function::kRelu;
    case schema::EpilogueOp::kSigmoid:
      return Function::kSigmoid;
    case schema::EpilogueOp::kTanh:
      return Function::kTanh;
    case schema::EpilogueOp::kSilu:
      return Function::kSilu;
    case schema::EpilogueOp::kMish:
      return Function::kMish;
    case schema::EpilogueOp::kSoftplus:
      return Function::kSoftplus;
    case schema::EpilogueOp::kHardsigmoid:
      return Function::kHardsigmoid;
    case schema::EpilogueOp::kHardswish:
      return Function::kHardswish;
    default:
      return std::nullopt;
  }
}

Op Reader::ReadOp(const schema::EpilogueOp& op, const std::string& path, bool top_level) {
  if (const std::optional<Function> function = FunctionOf(op.op_case())) {
    return {Pointwise{.function = *function}};
  }
  switch (op.op_case()) {
    case schema::EpilogueOp::kScale:
      return {MultiplyAdd{.scale = ReadOperand(op.scale(), absl::StrCat(path, ".scale"))}};
    case schema::EpilogueOp::kAdd:
      return {MultiplyAdd{.shift = ReadOperand(op.add(), absl::StrCat(path, ".add"))}};
    case schema::EpilogueOp::kHardtanh:
      return ReadHardtanh(op.hardtanh(), absl::StrCat(path, ".hardtanh"));
    case schema::EpilogueOp::kLeakyRelu: {
      const double slope = op.leaky_relu().has_slope() ? op.leaky_relu().slope() : 0.01;
      return {Pointwise{.function = Function::kLeakyRelu,
                        .parameter = Constant(slope, absl::StrCat(path, ".leaky_relu.slope"))}};
    }
    case schema::EpilogueOp::kElu: {
      const double alpha = op.elu().has_alpha() ? op.elu().alpha() : 1.0;
      return {Pointwise{.function = Function::kElu,
                        .parameter = Constant(alpha, absl::StrCat(path, ".elu.alpha"))}};
    }
    case schema::EpilogueOp::kGelu:
      return ReadGelu(op.gelu(), absl::StrCat(path, ".gelu"));
    case schema::EpilogueOp::kResidual:
      return {Residual{ReadNested(op.residual(), absl::StrCat(path, ".residual"))}};
    case schema::EpilogueOp::kGate:
      return {Gate{ReadNested(op.gate(), absl::StrCat(path, ".gate"))}};
    case schema::EpilogueOp::kAddInput:
      return {AddInput{}};
    case schema::EpilogueOp::kBatchNorm:
      return ReadBatchNorm(op.batch_norm(), absl::StrCat(path, ".batch_norm"), top_level);
    default:
      Fail(path, "exactly one op", "none");
      return {};
  }
}

Op Reader::ReadHardtanh(const schema::Hardtanh& op, const std::string& path) {
  Clamp clamp;
  if (op.has_min()) clamp.min = Constant(op.min(), absl::StrCat(path, ".min"));
  if (op.has_max()) clamp.max = Constant(op.max(), absl::StrCat(path, ".max"));
  if (clamp.min > clamp.max) {
    Fail(path, "min <= max", absl::StrCat("min ", clamp.min, " and max ", clamp.max));
  }
  return {clamp};
}

Op Reader::ReadGelu(const schema::Gelu& op, const std::string& path) {
  switch (op.approximate()) {
    case schema::Gelu::NONE:
      return {Pointwise{.function = Function::kGeluErf}};
    case schema::Gelu::TANH:
      return {Pointwise{.function = Function::kGeluTanh}};
    default:
      Fail(absl::StrCat(path, ".approximate"), "NONE or TANH",
           absl::StrCat(static_cast<int>(op.approximate())));
      return {};
  }
}

std::vector<Op> Reader::ReadNested(const schema::Nested& op, const std::string& path) {
  if (op.ops().empty()) Fail(absl::StrCat(path, ".ops"), "at least one op", "none");
  return ReadOps(op.ops(), absl::StrCat(path, ".ops"), /*top_level=*/false);
}

Op Reader::ReadBatchNorm(const schema::BatchNorm& op, const std::string& path, bool top_level) {
  const auto column_or = [&](const std::string& tensor, const char* field, double otherwise) {
    return tensor.empty() ? Operand{.value = otherwise}
                          : Column(tensor, absl::StrCat(path, ".", field));
  };
  const Operand weight = column_or(op.weight(), "weight", 1);
  const Operand bias = column_or(op.bias(), "bias", 0);
  const double eps = Constant(op.has_eps() ? op.eps() : 1e-5, absl::StrCat(path, ".eps"));
  if (eps < 0) Fail(absl::StrCat(path, ".eps"), "a number of at least 0", absl::StrCat(eps));

  switch (op.statistics()) {
    case schema::BatchNorm::RUNNING:
      return {
          RunningBatchNorm{.weight = weight,
                           .bias = bias,
                           .mean = Column(op.running_mean(), absl::StrCat(path, ".running_mean")),
                           .variance = Column(op.running_var(), absl::StrCat(path, ".running_var")),
                           .eps = eps}};
    case schema::BatchNorm::BATCH:
      if (!top_level) {
        Fail(path, "batch statistics at the top level of an epilogue only",
             "them inside residual or gate");
      }
      if (!op.running_mean().empty() || !op.running_var().empty()) {
        Fail(path, "no running_mean and running_var with statistics BATCH, which takes its own",
             Quoted(op.running_mean().empty() ? op.running_var() : op.running_mean()));
      }
      return {BatchNorm{.weight = weight, .bias = bias, .eps = eps}};
    default:
      Fail(absl::StrCat(path, ".statistics"), "RUNNING or BATCH",
           absl::StrCat(static_cast<int>(op.statistics())));
      return {};
  }
}

}  // namespace

absl::Status ReadEpilogue(const schema::Layer& source, const std::string& path,
                          LayerConfig& layer) {
  Reader reader(layer);
  layer.epilogue.ops =
      reader.ReadOps(source.epilogue(), absl::StrCat(path, ".epilogue"), /*top_level=*/true);
  return reader.status();
}

}  // namespace mlpserve
