// Messages of the protocol from and to the bytes that they travel as.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "server/transport/wire_reader.h"

namespace mlpserve {

// The buffer's slices, and where their bytes lie. `pieces` point into `slices`: a short slice holds
// its bytes itself.
void ReadSlices(const grpc::ByteBuffer& buffer, std::vector<grpc::Slice>* slices,
                std::vector<Bytes>* pieces);

// Replaces what `message` holds. INVALID_ARGUMENT: the bytes are no such message; why, and in which
// field.
absl::Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message);

grpc::ByteBuffer BytesOf(const google::protobuf::MessageLite& message);

// Which of its types the protocol's parameter or setting has, for a message: "int64", "no value".
std::string KindOf(const google::protobuf::Message& parameter);

}  // namespace mlpserve
