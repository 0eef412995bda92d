#include "server/transport/infer_message.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"

namespace mlpserve {
namespace {

constexpr uint32_t Varint(uint32_t field) { return WireTag(field, WireType::kVarint); }
constexpr uint32_t Fixed32(uint32_t field) { return WireTag(field, WireType::kFixed32); }
constexpr uint32_t Fixed64(uint32_t field) { return WireTag(field, WireType::kFixed64); }
constexpr uint32_t Delimited(uint32_t field) { return WireTag(field, WireType::kLengthDelimited); }

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// message InferParameter
bool ReadParameterValue(WireReader& reader, ParameterValue* value) {
  using Kind = ParameterValue::Kind;
  return reader.ReadMessage([&](uint32_t tag) {
    switch (tag) {
      case Varint(1):
        if (!reader.ReadVarint(&value->bits)) return false;
        value->bits = value->bits != 0;
        value->kind = Kind::kBool;
        return true;
      case Varint(2):
        value->kind = Kind::kInt64;
        return reader.ReadVarint(&value->bits);
      case Delimited(3):
        value->kind = Kind::kString;
        return reader.ReadString(&value->text);
      case Fixed64(4):
        value->kind = Kind::kDouble;
        return reader.ReadFixed64(&value->bits);
      case Varint(5):
        value->kind = Kind::kUint64;
        return reader.ReadVarint(&value->bits);
      default:
        return reader.Skip(tag);
    }
  });
}

// An entry of map<string, InferParameter>.
bool ReadParameter(WireReader& reader, std::string_view* key, ParameterValue* value) {
  value->kind = ParameterValue::Kind::kUnset;
  return reader.ReadMessage([&](uint32_t tag) {
    switch (tag) {
      case Delimited(1):
        return reader.ReadString(key);
      case Delimited(2):
        return ReadParameterValue(reader, value);
      default:
        return reader.Skip(tag);
    }
  });
}

bool ReadTensorParameter(WireReader& reader, InferTensor* tensor) {
  std::string_view key;
  ParameterValue value;
  if (!ReadParameter(reader, &key, &value)) return false;
  if (key == "shared_memory_region") {
    tensor->shared_memory.region = value;
  } else if (key == "shared_memory_byte_size") {
    tensor->shared_memory.byte_size = value;
  } else if (key == "shared_memory_offset") {
    tensor->shared_memory.offset = value;
  } else if (key == "classification") {
    tensor->refused_parameter = key;
  }
  return true;
}

bool ReadRequestParameter(WireReader& reader, InferMessage* message) {
  std::string_view key;
  ParameterValue value;
  if (!ReadParameter(reader, &key, &value)) return false;
  if (key == "timeout") {
    message->timeout = value;
  } else if (key == "priority") {
    message->priority = value;
  } else if (key == "triton_enable_empty_final_response") {
    // Triton's C++ client sends it with every request; only on a stream it means something.
    message->wants_final_response = value.kind == ParameterValue::Kind::kBool && value.bits != 0;
  } else if (StartsWith(key, "triton_") || key == "sequence_id" || key == "sequence_start" ||
             key == "sequence_end") {
    message->refused_parameter = key;
  }
  return true;
}

void AppendFloat(uint32_t bits, std::vector<std::byte>* to) {
  for (int shift = 0; shift < 32; shift += 8) to->push_back(static_cast<std::byte>(bits >> shift));
}

bool ReadPackedFloats(WireReader& reader, std::vector<std::byte>* to) {
  return reader.ReadPacked([&] {
    uint32_t bits;
    if (!reader.ReadFixed32(&bits)) return false;
    AppendFloat(bits, to);
    return true;
  });
}

// The integer fields of InferTensorContents: read only to know that they are well-formed.
bool SkipPackedVarints(WireReader& reader, bool* any) {
  return reader.ReadPacked([&] {
    uint64_t value;
    *any = true;
    return reader.ReadVarint(&value);
  });
}

bool SkipPackedDoubles(WireReader& reader, bool* any) {
  return reader.ReadPacked([&] {
    uint64_t value;
    *any = true;
    return reader.ReadFixed64(&value);
  });
}

// message InferTensorContents
bool ReadContents(WireReader& reader, InferTensor* tensor) {
  static constexpr std::string_view kFields[] = {"",
                                                 "bool_contents",
                                                 "int_contents",
                                                 "int64_contents",
                                                 "uint_contents",
                                                 "uint64_contents",
                                                 "fp32_contents",
                                                 "fp64_contents",
                                                 "bytes_contents"};
  tensor->has_contents = true;
  return reader.ReadMessage([&](uint32_t tag) {
    uint32_t bits;
    bool any = false;
    bool ok = false;
    switch (tag) {
      case Fixed32(6):
        if (!reader.ReadFixed32(&bits)) return false;
        AppendFloat(bits, &tensor->fp32_contents);
        return true;
      case Delimited(6):
        return ReadPackedFloats(reader, &tensor->fp32_contents);
      case Delimited(1):
      case Delimited(2):
      case Delimited(3):
      case Delimited(4):
      case Delimited(5):
        ok = SkipPackedVarints(reader, &any);
        break;
      case Delimited(7):
        ok = SkipPackedDoubles(reader, &any);
        break;
      case Varint(1):
      case Varint(2):
      case Varint(3):
      case Varint(4):
      case Varint(5):
      case Fixed64(7):
      case Delimited(8):
        ok = reader.Skip(tag);
        any = true;
        break;
      default:
        return reader.Skip(tag);
    }
    if (any) tensor->other_contents = kFields[tag >> 3];
    return ok;
  });
}

bool ReadDimension(WireReader& reader, InferTensor* tensor) {
  uint64_t value;
  if (!reader.ReadVarint(&value)) return false;
  if (tensor->rank < InferTensor::kKeptDims) {
    tensor->shape[tensor->rank] = static_cast<int64_t>(value);
  }
  ++tensor->rank;
  return true;
}

// message InferInputTensor
bool ReadInput(WireReader& reader, InferTensor* tensor) {
  return reader.ReadMessage([&](uint32_t tag) {
    switch (tag) {
      case Delimited(1):
        return reader.ReadString(&tensor->name);
      case Delimited(2):
        return reader.ReadString(&tensor->datatype);
      case Varint(3):
        return ReadDimension(reader, tensor);
      case Delimited(3):
        return reader.ReadPacked([&] { return ReadDimension(reader, tensor); });
      case Delimited(4):
        return ReadTensorParameter(reader, tensor);
      case Delimited(5):
        return ReadContents(reader, tensor);
      default:
        return reader.Skip(tag);
    }
  });
}

// message InferRequestedOutputTensor
bool ReadOutput(WireReader& reader, InferTensor* tensor) {
  return reader.ReadMessage([&](uint32_t tag) {
    switch (tag) {
      case Delimited(1):
        return reader.ReadString(&tensor->name);
      case Delimited(2):
        return ReadTensorParameter(reader, tensor);
      default:
        return reader.Skip(tag);
    }
  });
}

// Reads an entry of a repeated message field into `first` if it is the first one.
template <typename Read>
bool ReadEntry(WireReader& reader, Read read, uint64_t* entries, InferTensor* first) {
  if ((*entries)++ == 0) return read(reader, first);
  InferTensor other;
  return read(reader, &other);
}

bool ReadRawInput(WireReader& reader, InferMessage* message) {
  if (message->raw_inputs++ > 0) return reader.Skip(Delimited(7));
  return reader.ReadBytes(&message->raw_input, &message->raw_input_bytes);
}

bool ReadRequest(WireReader& reader, InferMessage* message) {
  return reader.ReadTopLevel([&](uint32_t tag) {
    switch (tag) {
      case Delimited(1):
        return reader.ReadString(&message->model_name);
      case Delimited(2):
        return reader.ReadString(&message->model_version);
      case Delimited(3):
        return reader.ReadString(&message->id);
      case Delimited(4):
        return ReadRequestParameter(reader, message);
      case Delimited(5):
        return ReadEntry(reader, ReadInput, &message->inputs, &message->input);
      case Delimited(6):
        return ReadEntry(reader, ReadOutput, &message->outputs, &message->output);
      case Delimited(7):
        return ReadRawInput(reader, message);
      default:
        return reader.Skip(tag);
    }
  });
}

// The messages within a ModelInferRequest, as far as an error names its field.
enum class Part : uint8_t {
  kRequest,
  kParameter,  // an entry of a map
  kValue,
  kInput,
  kOutput,
  kContents,
  kUnknown,
};

struct FieldName {
  Part part;
  uint32_t number;
  const char* name;
  Part holds = Part::kUnknown;  // its type, if that is a message
};

constexpr FieldName kFieldNames[] = {
    {Part::kRequest, 1, "model_name"},
    {Part::kRequest, 2, "model_version"},
    {Part::kRequest, 3, "id"},
    {Part::kRequest, 4, "parameters", Part::kParameter},
    {Part::kRequest, 5, "inputs", Part::kInput},
    {Part::kRequest, 6, "outputs", Part::kOutput},
    {Part::kRequest, 7, "raw_input_contents"},
    {Part::kParameter, 1, "key"},
    {Part::kParameter, 2, "value", Part::kValue},
    {Part::kValue, 1, "bool_param"},
    {Part::kValue, 2, "int64_param"},
    {Part::kValue, 3, "string_param"},
    {Part::kValue, 4, "double_param"},
    {Part::kValue, 5, "uint64_param"},
    {Part::kInput, 1, "name"},
    {Part::kInput, 2, "datatype"},
    {Part::kInput, 3, "shape"},
    {Part::kInput, 4, "parameters", Part::kParameter},
    {Part::kInput, 5, "contents", Part::kContents},
    {Part::kOutput, 1, "name"},
    {Part::kOutput, 2, "parameters", Part::kParameter},
    {Part::kContents, 1, "bool_contents"},
    {Part::kContents, 2, "int_contents"},
    {Part::kContents, 3, "int64_contents"},
    {Part::kContents, 4, "uint_contents"},
    {Part::kContents, 5, "uint64_contents"},
    {Part::kContents, 6, "fp32_contents"},
    {Part::kContents, 7, "fp64_contents"},
    {Part::kContents, 8, "bytes_contents"},
};

// "inputs.name"; "field 9" where the protocol has no such field; "" where none was begun.
std::string FieldPath(std::span<const uint32_t> numbers) {
  std::string path;
  Part part = Part::kRequest;
  for (const uint32_t number : numbers) {
    if (number == 0) break;
    const auto* const found = std::find_if(
        std::begin(kFieldNames), std::end(kFieldNames),
        [&](const FieldName& field) { return field.part == part && field.number == number; });
    const bool known = found != std::end(kFieldNames);
    absl::StrAppend(&path, path.empty() ? "" : ".");
    if (!known) return absl::StrCat(path, "field ", number);
    path += found->name;
    part = found->holds;
  }
  return path;
}

}  // namespace

std::string_view Name(ParameterValue::Kind kind) {
  switch (kind) {
    case ParameterValue::Kind::kAbsent:
      return "absent";
    case ParameterValue::Kind::kUnset:
      return "no value";
    case ParameterValue::Kind::kBool:
      return "bool";
    case ParameterValue::Kind::kInt64:
      return "int64";
    case ParameterValue::Kind::kString:
      return "string";
    case ParameterValue::Kind::kDouble:
      return "double";
    case ParameterValue::Kind::kUint64:
      return "uint64";
  }
  return "unknown";
}

void InferTensor::Clear() {
  name = datatype = other_contents = refused_parameter = {};
  shared_memory = {};
  rank = 0;
  has_contents = false;
  fp32_contents.clear();
}

void InferMessage::Clear() {
  model_name = model_version = id = refused_parameter = {};
  timeout = priority = {};
  wants_final_response = false;
  inputs = outputs = raw_inputs = raw_input_bytes = 0;
  input.Clear();
  typed_input = {};
  output.Clear();
  raw_input.clear();
  joined.clear();
}

absl::Status ParseInferMessage(std::span<const Bytes> pieces, InferMessage* message) {
  message->Clear();
  WireReader reader(pieces, message->joined);
  if (ReadRequest(reader, message)) {
    message->typed_input = message->input.fp32_contents;
    return absl::OkStatus();
  }
  return reader.Malformed("ModelInferRequest", FieldPath(reader.error_fields()));
}

}  // namespace mlpserve
