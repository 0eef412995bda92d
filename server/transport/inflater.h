// Messages that clients send compressed: refused, or inflated within bounds.
//
// gRPC's own filter inflates a message whole before anybody looks at its length, and 1 MB on the
// wire may become 1 GB. So the server runs without it (grpc_limits.cc), and messages come here as
// they travelled.
//
// Bounds: Options::max_message_bytes for a message, Options::most_bytes for all that were inflated
// and are still held. Both are kept while a message is being inflated, by pieces of
// kMostPieceBytes. Threads: all functions are thread-safe. A message may outlive the Inflater.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "grpcpp/support/byte_buffer.h"

namespace mlpserve {

class Inflater {
 public:
  static constexpr int64_t kMostPieceBytes = int64_t{1} << 20;

  struct Options {
    bool enabled = false;  // else a compressed message is refused
    int64_t max_message_bytes = int64_t{64} << 20;
    int64_t most_bytes = int64_t{4} << 30;
  };
  explicit Inflater(const Options& options) : options_(options) {}

  // Replaces the bytes of a compressed message, and leaves those of any other. Errors:
  // UNIMPLEMENTED, the server takes none; INVALID_ARGUMENT, they were not compressed as the call
  // says; RESOURCE_EXHAUSTED, a bound is reached.
  absl::Status Inflate(grpc::ByteBuffer& message) const;

 private:
  const Options options_;
  const std::shared_ptr<std::atomic<int64_t>> held_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace mlpserve
