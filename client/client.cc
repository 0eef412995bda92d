#include "client/client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/call_once.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/channel.h"
#include "client/infer_message.h"
#include "kernels/status/status_macros.h"
#include "proto/open_inference.grpc.pb.h"

namespace mlpserve::client {
namespace {

using Stub = inference::GRPCInferenceService::Stub;

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string& text = status.error_message();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      text.empty() ? "the server gave no reason" : text);
}

void SetDeadline(grpc::ClientContext& context, Deadline deadline) {
  // gRPC takes a time of the wall clock, which may be set meanwhile: it is given the time left,
  // from now on.
  const auto left = deadline.at() - Deadline::Clock::now();
  const auto at_most = std::chrono::hours(24 * 365);
  context.set_deadline(std::chrono::system_clock::now() +
                       std::min<Deadline::Clock::duration>(left, at_most));
}

std::vector<TensorMetadata> TensorsOf(
    const google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>&
        tensors) {
  std::vector<TensorMetadata> result;
  for (const auto& tensor : tensors) {
    result.push_back({tensor.name(), tensor.datatype(), {}});
    result.back().shape.assign(tensor.shape().begin(), tensor.shape().end());
  }
  return result;
}

// An InferAsync on its way; its address is the tag in the completion queue, which owns it.
struct PendingCall {
  explicit PendingCall(Client::InferDone callback) : done(std::move(callback)) {}

  grpc::ClientContext context;
  inference::ModelInferResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<inference::ModelInferResponse>> reader;
  Client::InferDone done;
};

}  // namespace

std::string Describe(const std::vector<TensorMetadata>& tensors) {
  return absl::StrJoin(tensors, ", ", [](std::string* text, const TensorMetadata& tensor) {
    absl::StrAppend(text, tensor.name, " ", tensor.datatype, " [", absl::StrJoin(tensor.shape, ","),
                    "]");
  });
}

Deadline Deadline::In(std::chrono::milliseconds time) {
  const auto now = Clock::now();
  const auto room =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::time_point::max() - now);
  return Deadline(now + std::min(time, room));
}

class Client::Connection {
 public:
  explicit Connection(std::string to)
      : address(std::move(to)),
        stub(inference::GRPCInferenceService::NewStub(SharedChannel(address))) {}

  ~Connection() {
    queue_.Shutdown();
    if (receiver_.joinable()) receiver_.join();
  }

  // One call that blocks until its answer has come.
  template <class Request, class Response>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, Deadline deadline) {
    grpc::ClientContext context;
    SetDeadline(context, deadline);
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return ToStatus(status);
    return response;
  }

  void Start(const inference::ModelInferRequest& request, Deadline deadline, InferDone done) {
    absl::call_once(started_, [this] { receiver_ = std::thread([this] { Receive(); }); });
    auto* call = new PendingCall(std::move(done));
    SetDeadline(call->context, deadline);
    call->reader = stub->AsyncModelInfer(&call->context, request, &queue_);
    call->reader->Finish(&call->response, &call->status, call);
  }

  const std::string address;
  const std::unique_ptr<Stub> stub;

 private:
  void Receive() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      const std::unique_ptr<PendingCall> call(static_cast<PendingCall*>(tag));
      if (call->status.ok()) {
        std::move(call->done)(FromMessage(call->response));
      } else {
        std::move(call->done)(ToStatus(call->status));
      }
    }
  }

  grpc::CompletionQueue queue_;
  absl::once_flag started_;
  std::thread receiver_;
};

Client::Client(std::string address) : connection_(new Connection(std::move(address))) {}
Client::~Client() = default;

const std::string& Client::address() const { return connection_->address; }

absl::StatusOr<bool> Client::Live(Deadline deadline) {
  MLPSERVE_ASSIGN_OR_RETURN(
      const auto response,
      connection_->Call(&Stub::ServerLive, inference::ServerLiveRequest(), deadline));
  return response.live();
}

absl::StatusOr<bool> Client::Ready(Deadline deadline) {
  MLPSERVE_ASSIGN_OR_RETURN(
      const auto response,
      connection_->Call(&Stub::ServerReady, inference::ServerReadyRequest(), deadline));
  return response.ready();
}

absl::StatusOr<ServerMetadata> Client::Metadata(Deadline deadline) {
  MLPSERVE_ASSIGN_OR_RETURN(
      const auto response,
      connection_->Call(&Stub::ServerMetadata, inference::ServerMetadataRequest(), deadline));
  return ServerMetadata{response.name(),
                        response.version(),
                        {response.extensions().begin(), response.extensions().end()}};
}

absl::StatusOr<std::vector<IndexEntry>> Client::List(Deadline deadline) {
  MLPSERVE_ASSIGN_OR_RETURN(
      const auto response,
      connection_->Call(&Stub::RepositoryIndex, inference::RepositoryIndexRequest(), deadline));
  std::vector<IndexEntry> entries;
  for (const auto& model : response.models()) {
    entries.push_back({model.name(), model.version(), model.state(), model.reason()});
  }
  return entries;
}

absl::StatusOr<bool> Client::BlockReady(const std::string& model, const std::string& version,
                                        Deadline deadline) {
  inference::ModelReadyRequest request;
  request.set_name(model);
  request.set_version(version);
  MLPSERVE_ASSIGN_OR_RETURN(const auto response,
                            connection_->Call(&Stub::ModelReady, request, deadline));
  return response.ready();
}

absl::StatusOr<BlockMetadata> Client::Describe(const std::string& model, const std::string& version,
                                               Deadline deadline) {
  inference::ModelMetadataRequest request;
  request.set_name(model);
  request.set_version(version);
  MLPSERVE_ASSIGN_OR_RETURN(const auto response,
                            connection_->Call(&Stub::ModelMetadata, request, deadline));
  return BlockMetadata{response.name(),
                       response.platform(),
                       {response.versions().begin(), response.versions().end()},
                       TensorsOf(response.inputs()),
                       TensorsOf(response.outputs())};
}

absl::StatusOr<int64_t> Client::MaxRows(const std::string& model, const std::string& version,
                                        Deadline deadline) {
  inference::ModelConfigRequest request;
  request.set_name(model);
  request.set_version(version);
  MLPSERVE_ASSIGN_OR_RETURN(const auto response,
                            connection_->Call(&Stub::ModelConfig, request, deadline));
  return response.config().max_batch_size();
}

absl::Status Client::RegisterSharedMemory(const std::string& name, const std::string& key,
                                          int64_t bytes, Deadline deadline) {
  inference::SystemSharedMemoryRegisterRequest request;
  request.set_name(name);
  request.set_key(key);
  request.set_byte_size(static_cast<uint64_t>(bytes));
  return connection_->Call(&Stub::SystemSharedMemoryRegister, request, deadline).status();
}

absl::Status Client::UnregisterSharedMemory(const std::string& name, Deadline deadline) {
  inference::SystemSharedMemoryUnregisterRequest request;
  request.set_name(name);
  return connection_->Call(&Stub::SystemSharedMemoryUnregister, request, deadline).status();
}

absl::StatusOr<InferResult> Client::Infer(const InferQuery& query, Deadline deadline) {
  inference::ModelInferRequest request;
  MLPSERVE_RETURN_IF_ERROR(ToMessage(query, request));
  MLPSERVE_ASSIGN_OR_RETURN(auto response, connection_->Call(&Stub::ModelInfer, request, deadline));
  return FromMessage(response);
}

void Client::InferAsync(const InferQuery& query, Deadline deadline, InferDone done) {
  inference::ModelInferRequest request;
  if (absl::Status status = ToMessage(query, request); !status.ok()) {
    std::move(done)(status);
    return;
  }
  connection_->Start(request, deadline, std::move(done));
}

}  // namespace mlpserve::client
