// Builds the bytes of a ModelInferResponse (proto/open_inference.proto).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "grpcpp/support/byte_buffer.h"
#include "server/model/block_config.h"
#include "server/transport/infer_message.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

enum class InferResponseForm : uint8_t {
  kUnary,        // a ModelInferResponse
  kStream,       // one inside a ModelStreamInferResponse
  kStreamFinal,  // the same, with the parameter that calls it the request's last, as it is
};

struct InferResponseFields {
  std::string_view model_name;
  int64_t model_version = 0;
  std::string_view id;
  const TensorConfig& output;
  int64_t rows = 0;
  InferResponseForm form = InferResponseForm::kUnary;
  SharedTensor shared;  // where the rows are; of no region: they follow
};

// Rows of up to this many bytes in all are copied into the message: below it, a copy costs less
// than the reference counting of another slice, and the buffer is free at once.
inline constexpr size_t kCopiedRowsBytes = 16 << 10;

// The message with its rows, which have the bytes that `fields` says, or with an empty entry for
// them if they are shared. Longer rows are referred to
// where they lie: their leases move into the message and are dropped, on any thread, when gRPC has
// sent them.
grpc::ByteBuffer BuildInferResponse(const InferResponseFields& fields,
                                    std::span<OutputRows> outputs);

}  // namespace mlpserve
