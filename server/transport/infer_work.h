// One inference request from its bytes to the bytes of its answer, whatever kind of call brought
// it: a call of its own (infer_call.h) or a stream of many (infer_stream.h).
//
// Threads: those of its call, one at a time; OnDone, which the call defines, on any.
// Ownership: keeps the message's bytes, into which `input` points, until ReleaseBytes, and the
// block until Clear.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/catalog/catalog.h"
#include "server/catalog/serving_state.h"
#include "server/metrics/metrics.h"
#include "server/transport/infer_message.h"
#include "server/transport/infer_response.h"
#include "server/transport/inflater.h"
#include "server/transport/shared_tensors.h"
#include "server/transport/unread_answers.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

// What requests need; it must outlive them.
struct InferNeeds {
  const Catalog& catalog;
  const ServingState& state;
  Metrics& metrics;
  UnreadAnswers& unread;
  const Inflater& inflater;
  int64_t max_message_bytes = 0;
  const SharedRegions* regions = nullptr;  // null: shared memory is off
};

// When the call must have ended; TimePoint::max() where its client named no time.
TimePoint DeadlineOf(const grpc::ServerContext& context);

class InferWork : public InferRequest {
 public:
  // The message, before Prepare.
  grpc::ByteBuffer& received() { return received_; }
  int64_t received_bytes() const { return received_bytes_; }

  // Parses and checks what was received, and finds its block: Submit may follow. `of_call` is the
  // deadline of the call.
  absl::Status Prepare(const InferNeeds& needs, TimePoint of_call);
  // After Prepare was OK: the block's queue.
  void Submit() { entry_->sink->Submit(*this); }
  // What a call is answered with whose request ended so: nobody takes a result after the deadline.
  absl::Status InTime(absl::Status status) const;
  // After InTime, if the answer will be sent: what was to be written to shared memory is, if
  // `status` and what is returned are OK.
  absl::Status Placed(absl::Status status, std::span<const OutputRows> outputs);
  // After Submit has returned, when the client has left. Where gRPC ended the call at its deadline,
  // which looks the same, the queue knows the deadline too, and answers with the right code.
  void Cancel();

  // A sink knows rows and time, but not the block's name.
  absl::Status WithBlock(const absl::Status& status) const;
  // The answer to a request that went well.
  grpc::ByteBuffer Respond(std::span<OutputRows> outputs, InferResponseForm form) const;
  std::string_view id() const { return message_.id; }
  // Whether Prepare came so far.
  bool block_is_known() const { return entry_ != nullptr; }
  // Counts the request, once, as answered now.
  void Record(const InferNeeds& needs, const absl::Status& status, int64_t sent_bytes) const;

  // Frees the message's memory, and lets go of shared memory.
  void ReleaseBytes();
  // Lets go of everything, for the next request.
  void Clear();

 protected:
  ~InferWork() = default;

 private:
  // Where the results were written; of no region: they were not.
  SharedTensor SharedAnswer() const;

  grpc::ByteBuffer received_;
  std::vector<grpc::Slice> slices_;  // of `received_`
  std::vector<Bytes> pieces_;        // the same
  InferMessage message_;
  Catalog::Entry entry_;  // null until the block is known
  SharedTensors shared_;
  int64_t received_bytes_ = 0;
};

}  // namespace mlpserve
