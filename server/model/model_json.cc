#include "server/model/model_json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/status/status_macros.h"
#include "proto/mlp_model.pb.h"
#include "server/model/epilogue_reader.h"
#include "server/text/strict_json.h"

namespace mlpserve {
namespace {

constexpr int64_t kDefaultQueuedBytesLimit = int64_t{1} << 30;

absl::Status Error(const std::string& path, const std::string& expected, const std::string& found) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": expected ", expected, ", found ", found));
}

// Protobuf's message about an unknown word names the enumeration's type, but not its words. These
// are they, or nothing if the message is about something else.
std::string ExpectedWords(const std::string& message) {
  constexpr char kPrefix[] = "type.googleapis.com/";
  const size_t at = message.rfind(kPrefix);
  if (at == std::string::npos) return "";
  const auto* type = google::protobuf::DescriptorPool::generated_pool()->FindEnumTypeByName(
      message.substr(at + sizeof(kPrefix) - 1));
  if (type == nullptr) return "";
  std::string words = ", expected";
  for (int i = 0; i < type->value_count(); ++i) {
    absl::StrAppend(&words, i > 0 ? ", " : " ", type->value(i)->name());
  }
  return words;
}

// The message type that "layers[0].epilogue[1]" leads to, and that all of it lies in.
const google::protobuf::Descriptor* TypeAt(const std::string& path) {
  const google::protobuf::Descriptor* type = schema::MlpModel::descriptor();
  for (const absl::string_view part : absl::StrSplit(path, '.', absl::SkipEmpty())) {
    const std::string name(part.substr(0, part.find('[')));
    const auto* field = type->FindFieldByName(name);
    if (field == nullptr) field = type->FindFieldByCamelcaseName(name);
    if (field == nullptr || field->message_type() == nullptr) return nullptr;
    type = field->message_type();
  }
  return type;
}

// Protobuf's message about an unknown field, "(path) name: Cannot find field.", does not say which
// fields there are. The same with them; empty if the message is about something else.
std::string UnknownField(const std::string& message) {
  static const std::string kEnd = ": Cannot find field.";
  if (!absl::EndsWith(message, kEnd)) return "";
  std::string path, name = message.substr(0, message.size() - kEnd.size());
  if (absl::StartsWith(name, "(")) {
    const size_t close = name.find(") ");
    if (close == std::string::npos) return "";
    path = name.substr(1, close - 1);
    name = name.substr(close + 2);
  }
  const auto* type = TypeAt(path);
  if (type == nullptr) return "";
  std::vector<std::string> known;
  for (int i = 0; i < type->field_count(); ++i) known.push_back(type->field(i)->name());
  const bool is_op = type == schema::EpilogueOp::descriptor();
  if (known.empty()) known.emplace_back("no field");
  return absl::StrCat(path.empty() ? "" : path + ": ", "expected ", is_op ? "an op of " : "",
                      absl::StrJoin(known, ", "), ", found ", Quoted(name));
}

absl::StatusOr<schema::MlpModel> ParseMessage(std::string_view json) {
  // Protobuf's parser takes single quotes and trailing commas, keeps the last of two values of one
  // key, and drops a null from a list: all of them mistakes that must not pass.
  MLPSERVE_RETURN_IF_ERROR(
      ParseStrictJson(json, [](const JsonEvent&) { return absl::OkStatus(); }));
  schema::MlpModel model;
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &model);
  if (status.ok()) return model;
  const std::string message(status.message().data(), status.message().size());
  const std::string unknown = UnknownField(message);
  if (!unknown.empty()) return absl::InvalidArgumentError(unknown);
  return absl::InvalidArgumentError(absl::StrCat(message, ExpectedWords(message)));
}

absl::Status ReadTensor(const schema::Tensor& source, const std::string& path,
                        TensorConfig& tensor) {
  tensor.name = source.name();
  tensor.features = source.features();
  switch (source.datatype()) {
    case schema::Tensor::FP32:
      tensor.datatype = DataType::kFp32;
      return absl::OkStatus();
    case schema::Tensor::FP16:
      tensor.datatype = DataType::kFp16;
      return absl::OkStatus();
    case schema::Tensor::BF16:
      tensor.datatype = DataType::kBf16;
      return absl::OkStatus();
    default:
      return Error(absl::StrCat(path, ".datatype"), "FP32, FP16 or BF16",
                   absl::StrCat(static_cast<int>(source.datatype())));
  }
}

absl::Status ReadCompute(schema::MlpModel::Compute source, ComputeType& compute) {
  switch (source) {
    case schema::MlpModel::FP32:
      compute = ComputeType::kFp32;
      return absl::OkStatus();
    case schema::MlpModel::TF32:
      compute = ComputeType::kTf32;
      return absl::OkStatus();
    case schema::MlpModel::FP16:
      compute = ComputeType::kFp16;
      return absl::OkStatus();
    case schema::MlpModel::BF16:
      compute = ComputeType::kBf16;
      return absl::OkStatus();
    default:
      return Error("compute", "FP32, TF32, FP16 or BF16", absl::StrCat(static_cast<int>(source)));
  }
}

absl::Status ReadLayers(const schema::MlpModel& model, std::vector<LayerConfig>& layers) {
  for (int i = 0; i < model.layers_size(); ++i) {
    const schema::Layer& source = model.layers(i);
    LayerConfig layer{.name = source.name(), .weight = source.weight(), .bias = source.bias()};
    MLPSERVE_RETURN_IF_ERROR(ReadEpilogue(source, absl::StrCat("layers[", i, "]"), layer));
    layers.push_back(std::move(layer));
  }
  return absl::OkStatus();
}

// A value that does not fit becomes one that Validate refuses.
int Narrow(int64_t value) {
  return static_cast<int>(std::clamp<int64_t>(value, -1, std::numeric_limits<int>::max()));
}

void ReadBatching(const schema::Batching& source, int64_t row_bytes, BatchingOptions& batching) {
  if (source.has_max_rows()) batching.max_rows = source.max_rows();
  batching.max_queue_delay = std::chrono::microseconds(source.max_queue_delay_us());
  if (source.has_max_queued_rows()) batching.max_queued_rows = source.max_queued_rows();
  if (source.has_max_queued_bytes()) {
    batching.max_queued_bytes = source.max_queued_bytes();
  } else if (row_bytes > 0) {
    const int64_t rows = std::clamp<int64_t>(kDefaultQueuedBytesLimit / row_bytes, 1,
                                             std::max<int64_t>(batching.max_queued_rows, 1));
    batching.max_queued_bytes = rows * row_bytes;
  }
  batching.queue_timeout = std::chrono::microseconds(source.queue_timeout_us());
  batching.max_batch_time = std::chrono::microseconds(source.max_batch_us());
  if (source.has_max_queued_us()) {
    batching.max_queued_time = std::chrono::microseconds(source.max_queued_us());
  }
  batching.priority_levels = Narrow(source.priority_levels());
  batching.default_priority =
      source.default_priority() == 0 ? batching.priority_levels : Narrow(source.default_priority());
  batching.batch_invariant = source.batch_invariant();
  batching.buckets.assign(source.buckets().begin(), source.buckets().end());
  // A batch of max_rows rows needs a bucket too. One that is out of order stays for Validate.
  if (!batching.buckets.empty() && batching.buckets.back() < batching.max_rows) {
    batching.buckets.push_back(batching.max_rows);
  }
}

absl::Status ReadVersionPolicy(const schema::VersionPolicy& source, VersionPolicy& policy) {
  const int set = source.has_latest() + source.all() + (source.listed_size() > 0);
  if (set > 1) {
    return Error("version_policy", "one of latest, all and listed", absl::StrCat(set));
  }
  if (source.has_latest()) policy.latest = source.latest();
  if (source.all()) policy.kind = VersionPolicy::Kind::kAll;
  if (source.listed_size() > 0) {
    policy.kind = VersionPolicy::Kind::kListed;
    policy.listed.assign(source.listed().begin(), source.listed().end());
    std::sort(policy.listed.begin(), policy.listed.end());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BlockConfig> ParseModelJson(std::string_view json, const std::string& name) {
  MLPSERVE_ASSIGN_OR_RETURN(schema::MlpModel model, ParseMessage(json));
  if (!model.name().empty() && model.name() != name) {
    return Error("name", absl::StrCat("that of the folder, ", Quoted(name)), Quoted(model.name()));
  }
  BlockConfig config;
  config.name = name;
  MLPSERVE_RETURN_IF_ERROR(ReadTensor(model.input(), "input", config.input));
  MLPSERVE_RETURN_IF_ERROR(ReadTensor(model.output(), "output", config.output));
  MLPSERVE_RETURN_IF_ERROR(ReadCompute(model.compute(), config.compute));
  MLPSERVE_RETURN_IF_ERROR(ReadLayers(model, config.layers));
  MLPSERVE_RETURN_IF_ERROR(ReadVersionPolicy(model.version_policy(), config.version_policy));
  const bool sized = config.input.features > 0 && config.input.features < (int64_t{1} << 32);
  ReadBatching(model.batching(), sized ? config.input.row_bytes() : 0, config.batching);
  config.batching.one_request_per_batch = UsesBatchStatistics(config);
  MLPSERVE_RETURN_IF_ERROR(Validate(config));
  return config;
}

}  // namespace mlpserve
