// Protobuf messages in gRPC's byte buffers.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

namespace mlpserve::load {

// False where the bytes are no such message, or there are none.
bool ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message);

}  // namespace mlpserve::load
