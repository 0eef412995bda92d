#include "server/transport/message_bytes.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/slice.h"

namespace mlpserve {

absl::Status ReadMessage(grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  grpc::ProtoBufferReader reader(&bytes);
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  const std::string type = message->GetTypeName();
  return absl::InvalidArgumentError(
      absl::StrCat("malformed ", type.substr(type.rfind('.') + 1), ": its ", bytes.Length(),
                   " bytes are not a message's, or a string in it is not UTF-8"));
}

grpc::ByteBuffer BytesOf(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

}  // namespace mlpserve
