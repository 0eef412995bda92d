// The one place where an absl::Status becomes a gRPC status.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace mlpserve {

// Codes are the same in both; a message that is too long for a trailer is cut.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace mlpserve
