#include "tests/server/transport/parser_comparison.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/open_inference.pb.h"

namespace mlpserve {
namespace {

using inference::ModelInferRequest;
using Kind = ParameterValue::Kind;

class Differences {
 public:
  template <typename Expected, typename Found>
  void Check(std::string_view what, const Expected& expected, const Found& found) {
    if (expected == found) return;
    absl::StrAppend(&text_, std::string(what), ": protobuf read ", Shown(expected), ", ours ",
                    Shown(found), "\n");
  }
  const std::string& text() const { return text_; }

 private:
  template <typename Value>
  static std::string Shown(const Value& value) {
    if constexpr (std::is_same_v<Value, Kind>) {
      return std::string(Name(value));
    } else if constexpr (std::is_convertible_v<Value, std::string_view>) {
      return absl::StrCat("\"", std::string(std::string_view(value)), "\"");
    } else {
      return absl::StrCat(value);
    }
  }

  std::string text_;
};

ParameterValue ValueOf(const inference::InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case inference::InferParameter::kBoolParam:
      return {.kind = Kind::kBool, .bits = parameter.bool_param() ? 1u : 0u};
    case inference::InferParameter::kInt64Param:
      return {.kind = Kind::kInt64, .bits = static_cast<uint64_t>(parameter.int64_param())};
    case inference::InferParameter::kStringParam:
      return {.kind = Kind::kString, .text = parameter.string_param()};
    case inference::InferParameter::kDoubleParam:
      return {.kind = Kind::kDouble};
    case inference::InferParameter::kUint64Param:
      return {.kind = Kind::kUint64, .bits = parameter.uint64_param()};
    case inference::InferParameter::PARAMETER_CHOICE_NOT_SET:
      break;
  }
  return {.kind = Kind::kUnset};
}

template <typename Parameters>
void CheckParameter(const Parameters& parameters, const std::string& key,
                    const ParameterValue& found, Differences& differences) {
  const auto entry = parameters.find(key);
  const ParameterValue expected =
      entry == parameters.end() ? ParameterValue() : ValueOf(entry->second);
  differences.Check(key, expected.kind, found.kind);
  if (expected.kind == Kind::kString) differences.Check(key, expected.text, found.text);
  if (expected.kind == Kind::kBool || expected.kind == Kind::kInt64 ||
      expected.kind == Kind::kUint64) {
    differences.Check(key, expected.bits, found.bits);
  }
}

template <typename Map, typename Predicate>
bool AnyKey(const Map& map, Predicate predicate) {
  return std::any_of(map.begin(), map.end(),
                     [&](const auto& entry) { return predicate(entry.first); });
}

bool IsRefused(const std::string& key) {
  if (key == "triton_enable_empty_final_response") return false;
  return key.rfind("triton_", 0) == 0 || key == "sequence_id" || key == "sequence_start" ||
         key == "sequence_end";
}

bool IsNotOffered(const std::string& key) { return key == "classification"; }

template <typename Parameters>
void CheckSharedMemory(const Parameters& expected, const SharedMemoryParameters& found,
                       Differences& differences) {
  CheckParameter(expected, "shared_memory_region", found.region, differences);
  CheckParameter(expected, "shared_memory_byte_size", found.byte_size, differences);
  CheckParameter(expected, "shared_memory_offset", found.offset, differences);
}

bool HasOtherContents(const inference::InferTensorContents& contents) {
  return contents.bool_contents_size() + contents.int_contents_size() +
             contents.int64_contents_size() + contents.uint_contents_size() +
             contents.uint64_contents_size() + contents.fp64_contents_size() +
             contents.bytes_contents_size() >
         0;
}

void CheckInput(const ModelInferRequest::InferInputTensor& expected, const InferTensor& found,
                Differences& differences) {
  differences.Check("input's name", expected.name(), found.name);
  differences.Check("datatype", expected.datatype(), found.datatype);
  differences.Check("rank", static_cast<uint64_t>(expected.shape_size()), found.rank);
  const size_t kept =
      std::min<size_t>(static_cast<size_t>(expected.shape_size()), InferTensor::kKeptDims);
  for (size_t i = 0; i < kept; ++i) {
    differences.Check("dimension", expected.shape(static_cast<int>(i)), found.shape[i]);
  }
  differences.Check("input has a refused parameter", AnyKey(expected.parameters(), IsNotOffered),
                    !found.refused_parameter.empty());
  CheckSharedMemory(expected.parameters(), found.shared_memory, differences);
  differences.Check("contents", expected.has_contents(), found.has_contents);
  differences.Check("other contents", HasOtherContents(expected.contents()),
                    !found.other_contents.empty());
  const auto& floats = expected.contents().fp32_contents();
  const auto bytes = static_cast<size_t>(floats.size()) * sizeof(float);
  differences.Check("bytes of fp32_contents", bytes, found.fp32_contents.size());
  if (bytes != found.fp32_contents.size() || bytes == 0) return;
  // By their bits: NaN too must arrive.
  differences.Check("fp32_contents equal", true,
                    std::memcmp(floats.data(), found.fp32_contents.data(), bytes) == 0);
}

std::string Joined(std::span<const Bytes> pieces) {
  std::string joined;
  for (const Bytes& piece : pieces) {
    joined.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return joined;
}

std::string Difference(const ModelInferRequest& expected, const InferMessage& found) {
  Differences differences;
  differences.Check("model_name", expected.model_name(), found.model_name);
  differences.Check("model_version", expected.model_version(), found.model_version);
  differences.Check("id", expected.id(), found.id);
  CheckParameter(expected.parameters(), "timeout", found.timeout, differences);
  CheckParameter(expected.parameters(), "priority", found.priority, differences);
  differences.Check("a refused parameter", AnyKey(expected.parameters(), IsRefused),
                    !found.refused_parameter.empty());
  differences.Check("inputs", static_cast<uint64_t>(expected.inputs_size()), found.inputs);
  if (expected.inputs_size() > 0) CheckInput(expected.inputs(0), found.input, differences);
  differences.Check("outputs", static_cast<uint64_t>(expected.outputs_size()), found.outputs);
  if (expected.outputs_size() > 0) {
    differences.Check("output's name", expected.outputs(0).name(), found.output.name);
    differences.Check("output has a refused parameter",
                      AnyKey(expected.outputs(0).parameters(), IsNotOffered),
                      !found.output.refused_parameter.empty());
    CheckSharedMemory(expected.outputs(0).parameters(), found.output.shared_memory, differences);
  }
  differences.Check("raw inputs", static_cast<uint64_t>(expected.raw_input_contents_size()),
                    found.raw_inputs);
  if (expected.raw_input_contents_size() > 0) {
    differences.Check("raw input", expected.raw_input_contents(0), Joined(found.raw_input));
    differences.Check("raw input's bytes",
                      static_cast<uint64_t>(expected.raw_input_contents(0).size()),
                      found.raw_input_bytes);
  }
  return differences.text();
}

}  // namespace

ParserComparison CompareParsers(const std::string& bytes, std::span<const Bytes> pieces,
                                InferMessage* message) {
  const google::protobuf::LogSilencer silencer;  // about strings that are not UTF-8
  ModelInferRequest expected;
  const bool valid = expected.ParseFromString(bytes);
  const absl::Status status = ParseInferMessage(pieces, message);
  // The one exception that wire_reader.h makes.
  if (absl::StrContains(status.message(), "more than 32 bits")) return {.valid = false};
  if (status.ok() != valid) {
    return {.valid = valid,
            .difference = absl::StrCat("protobuf ", valid ? "accepts" : "rejects",
                                       " the bytes, ours says ", status.ToString())};
  }
  if (!valid) return {};
  return {.valid = true, .difference = Difference(expected, *message)};
}

}  // namespace mlpserve
