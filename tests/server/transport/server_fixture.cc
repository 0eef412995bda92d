#include "tests/server/transport/server_fixture.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/generic/generic_stub.h"

namespace mlpserve {

namespace {

std::string InputOf(const InferRequest& request) {
  std::string bytes;
  if (request.source != nullptr) {
    bytes.resize(static_cast<size_t>(request.rows) * 4 * sizeof(float));
    request.source->Read(0, std::as_writable_bytes(std::span(bytes)));
  }
  for (const auto& piece : request.input) {
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return bytes;
}

// The input on the heap, for as long as the lease says.
OutputRows Echo(const InferRequest& request) {
  auto* bytes = new std::string(InputOf(request));
  const auto release = [](void* owned) { delete static_cast<std::string*>(owned); };
  return {std::as_bytes(std::span(*bytes)), OutputLease(release, bytes)};
}

}  // namespace

void FakeSink::Submit(InferRequest& request) {
  absl::Status failure;
  {
    MutexLock lock(mutex_);
    Seen& seen = seen_.emplace_back();
    seen.rows = request.rows;
    seen.input = InputOf(request);
    seen.priority = request.priority;
    seen.deadline = request.deadline;
    seen.queue_timeout = request.queue_timeout;
    if (hold_) held_.push_back(&request);
    changed_.NotifyAll();
    if (hold_) return;
    failure = failure_;
  }
  if (failure.ok()) {
    Answer(request);
  } else {
    request.OnDone(failure, {});
  }
}

void FakeSink::Cancel(InferRequest& request) {
  {
    MutexLock lock(mutex_);
    ++cancelled_;
    changed_.NotifyAll();
    const auto found = std::find(held_.begin(), held_.end(), &request);
    if (found == held_.end()) return;
    held_.erase(found);
  }
  request.OnDone(absl::CancelledError("the client has left"), {});
}

void FakeSink::Answer(InferRequest& request) {
  std::vector<OutputRows> outputs;
  {
    MutexLock lock(mutex_);
    if (answer_pieces_ == 0) outputs.push_back(Echo(request));
    const auto all = std::as_bytes(std::span(answer_));
    for (int i = 0; i < answer_pieces_; ++i) {
      const size_t from = all.size() * i / answer_pieces_;
      const size_t to = all.size() * (i + 1) / answer_pieces_;
      outputs.push_back({all.subspan(from, to - from), OutputLease(&ReturnLease, this)});
      ++leases_;
    }
    changed_.NotifyAll();
  }
  Timing& timing = request.timing;
  timing.batch_started = timing.received + std::chrono::microseconds(1);
  timing.infer_started = timing.batch_started + std::chrono::microseconds(1);
  timing.infer_ended = timing.infer_started + std::chrono::microseconds(1);
  timing.done = timing.infer_ended + std::chrono::microseconds(1);
  request.OnDone(absl::OkStatus(), outputs);
}

void FakeSink::ReturnLease(void* sink) {
  auto* self = static_cast<FakeSink*>(sink);
  MutexLock lock(self->mutex_);
  --self->leases_;
  self->changed_.NotifyAll();
}

void FakeSink::Hold() {
  MutexLock lock(mutex_);
  hold_ = true;
}

void FakeSink::FailWith(absl::Status status) {
  MutexLock lock(mutex_);
  failure_ = std::move(status);
}

void FakeSink::AnswerWith(std::string bytes, int pieces) {
  MutexLock lock(mutex_);
  answer_ = std::move(bytes);
  answer_pieces_ = pieces;
}

std::vector<FakeSink::Seen> FakeSink::seen() const {
  MutexLock lock(mutex_);
  return seen_;
}

template <typename Condition>
bool FakeSink::WaitUntil(Condition condition) {
  const TimePoint limit = Clock::now() + std::chrono::seconds(10);
  MutexLock lock(mutex_);
  while (!condition()) {
    if (!changed_.WaitUntil(mutex_, limit)) return condition();
  }
  return true;
}

bool FakeSink::WaitUntilSeen(size_t count) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return seen_.size() >= count; });
}

bool FakeSink::WaitUntilHeld(size_t count) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return held_.size() == count; });
}

bool FakeSink::WaitUntilCancelled(size_t count) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return cancelled_ >= count; });
}

bool FakeSink::WaitUntilLeasesOut(int count) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return leases_ == count; });
}

void FakeSink::Release() {
  std::deque<InferRequest*> held;
  {
    MutexLock lock(mutex_);
    held.swap(held_);
  }
  for (InferRequest* request : held) Answer(*request);
}

void SetDeadline(grpc::ClientContext* context, std::chrono::milliseconds timeout) {
  context->set_deadline(std::chrono::system_clock::now() + timeout);
}

void ServerTest::SetUp() {
  block_metrics_ = metrics_.AddBlock("echo", 3);
  PutEcho();
  state_.Advance(Phase::kServing);
  options_ = {.version = "1.2.3", .backend = "cpu", .queues = 2, .threads_per_queue = 2};
}

CatalogEntry ServerTest::EchoEntry() const {
  CatalogEntry entry;
  entry.config.name = "echo";
  entry.config.input = {.name = "x", .datatype = DataType::kFp32, .features = kFeatures};
  entry.config.output = {.name = "y", .datatype = DataType::kFp32, .features = kFeatures};
  entry.config.batching.priority_levels = 2;
  entry.config.batching.default_priority = 2;
  entry.version = 3;
  entry.state = BlockState::kReady;
  entry.sink = sink_;
  entry.metrics = block_metrics_;
  return entry;
}

void ServerTest::PutEcho(void (*change)(CatalogEntry*)) {
  CatalogEntry entry = EchoEntry();
  if (change != nullptr) change(&entry);
  catalog_.Put(std::move(entry));
}

void ServerTest::Start(GrpcServerOptions options) {
  if (options.addresses.empty()) options.addresses = {"127.0.0.1:0"};
  options_ = options;
  auto server = GrpcServer::Start(options, catalog_, state_, metrics_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  channel_ = Connect(Address());
  stub_ = inference::GRPCInferenceService::NewStub(channel_);
}

std::string ServerTest::Address(size_t index) const {
  const std::string& address = options_.addresses[index];
  if (server_->ports()[index] == 0) return address;
  return absl::StrCat("127.0.0.1:", server_->ports()[index]);
}

std::shared_ptr<grpc::Channel> ServerTest::Connect(const std::string& address,
                                                   grpc::ChannelArguments arguments) {
  // Otherwise channels of the process to one address share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

ServerTest::Request ServerTest::EchoRequest(int64_t rows) {
  Request request;
  request.set_model_name("echo");
  auto* input = request.add_inputs();
  input->set_name("x");
  input->set_datatype("FP32");
  input->add_shape(rows);
  input->add_shape(kFeatures);
  std::string* raw = request.add_raw_input_contents();
  raw->resize(rows * kFeatures * sizeof(float));
  for (size_t i = 0; i < raw->size(); ++i) (*raw)[i] = static_cast<char>(i * 131 + i / 251);
  return request;
}

grpc::Status ServerTest::Infer(const Request& request, Response* response) {
  grpc::ClientContext context;
  SetDeadline(&context);
  return stub_->ModelInfer(&context, request, response);
}

grpc::Status ServerTest::InferError(const Request& request) {
  Response response;
  return Infer(request, &response);
}

grpc::Status ServerTest::Register(const std::string& name, const std::string& key, uint64_t offset,
                                  uint64_t bytes) {
  inference::SystemSharedMemoryRegisterRequest request;
  request.set_name(name);
  request.set_key(key);
  request.set_offset(offset);
  request.set_byte_size(bytes);
  inference::SystemSharedMemoryRegisterResponse response;
  grpc::ClientContext context;
  SetDeadline(&context);
  return stub_->SystemSharedMemoryRegister(&context, request, &response);
}

grpc::Status ServerTest::Unregister(const std::string& name) {
  inference::SystemSharedMemoryUnregisterRequest request;
  request.set_name(name);
  inference::SystemSharedMemoryUnregisterResponse response;
  grpc::ClientContext context;
  SetDeadline(&context);
  return stub_->SystemSharedMemoryUnregister(&context, request, &response);
}

grpc::Status ServerTest::CallByName(const std::string& method, const std::string& message) {
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  SetDeadline(&context);
  const grpc::Slice slice(message);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, this);
  void* tag;
  bool ok;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  return status;
}

int CountFailed(int clients, int calls, const std::function<bool(int client, int i)>& call) {
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(clients));
  for (int client = 0; client < clients; ++client) {
    threads.emplace_back([&, client] {
      for (int i = 0; i < calls; ++i) {
        if (!call(client, i)) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failed;
}

}  // namespace mlpserve
