// grpc.health.v1: Check, and Watch, which tells every change of the ServingState as it happens.
//
// Two services are known, the empty name (the server) and the inference service; both serve while
// the ServingState is ready. At most kMaxWatches streams are open at a time, each with one message
// in flight: a slow reader skips states, but always ends on the last one.
//
// Threads: events on the queues' threads; Update and CloseWatches on any.
#pragma once

#include <cstddef>
#include <set>
#include <string>

#include "proto/health.grpc.pb.h"
#include "server/catalog/serving_state.h"
#include "server/sync/mutex.h"
#include "server/transport/call_queue.h"
#include "server/transport/inference_service.h"
#include "server/transport/unary_call.h"

namespace mlpserve {

class WatchCall;

class Health {
 public:
  static constexpr size_t kMaxWatches = 1000;  // over it: RESOURCE_EXHAUSTED

  // `state` must outlive this, and this every call. `open`: asks for no token.
  Health(const ServingState& state, bool open);

  grpc::Service& service() { return service_; }

  // Begins to take calls of both methods on the queue.
  void Accept(CallQueue& queue);

  // Tells every watch what the ServingState now is.
  void Update();
  // Ends every watch, those to come included: they would keep the server from shutting down.
  void CloseWatches();

 private:
  friend class WatchCall;

  grpc::health::v1::HealthCheckResponse::ServingStatus StatusOf(const std::string& service) const;

  const ServingState& state_;
  const bool open_;
  HealthService service_;
  UnaryMethod<grpc::health::v1::HealthCheckRequest, grpc::health::v1::HealthCheckResponse> check_;

  Mutex mutex_;
  std::set<WatchCall*> watches_ ABSL_GUARDED_BY(mutex_);  // accepted, and not yet being finished
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace mlpserve
