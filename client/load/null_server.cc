// null-server: the least that a server of the Open Inference Protocol can do over gRPC. It answers
// every ModelInfer with one prepared response and looks at nothing, so that its rate is the ceiling
// of transport and load tester on the machine that it runs on.
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/rpc_service_method.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/support/async_unary_call.h>

#include <csignal>
#include <iostream>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "proto/open_inference.pb.h"

namespace {

constexpr int kWrongUsage = 2;
constexpr int kCallsAhead = 256;  // requested of each queue, so that none waits to be accepted

// One unary method whose request and response stay bytes.
class NullService : public grpc::Service {
 public:
  NullService() {
    AddMethod(new grpc::internal::RpcServiceMethod("/inference.GRPCInferenceService/ModelInfer",
                                                   grpc::internal::RpcMethod::NORMAL_RPC, nullptr));
    MarkMethodRaw(0);
  }
  void Accept(grpc::ServerContext* context, grpc::ByteBuffer* request,
              grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>* writer,
              grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncUnary(0, context, request, writer, queue, queue, tag);
  }
};

struct Call {
  grpc::ServerContext context;
  grpc::ByteBuffer request;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> writer{&context};
  bool answered = false;
};

grpc::ByteBuffer PreparedAnswer(const std::string& output, int64_t features) {
  inference::ModelInferResponse message;
  auto& tensor = *message.add_outputs();
  tensor.set_name(output);
  tensor.set_datatype("FP32");
  tensor.add_shape(1);
  tensor.add_shape(features);
  message.add_raw_output_contents(std::string(static_cast<size_t>(features) * 4, '\0'));
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

void Serve(NullService& service, grpc::ServerCompletionQueue& queue,
           const grpc::ByteBuffer& answer) {
  const auto accept = [&] {
    auto* call = new Call;
    service.Accept(&call->context, &call->request, &call->writer, &queue, call);
  };
  for (int i = 0; i < kCallsAhead; ++i) accept();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
    auto* call = static_cast<Call*>(tag);
    if (!ok || call->answered) {
      delete call;
      continue;
    }
    accept();
    call->answered = true;
    call->writer.Finish(answer, grpc::Status::OK, call);
  }
}

// Waits for SIGTERM or SIGINT.
int Run(const std::string& address, int threads, int64_t features) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  NullService service;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (int i = 0; i < threads; ++i) queues.push_back(builder.AddCompletionQueue());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::cerr << "null-server: expected an address that can be listened on, found " << address
              << "\n";
    return kWrongUsage;
  }
  std::cout << "gRPC on " << address.substr(0, address.rfind(':')) << ":" << port << std::endl;
  const grpc::ByteBuffer answer = PreparedAnswer("logits", features);
  std::vector<std::thread> workers;
  for (auto& queue : queues) {
    workers.emplace_back([&, q = queue.get()] { Serve(service, *q, answer); });
  }
  int number = 0;
  sigwait(&signals, &number);
  std::quick_exit(0);  // nothing needs to be cleaned up
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 0;
  int64_t features = 0;
  if (argc != 4 || !absl::SimpleAtoi(argv[2], &threads) || threads < 1 || threads > 256 ||
      !absl::SimpleAtoi(argv[3], &features) || features < 1 || features > 1 << 24) {
    std::cerr << "usage: null-server HOST:PORT THREADS FEATURES   answers 1 row of FEATURES FP32\n";
    return kWrongUsage;
  }
  return Run(argv[1], threads, features);
}
