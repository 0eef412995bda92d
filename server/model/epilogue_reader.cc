#include "server/model/epilogue_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "proto/mlp_model.pb.h"
#include "server/text/strict_json.h"

namespace mlpserve {
namespace {

using google::protobuf::FieldDescriptor;
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
  Op ReadFunction(const FieldDescriptor& op, const google::protobuf::Message& message,
                  const std::string& path);
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

// Whether `op`, a field of EpilogueOp, is one of the functions of kernels/spec/functions.h.
bool IsFunction(const FieldDescriptor& op) {
  return std::ranges::any_of(kFunctions,
                             [&](const FunctionInfo& info) { return info.op == op.name(); });
}

// "NONE or TANH"
std::string NamesOf(const google::protobuf::EnumDescriptor& values) {
  std::vector<std::string> names;
  for (int i = 0; i < values.value_count(); ++i) names.push_back(values.value(i)->name());
  return absl::StrJoin(names, " or ");
}

Op Reader::ReadOp(const schema::EpilogueOp& op, const std::string& path, bool top_level) {
  const FieldDescriptor* const field =
      schema::EpilogueOp::descriptor()->FindFieldByNumber(op.op_case());
  if (field != nullptr && IsFunction(*field)) {
    return ReadFunction(*field, op.GetReflection()->GetMessage(op, field),
                        absl::StrCat(path, ".", field->name()));
  }
  switch (op.op_case()) {
    case schema::EpilogueOp::kScale:
      return {MultiplyAdd{.scale = ReadOperand(op.scale(), absl::StrCat(path, ".scale"))}};
    case schema::EpilogueOp::kAdd:
      return {MultiplyAdd{.shift = ReadOperand(op.add(), absl::StrCat(path, ".add"))}};
    case schema::EpilogueOp::kHardtanh:
      return ReadHardtanh(op.hardtanh(), absl::StrCat(path, ".hardtanh"));
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

// A function's message has a field for its parameter, or one that says which variant is meant, or
// none.
Op Reader::ReadFunction(const FieldDescriptor& op, const google::protobuf::Message& message,
                        const std::string& path) {
  const google::protobuf::Descriptor& fields = *message.GetDescriptor();
  const google::protobuf::Reflection& values = *message.GetReflection();
  std::string variant;
  if (fields.field_count() > 0 && fields.field(0)->enum_type() != nullptr) {
    const FieldDescriptor* const field = fields.field(0);
    const int number = values.GetEnumValue(message, field);
    const auto* const value = field->enum_type()->FindValueByNumber(number);
    if (value == nullptr) {
      Fail(absl::StrCat(path, ".", field->name()), NamesOf(*field->enum_type()),
           absl::StrCat(number));
      return {};
    }
    variant = value->name();
  }
  for (const FunctionInfo& info : kFunctions) {
    if (info.op != op.name() || info.variant != variant) continue;
    Pointwise pointwise{.function = info.function, .parameter = info.default_parameter};
    if (!info.takes_parameter()) return {pointwise};
    const FieldDescriptor* const field = fields.FindFieldByName(std::string(info.parameter));
    if (values.HasField(message, field)) pointwise.parameter = values.GetDouble(message, field);
    pointwise.parameter = Constant(pointwise.parameter, absl::StrCat(path, ".", field->name()));
    return {pointwise};
  }
  Fail(path, "a function that is known", variant);
  return {};
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
