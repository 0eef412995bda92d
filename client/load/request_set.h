// What to send: requests that are serialised once, before the clock runs, and sent again and again.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/signature.h"
#include "client/tensor/tensor_file.h"

namespace mlpserve::load {

struct RequestOptions {
  std::string model;
  std::string version;  // empty: the server's choice
  std::vector<InputSpec> inputs;
  // File by input; an input without one is random. All files hold the same number of rows.
  std::map<std::string, client::TensorPath> files;
  uint64_t seed = 1;
  int64_t priority = 0;                        // 0: the model's default
  std::chrono::microseconds queue_timeout{0};  // 0: the model's default
};

// Requests of the same number of rows. Sending one copies nothing: gRPC counts references.
class RequestSet {
 public:
  // Random rows: as many different requests as fit into 64 MiB, 1 to 64. Files: as many as it takes
  // to go through their rows, which start again where the last request is not full.
  // INVALID_ARGUMENT: as ReadRows; more than one row for an input that has no dimension for rows;
  // files of unequal length, or for an input that there is not; more than 2 GiB in all.
  static absl::StatusOr<RequestSet> Make(const RequestOptions& options, int64_t rows);

  size_t size() const { return messages_.size(); }
  int64_t rows() const { return rows_; }                    // of each request
  int64_t message_bytes() const { return message_bytes_; }  // of each request, on average
  const grpc::ByteBuffer& message(size_t index) const { return messages_[index]; }
  // The first of the files' rows that this request holds.
  int64_t first_row(size_t index) const { return static_cast<int64_t>(index) * rows_; }
  int64_t file_rows() const { return file_rows_; }  // 0: all is random

 private:
  std::vector<grpc::ByteBuffer> messages_;
  int64_t rows_ = 0;
  int64_t message_bytes_ = 0;
  int64_t file_rows_ = 0;
};

}  // namespace mlpserve::load
