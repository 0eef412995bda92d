// A client of a server that speaks the Open Inference Protocol over gRPC: mlpserve, or another.
//
// Every call takes a deadline, and none retries. All clients of a process that were made for the
// same address share one connection. Thread-safe. Bounds: a call's message, and one copy of it
// while it is sent; InferAsync puts no limit on how many calls are in flight, its caller does.
// Errors: what the server answered, as absl::Status with the same code and text; UNAVAILABLE where
// it could not be reached; DEADLINE_EXCEEDED; INTERNAL where an answer contradicts itself.
//
// remote_block.h is the shorter way to send rows of floats to one block.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "client/tensor/tensor.h"

namespace mlpserve::client {

// The instant after which a call fails with DEADLINE_EXCEEDED.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  static Deadline In(std::chrono::milliseconds time);  // time <= 0: already over
  static Deadline At(Clock::time_point at) { return Deadline(at); }

  Clock::time_point at() const { return at_; }

 private:
  explicit Deadline(Clock::time_point at) : at_(at) {}

  Clock::time_point at_;
};

struct ServerMetadata {
  std::string name;
  std::string version;
  std::vector<std::string> extensions;
};

// One version of a block in the server's repository.
struct IndexEntry {
  std::string name;
  std::string version;
  std::string state;   // READY, LOADING, UNLOADING, UNAVAILABLE or UNKNOWN
  std::string reason;  // why it is not ready
};

struct TensorMetadata {
  std::string name;
  std::string datatype;        // the protocol's name; a server may have more than ElementType knows
  std::vector<int64_t> shape;  // -1: any size; the first is the rows
};

// "x FP32 [-1,64]", for people.
std::string Describe(const std::vector<TensorMetadata>& tensors);

struct BlockMetadata {
  std::string name;
  std::string platform;
  std::vector<std::string> versions;
  std::vector<TensorMetadata> inputs;
  std::vector<TensorMetadata> outputs;
};

struct InputTensor {
  std::string_view name;
  ElementType type = ElementType::kFp32;
  std::span<const int64_t> shape;
  std::span<const std::byte> bytes;  // row-major, little-endian, as many as type and shape say
};

struct InferQuery {
  std::string model;
  std::string version;  // empty: the server's choice
  std::vector<InputTensor> inputs;
  std::string id;                              // comes back with the result
  int64_t priority = 0;                        // 1 is highest; 0: the block's default
  std::chrono::microseconds queue_timeout{0};  // 0: the block's default
};

struct OutputTensor {
  std::string name;
  Tensor tensor;
};

struct InferResult {
  std::string model;
  std::string version;
  std::string id;
  std::vector<OutputTensor> outputs;
};

class Client {
 public:
  // "host:port" or "unix:path". Connects with the first call; proxies of the environment are not
  // used.
  explicit Client(std::string address);
  // Waits for every InferAsync in flight, which its deadline bounds.
  ~Client();

  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const std::string& address() const;

  absl::StatusOr<bool> Live(Deadline deadline);
  absl::StatusOr<bool> Ready(Deadline deadline);
  absl::StatusOr<ServerMetadata> Metadata(Deadline deadline);
  // Every block and version, ready or not.
  absl::StatusOr<std::vector<IndexEntry>> List(Deadline deadline);

  absl::StatusOr<bool> BlockReady(const std::string& model, const std::string& version,
                                  Deadline deadline);
  absl::StatusOr<BlockMetadata> Describe(const std::string& model, const std::string& version,
                                         Deadline deadline);
  // The most rows that the block runs as one batch; a larger request is split there.
  absl::StatusOr<int64_t> MaxRows(const std::string& model, const std::string& version,
                                  Deadline deadline);

  // System shared memory: the server opens the POSIX object `key`, in whose first bytes requests
  // may lie from then on.
  absl::Status RegisterSharedMemory(const std::string& name, const std::string& key, int64_t bytes,
                                    Deadline deadline);
  absl::Status UnregisterSharedMemory(const std::string& name, Deadline deadline);

  absl::StatusOr<InferResult> Infer(const InferQuery& query, Deadline deadline);

  // Calls `done` exactly once, on a thread of the client, which serves every other call in flight
  // too: be short there. `query` and its bytes may go when this returns. Not to be called while the
  // client is destroyed.
  using InferDone = absl::AnyInvocable<void(absl::StatusOr<InferResult>) &&>;
  void InferAsync(const InferQuery& query, Deadline deadline, InferDone done);

 private:
  class Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace mlpserve::client
