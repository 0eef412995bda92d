#include "server/transport/infer_response.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "grpc/slice.h"
#include "grpcpp/support/slice.h"
#include "server/transport/wire_reader.h"

namespace mlpserve {
namespace {

void AppendVarint(uint64_t value, std::string* to) {
  for (; value >= 0x80; value >>= 7) to->push_back(static_cast<char>(value | 0x80));
  to->push_back(static_cast<char>(value));
}

void AppendLength(uint32_t field, uint64_t bytes, std::string* to) {
  AppendVarint(WireTag(field, WireType::kLengthDelimited), to);
  AppendVarint(bytes, to);
}

// proto3 leaves out what is empty.
void AppendString(uint32_t field, std::string_view text, std::string* to) {
  if (text.empty()) return;
  AppendLength(field, text.size(), to);
  to->append(text);
}

// message InferOutputTensor
std::string OutputTensor(const TensorConfig& output, int64_t rows) {
  std::string shape;
  AppendVarint(static_cast<uint64_t>(rows), &shape);
  AppendVarint(static_cast<uint64_t>(output.features), &shape);
  std::string tensor;
  AppendString(1, output.name, &tensor);
  AppendString(2, Name(output.datatype), &tensor);
  AppendString(3, shape, &tensor);
  return tensor;
}

// An entry of map<string, InferParameter>: "triton_final_response" is true.
std::string FinalParameter() {
  std::string value;
  AppendVarint(WireTag(1, WireType::kVarint), &value);
  AppendVarint(1, &value);
  std::string entry;
  AppendString(1, "triton_final_response", &entry);
  AppendString(2, value, &entry);
  return entry;
}

// The ModelInferResponse up to the rows, with the tag and length that introduce them: they come
// last.
std::string Header(const InferResponseFields& fields, uint64_t rows_bytes) {
  std::string header;
  header.reserve(128 + fields.model_name.size() + fields.id.size() + fields.output.name.size());
  AppendString(1, fields.model_name, &header);
  AppendString(2, std::to_string(fields.model_version), &header);
  AppendString(3, fields.id, &header);
  if (fields.form == InferResponseForm::kStreamFinal) AppendString(4, FinalParameter(), &header);
  AppendString(5, OutputTensor(fields.output, fields.rows), &header);
  AppendLength(6, rows_bytes, &header);
  if (fields.form == InferResponseForm::kUnary) return header;
  std::string stream_header;
  AppendLength(2, header.size() + rows_bytes, &stream_header);
  return stream_header + header;
}

grpc::Slice CopiedSlice(const std::string& header, std::span<OutputRows> outputs,
                        size_t rows_bytes) {
  grpc_slice slice = grpc_slice_malloc(header.size() + rows_bytes);
  uint8_t* to = std::copy(header.begin(), header.end(), GRPC_SLICE_START_PTR(slice));
  for (const OutputRows& output : outputs) {
    std::memcpy(to, output.bytes.data(), output.bytes.size());
    to += output.bytes.size();
  }
  return {slice, grpc::Slice::STEAL_REF};
}

grpc::Slice LeasedSlice(OutputRows& output) {
  auto* lease = new OutputLease(std::move(output.lease));
  // gRPC only reads the bytes, though its type does not say so.
  return {const_cast<std::byte*>(output.bytes.data()), output.bytes.size(),
          [](void* owned) { delete static_cast<OutputLease*>(owned); }, lease};
}

}  // namespace

grpc::ByteBuffer BuildInferResponse(const InferResponseFields& fields,
                                    std::span<OutputRows> outputs) {
  size_t rows_bytes = 0;
  for (const OutputRows& output : outputs) rows_bytes += output.bytes.size();
  const std::string header = Header(fields, rows_bytes);
  if (rows_bytes <= kCopiedRowsBytes) {
    const grpc::Slice slice = CopiedSlice(header, outputs, rows_bytes);
    return {&slice, 1};
  }
  std::vector<grpc::Slice> slices;
  slices.reserve(1 + outputs.size());
  slices.emplace_back(header);
  for (OutputRows& output : outputs) slices.push_back(LeasedSlice(output));
  return {slices.data(), slices.size()};
}

}  // namespace mlpserve
