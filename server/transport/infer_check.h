// Whether a ModelInferRequest suits the block that it names, and what it then asks for.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "server/model/block_config.h"
#include "server/transport/infer_message.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

struct InferTerms {
  int64_t rows = 0;
  // rows * the block's bytes per input row; views into the message; empty with a shared_input.
  std::span<const Bytes> input;
  SharedTensor shared_input;   // as many bytes
  SharedTensor shared_output;  // rows * the block's bytes per output row, or more
  int priority = 0;            // as in InferRequest
  Duration queue_timeout = Duration::zero();
};

// Checks everything but the block's name and version. Errors are INVALID_ARGUMENT and name the
// block, the tensor or parameter, what was expected and what was found.
absl::StatusOr<InferTerms> CheckInfer(const InferMessage& message, const BlockConfig& block);

}  // namespace mlpserve
