#include <grpcpp/client_context.h>

#include <optional>
#include <string>

#include "client/load/exchange.h"
#include "client/load/wire.h"

namespace mlpserve::load {
namespace {

class UnaryExchange final : public Exchange {
 public:
  UnaryExchange(grpc::GenericStub& stub, grpc::CompletionQueue& queue,
                std::chrono::milliseconds deadline)
      : stub_(stub), queue_(queue), deadline_(deadline) {}

  void Send(const grpc::ByteBuffer& request, void* tag) override {
    reader_.reset();  // lies in the context's memory
    context_.emplace();
    if (deadline_.count() > 0) {
      context_->set_deadline(std::chrono::system_clock::now() + deadline_);
    }
    answer_.Clear();
    reader_ = stub_.PrepareUnaryCall(&*context_, kMethod, request, &queue_);
    reader_->StartCall();
    reader_->Finish(&answer_, &status_, tag);
  }

  bool Advance(bool) override { return true; }

  void Cancel() override {
    if (context_) context_->TryCancel();
  }

  absl::Status status() const override {
    if (status_.ok()) return absl::OkStatus();
    return absl::Status(static_cast<absl::StatusCode>(status_.error_code()),
                        status_.error_message());
  }

  bool ParseAnswer(inference::ModelInferResponse& answer) const override {
    return ParseMessage(answer_, answer);
  }

 private:
  static inline const std::string kMethod = "/inference.GRPCInferenceService/ModelInfer";

  grpc::GenericStub& stub_;
  grpc::CompletionQueue& queue_;
  const std::chrono::milliseconds deadline_;
  std::optional<grpc::ClientContext> context_;
  grpc::ByteBuffer answer_;
  grpc::Status status_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
};

}  // namespace

std::unique_ptr<Exchange> NewUnaryExchange(grpc::GenericStub& stub, grpc::CompletionQueue& queue,
                                           std::chrono::milliseconds deadline) {
  return std::make_unique<UnaryExchange>(stub, queue, deadline);
}

}  // namespace mlpserve::load
