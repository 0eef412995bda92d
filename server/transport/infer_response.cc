#include "server/transport/infer_response.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "grpc/slice.h"
#include "grpcpp/support/slice.h"
#include "server/transport/wire_reader.h"

namespace mlpserve {
namespace {

// A message's small fields before they are written, in memory of the stack unless the client's id
// or a name is long.
class Fields {
 public:
  Fields() = default;
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  void AddVarint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }
  void AddLength(uint32_t field, uint64_t bytes) {
    AddVarint(WireTag(field, WireType::kLengthDelimited));
    AddVarint(bytes);
  }
  // proto3 leaves out what is empty.
  void AddString(uint32_t field, std::string_view text) {
    if (text.empty()) return;
    AddLength(field, text.size());
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  std::string_view text() const { return {bytes_.data(), bytes_.size()}; }

 private:
  absl::InlinedVector<char, 256> bytes_;
};

// An entry of map<string, InferParameter>.
void AddEntry(uint32_t map, std::string_view key, const Fields& value, Fields& message) {
  Fields entry;
  entry.AddString(1, key);
  entry.AddString(2, value.text());
  message.AddString(map, entry.text());
}

// Of the type that `field` says, and not a string.
void AddParameter(uint32_t map, std::string_view key, uint32_t field, uint64_t number,
                  Fields& message) {
  Fields value;
  value.AddVarint(WireTag(field, WireType::kVarint));
  value.AddVarint(number);
  AddEntry(map, key, value, message);
}

void AddStringParameter(uint32_t map, std::string_view key, std::string_view text,
                        Fields& message) {
  Fields value;
  value.AddString(3, text);
  AddEntry(map, key, value, message);
}

constexpr uint32_t kBoolParam = 1;
constexpr uint32_t kInt64Param = 2;

// The parameters that say where the rows are.
void AddShared(const SharedTensor& shared, Fields& tensor) {
  constexpr uint32_t kParameters = 4;
  AddStringParameter(kParameters, "shared_memory_region", shared.region, tensor);
  AddParameter(kParameters, "shared_memory_byte_size", kInt64Param, shared.bytes, tensor);
  if (shared.offset == 0) return;
  AddParameter(kParameters, "shared_memory_offset", kInt64Param, shared.offset, tensor);
}

// message InferOutputTensor
void AddOutputTensor(const InferResponseFields& fields, Fields& tensor) {
  Fields shape;
  shape.AddVarint(static_cast<uint64_t>(fields.rows));
  shape.AddVarint(static_cast<uint64_t>(fields.output.features));
  tensor.AddString(1, fields.output.name);
  tensor.AddString(2, Name(fields.output.datatype));
  tensor.AddString(3, shape.text());
  if (fields.shared.is_shared()) AddShared(fields.shared, tensor);
}

// The ModelInferResponse up to the rows, with the tag and length that introduce them: they come
// last.
void AddHeader(const InferResponseFields& fields, uint64_t rows_bytes, Fields& header) {
  char version[24];
  const auto end = std::to_chars(std::begin(version), std::end(version), fields.model_version).ptr;
  header.AddString(1, fields.model_name);
  header.AddString(2, {version, static_cast<size_t>(end - version)});
  header.AddString(3, fields.id);
  if (fields.form == InferResponseForm::kStreamFinal) {
    AddParameter(4, "triton_final_response", kBoolParam, 1, header);
  }
  Fields tensor;
  AddOutputTensor(fields, tensor);
  header.AddString(5, tensor.text());
  header.AddLength(6, rows_bytes);
}

grpc::Slice CopiedSlice(std::string_view stream_header, std::string_view header,
                        std::span<OutputRows> outputs, size_t rows_bytes) {
  grpc_slice slice = grpc_slice_malloc(stream_header.size() + header.size() + rows_bytes);
  uint8_t* to = GRPC_SLICE_START_PTR(slice);
  to = std::copy(stream_header.begin(), stream_header.end(), to);
  to = std::copy(header.begin(), header.end(), to);
  for (const OutputRows& output : outputs) {
    std::memcpy(to, output.bytes.data(), output.bytes.size());
    to += output.bytes.size();
  }
  return {slice, grpc::Slice::STEAL_REF};
}

grpc::Slice LeasedSlice(OutputRows& output) {
  const OutputLease::Parts lease = std::move(output.lease).Take();
  // gRPC only reads the bytes, though its type does not say so.
  return {const_cast<std::byte*>(output.bytes.data()), output.bytes.size(), lease.release,
          lease.lent};
}

}  // namespace

grpc::ByteBuffer BuildInferResponse(const InferResponseFields& fields,
                                    std::span<OutputRows> outputs) {
  size_t rows_bytes = 0;
  for (const OutputRows& output : outputs) rows_bytes += output.bytes.size();
  Fields header;
  AddHeader(fields, rows_bytes, header);
  Fields stream_header;
  if (fields.form != InferResponseForm::kUnary) {
    stream_header.AddLength(2, header.text().size() + rows_bytes);
  }
  const bool copied = rows_bytes <= kCopiedRowsBytes;
  absl::InlinedVector<grpc::Slice, 4> slices;
  slices.push_back(CopiedSlice(stream_header.text(), header.text(),
                               copied ? outputs : std::span<OutputRows>(),
                               copied ? rows_bytes : 0));
  if (!copied) {
    for (OutputRows& output : outputs) slices.push_back(LeasedSlice(output));
  }
  return {slices.data(), slices.size()};
}

}  // namespace mlpserve
