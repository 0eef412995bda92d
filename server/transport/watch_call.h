// One stream of grpc.health.v1.Health/Watch.
//
//   requested -> accepted: [write -> written]* -> finish -> finished and done
#pragma once

#include <optional>

#include "grpcpp/server_context.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/byte_buffer.h"
#include "proto/health.grpc.pb.h"
#include "server/transport/call_queue.h"
#include "server/transport/event.h"
#include "server/transport/health.h"

namespace mlpserve {

// Owns itself: lives until its last event. Everything that changes is guarded by Health::mutex_.
class WatchCall {
 public:
  static void Accept(Health& health, CallQueue& queue);

  // Both are called with Health::mutex_ held, Finish for a call that is no longer in its watches.
  void SendCurrent();
  void Finish(const grpc::Status& status);

 private:
  WatchCall(Health& health, CallQueue& queue);
  ~WatchCall() = default;

  void OnAccepted(bool ok);
  void OnWritten(bool ok);
  void OnFinished(bool ok);
  void OnCallDone(bool ok);

  void Open() ABSL_EXCLUSIVE_LOCKS_REQUIRED(health_.mutex_);
  void Unref();
  void Destroy();

  Health& health_;
  CallQueue& queue_;
  MemberEvent<WatchCall, &WatchCall::OnAccepted> accepted_event_{this};
  MemberEvent<WatchCall, &WatchCall::OnWritten> written_event_{this};
  MemberEvent<WatchCall, &WatchCall::OnFinished> finished_event_{this};
  MemberEvent<WatchCall, &WatchCall::OnCallDone> done_event_{this};

  grpc::ServerContext context_;
  grpc::ByteBuffer received_;
  grpc::health::v1::HealthCheckRequest request_;
  grpc::ServerAsyncWriter<grpc::ByteBuffer> writer_{&context_};

  bool opened_ = false;       // OnAccepted has run, which OnCallDone may overtake
  bool client_left_ = false;  // or the call is over
  bool writing_ = false;
  std::optional<grpc::health::v1::HealthCheckResponse::ServingStatus> sent_;  // the last one
  std::optional<grpc::Status> finish_;  // to finish with, once nothing is being written
  int references_ = 3;                  // OnAccepted, OnFinished, OnCallDone
};

}  // namespace mlpserve
