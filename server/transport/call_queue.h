// A completion queue, the threads that serve it, and a count of the calls that it may still bring
// events for: a gRPC queue must not be shut down before they are gone.
//
// A thread runs an event to its end, and where the backend computes on the calling thread that
// includes a batch; the others of the queue go on meanwhile.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "grpcpp/completion_queue.h"
#include "server/transport/call_count.h"
#include "server/transport/inflater.h"
#include "server/transport/message_bytes.h"
#include "server/transport/token_check.h"

namespace mlpserve {

class CallQueue {
 public:
  // `tokens` and `inflater` must outlive the queue.
  CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> queue, TokenCheck& tokens,
            const Inflater& inflater);
  ~CallQueue();  // after Finish, or without threads and calls
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;

  grpc::ServerCompletionQueue* get() { return queue_.get(); }
  // Whether a call that it brought may be answered.
  absl::Status CheckToken(const grpc::ServerContext& context) { return tokens_.Check(context); }
  // The message of a call that it brought.
  absl::Status Read(grpc::ByteBuffer& bytes, google::protobuf::Message* message) const;

  void StartThreads(int threads);

  // A call enters before it first asks the queue for an event, and leaves, on one of the queue's
  // threads, when it has had its last.
  void Enter() { calls_.Enter(); }
  void Leave() { calls_.Leave(); }

  // Waits until every call has left, then ends the threads. No call may be entering from outside.
  void Finish();

 private:
  void Serve();

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  TokenCheck& tokens_;
  const Inflater& inflater_;
  std::vector<std::thread> threads_;
  CallCount calls_;
};

}  // namespace mlpserve
