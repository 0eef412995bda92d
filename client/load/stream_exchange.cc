#include <grpcpp/client_context.h>

#include <optional>
#include <string>

#include "client/load/exchange.h"
#include "client/load/wire.h"

namespace mlpserve::load {
namespace {

absl::Status ToStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

// What an answer in the stream says of its request. Triton sends no code with an error.
absl::Status StatusOf(const inference::ModelStreamInferResponse& response) {
  if (response.error_message().empty()) return absl::OkStatus();
  auto code = absl::StatusCode::kUnknown;
  const auto& parameters = response.infer_response().parameters();
  const auto found = parameters.find("grpc_status");
  if (found != parameters.end()) {
    code = static_cast<absl::StatusCode>(found->second.int64_param());
  }
  return absl::Status(code, response.error_message());
}

class StreamExchange final : public Exchange {
 public:
  StreamExchange(grpc::GenericStub& stub, grpc::CompletionQueue& queue)
      : stub_(stub), queue_(queue) {}

  void Send(const grpc::ByteBuffer& request, void* tag) override {
    request_ = &request;
    tag_ = tag;
    broken_ = false;
    if (call_ == nullptr) {
      Open();
    } else {
      Ask();
    }
  }

  bool Advance(bool ok) override {
    broken_ = broken_ || !ok;
    if (--pending_ > 0) return false;
    switch (step_) {
      case Step::kOpening:
        broken_ ? Finish() : Ask();
        return false;
      case Step::kAsking:
        if (broken_) {
          Finish();
          return false;
        }
        status_ = ParseMessage(bytes_, response_)
                      ? StatusOf(response_)
                      : absl::DataLossError(
                            "expected a ModelStreamInferResponse, found bytes that "
                            "are none");
        return true;
      case Step::kFinishing:
        Close();
        return true;
    }
    return true;
  }

  void Cancel() override {
    if (context_) context_->TryCancel();
  }

  absl::Status status() const override { return status_; }

  bool ParseAnswer(inference::ModelInferResponse& answer) const override {
    answer = response_.infer_response();
    return true;
  }

 private:
  enum class Step : uint8_t { kOpening, kAsking, kFinishing };

  void Open() {
    step_ = Step::kOpening;
    pending_ = 1;
    context_.emplace();
    call_ = stub_.PrepareCall(&*context_, kMethod, &queue_);
    call_->StartCall(tag_);
  }

  void Ask() {
    step_ = Step::kAsking;
    pending_ = 2;
    bytes_.Clear();
    call_->Write(*request_, tag_);
    call_->Read(&bytes_, tag_);
  }

  void Finish() {
    step_ = Step::kFinishing;
    pending_ = 1;
    call_->Finish(&ended_, tag_);
  }

  // The stream is over; the next request opens another.
  void Close() {
    status_ = ended_.ok() ? absl::UnavailableError("the server ended the stream without an answer")
                          : ToStatus(ended_);
    call_.reset();
    context_.reset();
  }

  static inline const std::string kMethod = "/inference.GRPCInferenceService/ModelStreamInfer";

  grpc::GenericStub& stub_;
  grpc::CompletionQueue& queue_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;  // lies in the context's memory
  const grpc::ByteBuffer* request_ = nullptr;
  void* tag_ = nullptr;
  Step step_ = Step::kOpening;
  int pending_ = 0;      // events of this step that have not come yet
  bool broken_ = false;  // one of them said that the stream is over
  grpc::ByteBuffer bytes_;
  inference::ModelStreamInferResponse response_;
  grpc::Status ended_;
  absl::Status status_;
};

}  // namespace

std::unique_ptr<Exchange> NewStreamExchange(grpc::GenericStub& stub, grpc::CompletionQueue& queue) {
  return std::make_unique<StreamExchange>(stub, queue);
}

}  // namespace mlpserve::load
