// Between the client's plain structs and the protocol's messages.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"

namespace inference {
class ModelInferRequest;
class ModelInferResponse;
}  // namespace inference

namespace mlpserve::client {

// INVALID_ARGUMENT: an input whose bytes are not what its type and shape say, or over 2 GiB in all,
// which is more than a message of protobuf holds.
absl::Status ToMessage(const InferQuery& query, inference::ModelInferRequest& message);

// Takes the tensors' bytes out of `message`. INTERNAL: an unknown datatype, or bytes that are not
// what datatype and shape say.
absl::StatusOr<InferResult> FromMessage(inference::ModelInferResponse& message);

}  // namespace mlpserve::client
