// One ModelInfer call, from being asked for to its last event.
//
//   requested -> accepted: parse, check, Submit -> OnDone: build, Finish -> finished and done
//
// gRPC says "finished" when the answer is sent and "done" when the call is over or the client has
// left, in any order and on any thread of the queue; a call is used again after both.
//
// Threads: events on the queue's, OnDone on any. Ownership: an InferCalls owns its calls.
// Bounds: calls in flight are bounded by the connections and GrpcLimits::max_concurrent_streams;
// kIdleCalls of them are kept for reuse.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/async_unary_call.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/sync/mutex.h"
#include "server/transport/call_count.h"
#include "server/transport/call_queue.h"
#include "server/transport/event.h"
#include "server/transport/infer_work.h"
#include "server/transport/inference_service.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

class InferCalls;

class InferCall final : private InferWork, private UnreadAnswer {
 public:
  explicit InferCall(InferCalls& calls) : calls_(calls) {}

  // Asks gRPC for the next call.
  void Request();
  // After its last event: lets go of everything that belongs to that call. False if the object
  // holds more memory than is worth keeping for the next one.
  bool Reset();

 private:
  void OnAccepted(bool ok);
  void OnFinished(bool ok);
  void OnCallDone(bool ok);
  void OnDone(absl::Status status, std::span<OutputRows> outputs) override;
  void Answer(const absl::Status& status, std::span<OutputRows> outputs);
  void KeepUnread() override;
  void CancelUnread() override;
  void Unref();

  InferCalls& calls_;
  MemberEvent<InferCall, &InferCall::OnAccepted> accepted_event_{this};
  MemberEvent<InferCall, &InferCall::OnFinished> finished_event_{this};
  MemberEvent<InferCall, &InferCall::OnCallDone> done_event_{this};

  // Of the call that is being served:
  std::optional<grpc::ServerContext> context_;
  std::optional<grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>> writer_;

  std::atomic<int> references_{0};  // OnAccepted, OnFinished, OnCallDone; KeepUnread
  // Submit and the client's leaving race; the later of the two calls Cancel.
  static constexpr uint8_t kSubmitted = 1;
  static constexpr uint8_t kClientLeft = 2;
  std::atomic<uint8_t> progress_{0};
};

// The ModelInfer calls of one queue.
class InferCalls {
 public:
  static constexpr int kRequestedAhead = 64;
  static constexpr size_t kIdleCalls = 1024;
  static constexpr int64_t kIdleCallBytes = 64 << 10;  // one that served more is not kept

  // What the calls need; it must outlive them.
  struct Needs {
    InferenceService& service;
    CallQueue& queue;
    InferNeeds infer;
  };
  explicit InferCalls(const Needs& needs) : needs_(needs) {}

  void Start();

  // Waits until every call that was accepted is answered, the answer sent, or until the deadline.
  void WaitUntilAnswered(TimePoint deadline) { accepted_.WaitUntilNone(deadline); }

  // For InferCall:
  CallCount& accepted() { return accepted_; }
  const Needs& needs() const { return needs_; }
  void RequestNext();
  void GiveBack(InferCall* call);

 private:
  const Needs needs_;
  CallCount accepted_;
  Mutex mutex_;
  std::vector<std::unique_ptr<InferCall>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mlpserve
