#include "server/transport/message_bytes.h"

#include <google/protobuf/descriptor.h>

#include <deque>
#include <span>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// Reads a message's fields as protobuf will, and keeps nothing. protobuf itself says neither which
// field is wrong nor why, but writes a line on stderr, as often as a stranger likes.
class FieldWalk {
 public:
  FieldWalk(const Descriptor& type, std::span<const Bytes> pieces)
      : type_(type), reader_(pieces, joined_) {}

  absl::Status Run() {
    const auto field = [this](uint32_t tag) { return Field(type_, tag); };
    if (reader_.ReadTopLevel(field)) return absl::OkStatus();
    return reader_.Malformed(type_.name(), Path());
  }

 private:
  // Packed numbers, which no request but ModelInfer's has, are left to protobuf.
  bool Field(const Descriptor& type, uint32_t tag) {
    const FieldDescriptor* const field = type.FindFieldByNumber(static_cast<int>(tag >> 3));
    if (field == nullptr || static_cast<WireType>(tag & 7) != WireType::kLengthDelimited) {
      return reader_.Skip(tag);
    }
    if (field->type() == FieldDescriptor::TYPE_STRING) return reader_.ReadString(&text_);
    if (field->type() != FieldDescriptor::TYPE_MESSAGE) return reader_.Skip(tag);
    const Descriptor& inner = *field->message_type();
    return reader_.ReadMessage([&](uint32_t inner_tag) { return Field(inner, inner_tag); });
  }

  // "settings.value.bool_param"; "field 9" where the type has no such field.
  std::string Path() const {
    std::string path;
    const Descriptor* type = &type_;
    for (const uint32_t number : reader_.error_fields()) {
      if (number == 0) break;
      const FieldDescriptor* const field =
          type == nullptr ? nullptr : type->FindFieldByNumber(static_cast<int>(number));
      absl::StrAppend(&path, path.empty() ? "" : ".");
      if (field == nullptr) return absl::StrCat(path, "field ", number);
      path += field->name();
      type = field->message_type();
    }
    return path;
  }

  const Descriptor& type_;
  std::deque<std::string> joined_;
  WireReader reader_;
  std::string_view text_;
};

}  // namespace

void ReadSlices(const grpc::ByteBuffer& buffer, std::vector<grpc::Slice>* slices,
                std::vector<Bytes>* pieces) {
  // Not TrySingleSlice first: where there are several, it makes two strings of its complaint.
  if (!buffer.Dump(slices).ok()) slices->clear();
  pieces->clear();
  for (const grpc::Slice& slice : *slices) {
    pieces->emplace_back(reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
  }
}

absl::Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message) {
  std::vector<grpc::Slice> slices;
  std::vector<Bytes> pieces;
  ReadSlices(bytes, &slices, &pieces);
  MLPSERVE_RETURN_IF_ERROR(FieldWalk(*message->GetDescriptor(), pieces).Run());
  grpc::ByteBuffer copy(bytes);  // of the references: the reader wants one that it may change
  grpc::ProtoBufferReader reader(&copy);
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("malformed ", message->GetDescriptor()->name(),
                                                 ": its ", bytes.Length(),
                                                 " bytes are not those of such a message"));
}

grpc::ByteBuffer BytesOf(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

std::string KindOf(const google::protobuf::Message& parameter) {
  const auto* const choice = parameter.GetDescriptor()->FindOneofByName("parameter_choice");
  const FieldDescriptor* const field =
      parameter.GetReflection()->GetOneofFieldDescriptor(parameter, choice);
  if (field == nullptr) return "no value";
  return std::string(absl::StripSuffix(field->name(), "_param"));
}

}  // namespace mlpserve
