// Messages of the protocol from and to the bytes that they travel as.
#pragma once

#include <google/protobuf/message_lite.h>

#include "absl/status/status.h"
#include "grpcpp/support/byte_buffer.h"

namespace mlpserve {

// Replaces what `message` holds. INVALID_ARGUMENT: the bytes are no such message.
absl::Status ReadMessage(grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

grpc::ByteBuffer BytesOf(const google::protobuf::MessageLite& message);

}  // namespace mlpserve
