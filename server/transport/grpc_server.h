// The gRPC server: the Open Inference Protocol (proto/open_inference.proto) and grpc.health.v1 over
// TCP and Unix sockets, with or without TLS and tokens (tls.h, token_check.h).
//
// What it is not: it loads nothing, batches nothing and computes nothing. It looks blocks up in the
// Catalog and hands requests to their InferSink.
//
// Threads: a few completion queues with threads_per_queue threads each, which receive, parse,
// submit and send. Where a backend computes on the thread that submits, batches run on these
// threads too; so each queue has more than one. Bounds: GrpcLimits. No limit here on requests in
// flight: the blocks' queues answer when full.
//
// Errors that a client sees: every absl::Status is sent as the gRPC code of the same name
// (status.h); its message names the block and the tensor, what was expected and what was found.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/catalog/catalog.h"
#include "server/catalog/model_control.h"
#include "server/catalog/serving_state.h"
#include "server/metrics/metrics.h"
#include "server/shared_memory/region.h"
#include "server/transport/grpc_limits.h"
#include "server/transport/tls.h"
#include "server/vocabulary/compression.h"
#include "server/vocabulary/request.h"
#include "server/vocabulary/shared_memory.h"

namespace mlpserve {

class Acceptor;

struct GrpcServerOptions {
  // "host:port", "[host]:port" or "unix:path"; at least one. Port 0: any free one.
  std::vector<std::string> addresses;
  std::string version;               // of this server, for ServerMetadata
  std::string backend;               // "cpu" or "cuda", for ModelConfig
  std::vector<std::string> devices;  // what computes, for ServerMetadata
  TlsFiles tls;                      // all empty: plain text
  std::string token_file;            // whose tokens calls must bring; empty: anybody may call
  bool open_health = false;          // grpc.health.v1 asks for no token
  // Of answers, where the client takes it, else the other; messages that come compressed with
  // either are inflated. kNone: answers are not, and compressed messages are refused.
  Compression compression = Compression::kNone;
  SharedMemory shared_memory = SharedMemory::kOff;  // of clients, for their rows
  OpenCudaRegion open_cuda_region;                  // empty: the backend is not CUDA's
  GrpcLimits limits;
  // Completion queues; 0: one for every four cores, 1 to 8. More carry more requests per second
  // and make a lone request slower, as idle threads wake one another.
  int queues = 0;
  // At least 2, if a backend computes on the thread that submits; else a batch stops its queue.
  int threads_per_queue = 2;
  // Null: loading and unloading at a client's wish are refused. Must outlive the server, and call
  // every `done` before it shuts down.
  ModelControl* model_control = nullptr;
};

class GrpcServer {
 public:
  // Serves when it returns. Everything must outlive the server. Becomes the listener of `state`,
  // takes over gRPC's log (grpc_log.h), and keeps gRPC until the process ends. Errors, naming the
  // address or option: INVALID_ARGUMENT, it is none; UNAVAILABLE, it cannot be listened on (in use,
  // no permission, not an address of this host).
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options,
                                                           const Catalog& catalog,
                                                           ServingState& state, Metrics& metrics);

  // Shuts down at once, if Shutdown was not called.
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // How the connections stand; for a scrape, not for a request. Thread-safe.
  ConnectionCounts connections() const;
  // UNAVAILABLE with the reason, if connections are refused at this moment. Thread-safe.
  absl::Status CanAccept() const;

  // Of each address, in order; 0 for a Unix socket.
  const std::vector<int>& ports() const { return ports_; }

  // Advances the state to kClosing, ends the health watches, waits for the calls that were accepted
  // to be answered, refuses new ones with UNAVAILABLE until none has come for a moment (at most a
  // second), and stops listening. What is not answered at `deadline` is cancelled; returns when
  // sinks have completed all that was submitted. Called once, by no thread of the server's.
  // A call that arrives all the same while gRPC stops gets CANCELLED from it (grpc_server.cc).
  void Shutdown(TimePoint deadline);

 private:
  struct Parts;

  GrpcServer(std::unique_ptr<Parts> parts, std::vector<int> ports,
             std::unique_ptr<Acceptor> acceptor);

  std::unique_ptr<Parts> parts_;
  const std::shared_ptr<UnreadAnswers> unread_;
  const std::unique_ptr<Acceptor> acceptor_;  // gives connections to parts_
  std::vector<int> ports_;
};

}  // namespace mlpserve
