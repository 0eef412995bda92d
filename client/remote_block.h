// A block on a server with one float input [rows, features] and one float output, as its metadata
// describes it: rows of FP32 go in, rows of FP32 come out, whatever the wire carries.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"

namespace mlpserve::client {

// Thread-safe; copies are cheap and need the client alive.
class RemoteBlock {
 public:
  // Asks the server for the block's tensors. FAILED_PRECONDITION: not of this form, with what was
  // found; otherwise as Client::Describe. An empty version means the server's choice at each call.
  static absl::StatusOr<RemoteBlock> Open(Client& client, const std::string& name,
                                          const std::string& version, Deadline deadline);

  const std::string& name() const { return name_; }
  const std::string& input_name() const { return input_name_; }
  const std::string& output_name() const { return output_name_; }
  ElementType input_type() const { return input_type_; }
  ElementType output_type() const { return output_type_; }
  int64_t input_features() const { return input_features_; }
  int64_t output_features() const { return output_features_; }
  int64_t max_rows() const { return max_rows_; }  // in one batch; at least 1

  // `rows` is [n, input_features], n >= 1, rounded to the block's input type; the result is
  // [n, output_features]. INVALID_ARGUMENT: `rows` is not of that size.
  absl::StatusOr<std::vector<float>> Infer(std::span<const float> rows, Deadline deadline) const;

  // As Client::InferAsync: `done` runs once, on a thread of the client or within this call.
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::vector<float>>) &&>;
  void InferAsync(std::span<const float> rows, Deadline deadline, Done done) const;

 private:
  RemoteBlock() = default;

  absl::Status CheckRows(std::span<const float> rows) const;
  absl::StatusOr<std::vector<float>> OutputOf(const InferResult& result, int64_t rows) const;
  template <class Send>
  void WithQuery(std::span<const float> rows, Send send) const;

  Client* client_ = nullptr;
  std::string name_, version_, input_name_, output_name_;
  ElementType input_type_ = ElementType::kFp32;
  ElementType output_type_ = ElementType::kFp32;
  int64_t input_features_ = 0;
  int64_t output_features_ = 0;
  int64_t max_rows_ = 0;
};

}  // namespace mlpserve::client
