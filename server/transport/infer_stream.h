// One stream of ModelStreamInfer: many requests, each answered in its place, in the order in which
// they came. A request that fails is answered there too, and the stream goes on.
//
//   accepted: [read -> submitted -> OnDone -> written]* -> finish
//
// Requests are pipelined: the next message is read while those before it wait or run.
// Bounds: kMostInFlight requests of a stream, and about kMostUnsentBytes of answers that its client
// has not read; over either nothing is read from it, so its client waits. Its end: when the client
// ends its side and has all answers, leaves, or the server shuts down (UNAVAILABLE).
//
// Threads: events on the queue's, OnDone and Close on any. Ownership: a stream owns itself and
// lives until its last event and its last request.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/sync/mutex.h"
#include "server/transport/call_count.h"
#include "server/transport/call_queue.h"
#include "server/transport/event.h"
#include "server/transport/infer_work.h"
#include "server/transport/inference_service.h"

namespace mlpserve {

class InferStream;

// Every open stream of the server.
class InferStreams {
 public:
  // Everything must outlive this, and this every stream.
  InferStreams(InferenceService& service, const InferNeeds& needs)
      : service_(service), needs_(needs) {}

  // Begins to take streams on the queue.
  void Accept(CallQueue& queue);

  // From now on: a stream ends with UNAVAILABLE as soon as all that it has sent is answered.
  void CloseAll();
  // Waits until every stream has ended, or until the deadline.
  void WaitUntilEnded(TimePoint deadline) { accepted_.WaitUntilNone(deadline); }

 private:
  friend class InferStream;

  InferenceService& service_;
  const InferNeeds needs_;
  CallCount accepted_;
  Mutex mutex_;  // taken before a stream's
  std::set<InferStream*> open_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
};

class InferStream final : private UnreadAnswer {
 public:
  static constexpr size_t kMostInFlight = 128;
  static constexpr int64_t kMostUnsentBytes = 16 << 20;

  static void Accept(InferStreams& streams, CallQueue& queue);

  // The server shuts down. Does not destroy the stream.
  void Close();

 private:
  class Request;

  InferStream(InferStreams& streams, CallQueue& queue) : streams_(streams), queue_(queue) {}
  ~InferStream() = default;

  void OnAccepted(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnFinished(bool ok);
  void OnCallDone(bool ok);

  void Open();
  void Serve(const std::shared_ptr<Request>& request);
  void Answer(Request& request, const absl::Status& status, std::span<OutputRows> outputs);
  std::vector<std::shared_ptr<Request>> Leave();

  void KeepUnread() override { Ref(); }
  void CancelUnread() override;

  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReadNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishIfOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Ref() { references_.fetch_add(1, std::memory_order_relaxed); }
  void Unref();

  InferStreams& streams_;
  CallQueue& queue_;
  MemberEvent<InferStream, &InferStream::OnAccepted> accepted_event_{this};
  MemberEvent<InferStream, &InferStream::OnRead> read_event_{this};
  MemberEvent<InferStream, &InferStream::OnWritten> written_event_{this};
  MemberEvent<InferStream, &InferStream::OnFinished> finished_event_{this};
  MemberEvent<InferStream, &InferStream::OnCallDone> done_event_{this};
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_{&context_};

  // Events that will come, and requests. Whoever holds the mutex holds one of them too, or the
  // mutex of InferStreams: so the stream does not end under it.
  std::atomic<int> references_{0};

  Mutex mutex_;
  // Received and not yet answered on the wire, in order; without `writing_`.
  std::deque<std::shared_ptr<Request>> requests_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Request> reading_ ABSL_GUARDED_BY(mutex_);  // that the next message is read into
  std::shared_ptr<Request> writing_ ABSL_GUARDED_BY(mutex_);  // whose answer is being sent
  int64_t unsent_bytes_ ABSL_GUARDED_BY(mutex_) = 0;          // of answers
  bool opened_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;    // no further message will come
  bool left_ ABSL_GUARDED_BY(mutex_) = false;     // nobody reads answers any more
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;  // the server shuts down
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace mlpserve
