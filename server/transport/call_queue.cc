#include "server/transport/call_queue.h"

#include <pthread.h>

#include <utility>

#include "kernels/status/status_macros.h"
#include "server/transport/event.h"

namespace mlpserve {

CallQueue::CallQueue(std::unique_ptr<grpc::ServerCompletionQueue> queue, TokenCheck& tokens,
                     const Inflater& inflater)
    : queue_(std::move(queue)), tokens_(tokens), inflater_(inflater) {}

CallQueue::~CallQueue() {
  if (!threads_.empty()) return;
  // A queue that never had threads must be shut down and emptied all the same.
  queue_->Shutdown();
  Serve();
}

absl::Status CallQueue::Read(grpc::ByteBuffer& bytes, google::protobuf::Message* message) const {
  MLPSERVE_RETURN_IF_ERROR(inflater_.Inflate(bytes));
  return ReadMessage(bytes, message);
}

void CallQueue::StartThreads(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Serve(); });
}

void CallQueue::Finish() {
  calls_.WaitUntilNone();
  queue_->Shutdown();
  for (std::thread& thread : threads_) thread.join();
}

void CallQueue::Serve() {
  pthread_setname_np(pthread_self(), "grpc-queue");
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<Event*>(tag)->OnEvent(ok);
}

}  // namespace mlpserve
