// A ModelInferRequest (proto/open_inference.proto) as the server needs it: the small fields, and
// where the tensor's bytes lie. Equal to what the generated class reads from the same bytes.
//
// A block has one input and one output, so only the first tensor of each list is kept; of the rest
// it is enough to know that they are there. What a client can make this object hold is bounded by
// that: typed contents are the only part that grows, and never beyond the message's own size.
//
// Not here: whether the request suits its block (infer_check.h).
// Ownership: views point into the message's bytes or into this object, which must not be moved.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "server/transport/wire_reader.h"

namespace mlpserve {

struct ParameterValue {
  enum class Kind : uint8_t { kAbsent, kUnset, kBool, kInt64, kString, kDouble, kUint64 };
  Kind kind = Kind::kAbsent;
  uint64_t bits = 0;      // kInt64: two's complement; kBool: 0 or 1
  std::string_view text;  // kString
};

// "int64", as error messages name what came.
std::string_view Name(ParameterValue::Kind kind);

// The parameters of a tensor that lies in shared memory, as they came.
struct SharedMemoryParameters {
  ParameterValue region;
  ParameterValue byte_size;
  ParameterValue offset;

  bool any() const {
    using Kind = ParameterValue::Kind;
    return region.kind != Kind::kAbsent || byte_size.kind != Kind::kAbsent ||
           offset.kind != Kind::kAbsent;
  }
};

// What they say, once they are checked: where the tensor lies.
struct SharedTensor {
  std::string_view region;  // its name; empty: the tensor lies in the message
  uint64_t offset = 0;
  uint64_t bytes = 0;

  bool is_shared() const { return !region.empty(); }
};

struct InferTensor {
  static constexpr size_t kKeptDims = 8;

  std::string_view name;
  std::string_view datatype;
  std::array<int64_t, kKeptDims> shape{};
  uint64_t rank = 0;  // may exceed what is kept
  bool has_contents = false;
  std::vector<std::byte> fp32_contents;  // little-endian; copied, since elements may lie apart
  std::string_view other_contents;       // the last typed field but fp32_contents that has elements
  SharedMemoryParameters shared_memory;
  // The last parameter that asks for what is not offered, as classes instead of values.
  std::string_view refused_parameter;

  void Clear();
};

struct InferMessage {
  std::string_view model_name;
  std::string_view model_version;
  std::string_view id;

  ParameterValue timeout;
  ParameterValue priority;
  bool wants_final_response = false;  // triton_enable_empty_final_response: to be told of the last
  // The last parameter that asks for what no block does (sequences, Triton's own extensions).
  std::string_view refused_parameter;

  uint64_t inputs = 0;
  InferTensor input;  // the first
  Bytes typed_input;  // its fp32_contents
  uint64_t outputs = 0;
  InferTensor output;  // the first; only its name and parameters
  uint64_t raw_inputs = 0;
  std::vector<Bytes> raw_input;  // the first, in the pieces in which it lies
  uint64_t raw_input_bytes = 0;

  void Clear();

  std::deque<std::string> joined;  // strings that straddled two pieces
};

// Replaces what `message` holds; its memory is used again. Errors: INVALID_ARGUMENT, the bytes are
// no ModelInferRequest; the message says where and why.
absl::Status ParseInferMessage(std::span<const Bytes> pieces, InferMessage* message);

}  // namespace mlpserve
