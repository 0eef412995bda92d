// What to send: requests that are serialised once, before the clock runs, and sent again and again.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/load/shared_rows.h"
#include "client/load/signature.h"
#include "client/tensor/tensor_file.h"
#include "proto/open_inference.pb.h"

namespace mlpserve::load {

struct RequestOptions {
  std::string model;
  std::string version;  // empty: the server's choice
  std::vector<InputSpec> inputs;
  // File by input; an input without one is random. All files hold the same number of rows.
  std::map<std::string, client::TensorPath> files;
  // Not empty: the rows lie in shared memory, and these outputs are put there.
  std::vector<InputSpec> shared_outputs;
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
  // files of unequal length, or for an input that there is not; more than 2 GiB in all, outputs in
  // shared memory included. Also as SharedRows::Create.
  static absl::StatusOr<RequestSet> Make(const RequestOptions& options, int64_t rows);

  size_t size() const { return messages_.size(); }
  int64_t rows() const { return rows_; }                    // of each request
  int64_t message_bytes() const { return message_bytes_; }  // of each request, on average
  const grpc::ByteBuffer& message(size_t index) const { return messages_[index]; }
  // The first of the files' rows that this request holds.
  int64_t first_row(size_t index) const { return static_cast<int64_t>(index) * rows_; }
  int64_t file_rows() const { return file_rows_; }  // 0: all is random

  // What the server must register before the first request is sent; null: nothing.
  const SharedRows* shared() const { return shared_.get(); }
  // Puts the outputs that lie in shared memory into the answer to this request. The same request in
  // flight twice has one place for its outputs, which are the same.
  absl::Status TakeOutputs(size_t index, inference::ModelInferResponse& answer) const;

 private:
  // A tensor in the part of the shared memory that is a request's.
  struct Place {
    std::string name;
    int64_t offset = 0;
    int64_t bytes = 0;
  };

  absl::Status MakeShared(const RequestOptions& options, int64_t count);
  absl::Status Share(size_t index, const std::vector<std::string>& bytes,
                     inference::ModelInferRequest& message);
  int64_t PartOf(size_t index) const { return static_cast<int64_t>(index) * part_bytes_; }

  std::unique_ptr<SharedRows> shared_;
  std::vector<Place> shared_inputs_, shared_outputs_;
  int64_t part_bytes_ = 0;  // of a request
  std::vector<grpc::ByteBuffer> messages_;
  int64_t rows_ = 0;
  int64_t message_bytes_ = 0;
  int64_t file_rows_ = 0;
};

}  // namespace mlpserve::load
