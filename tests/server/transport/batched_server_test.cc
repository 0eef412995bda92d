// The transport in front of a real batcher, with a backend that negates: many clients at once, each
// checking every value that comes back.
#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/lifecycle/retirer.h"
#include "server/lifecycle/served_block.h"
#include "tests/server/engine/fake_backend.h"
#include "tests/server/shared_memory/shared_object.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

class BatchedServerTest : public ServerTest, public testing::WithParamInterface<FakeMode> {
 protected:
  static constexpr int64_t kMaxRows = 64;

  void SetUp() override {
    ServerTest::SetUp();
    BlockSpec block;
    block.name = "echo";
    LayerSpec& layer = block.layers.emplace_back();
    layer.inputs = layer.outputs = kFeatures;
    layer.weight = std::vector<float>(kFeatures * kFeatures, 0);
    BatchingOptions batching;
    batching.max_rows = kMaxRows;
    options_.shared_memory = SharedMemory::kSystem;
    batching.priority_levels = 2;
    auto served = ServedBlock::Create({.backend = backend_, .threads = threads_}, block, batching,
                                      {}, block_metrics_);
    ASSERT_TRUE(served.ok()) << served.status();
    served_ = retirer_.Share(*std::move(served), nullptr);
    CatalogEntry entry = EchoEntry();
    entry.sink = ServedBlock::Sink(served_);
    catalog_.Put(std::move(entry));
    Start(options_);
  }

  void TearDown() override {
    server_.reset();  // before what its calls refer to
    catalog_.Clear();
  }

  static bool IsNegated(const std::string& input, const std::string& output) {
    if (input.size() != output.size()) return false;
    for (size_t i = 0; i < input.size(); ++i) {
      const char flipped = static_cast<char>(i % 4 == 3 ? 0x80 : 0);  // the sign's byte
      if (static_cast<char>(input[i] ^ flipped) != output[i]) return false;
    }
    return true;
  }

  FakeBackend backend_{{.mode = GetParam(), .lanes = 2}};
  BatchThreads threads_{{}};
  Retirer retirer_;
  std::shared_ptr<ServedBlock> served_;
};

TEST_P(BatchedServerTest, EveryClientGetsItsOwnRows) {
  const int wrong = CountFailed(8, 150, [&](int client, int i) {
    // From one row to several batches.
    Request request = EchoRequest(1 + (i * 29 + client * 7) % (5 * kMaxRows));
    std::string& input = *request.mutable_raw_input_contents(0);
    for (size_t at = 0; at < input.size(); at += 4) {
      input[at] = static_cast<char>(client);
      input[at + 1] = static_cast<char>(i);
    }
    Response response;
    const grpc::Status status = Infer(request, &response);
    return status.ok() && IsNegated(input, response.raw_output_contents(0));
  });
  EXPECT_EQ(wrong, 0);
}

// Each client has a region of its own, which it registers anew and cuts short now and then.
TEST_P(BatchedServerTest, SharedMemoryComesAndGoesUnderWhoeverUsesIt) {
  constexpr size_t kMostBytes = 3 * kMaxRows * kFeatures * sizeof(float);
  std::deque<SharedObject> objects;
  for (int i = 0; i < 4; ++i) objects.emplace_back(absl::StrCat("batched", i), 2 * kMostBytes);
  std::atomic<int> answered{0};
  const int wrong = CountFailed(4, 150, [&](int client, int i) {
    const SharedObject& object = objects[client];
    const std::string region = absl::StrCat("region", client);
    if (i % 5 == 0) (void)Unregister(region);
    if (i % 5 == 0 || i % 5 == 3) (void)Register(region, object.key(), 0, 2 * kMostBytes);
    Request request = EchoRequest(1 + (i * 29 + client * 7) % (3 * kMaxRows));
    const std::string input = request.raw_input_contents(0);
    object.Write(0, input);
    request.clear_raw_input_contents();
    request.add_outputs()->set_name("y");
    const auto bytes = static_cast<int64_t>(input.size());
    Share(region, bytes, 0, request.mutable_inputs(0));
    Share(region, bytes, kMostBytes, request.mutable_outputs(0));
    // While another client's rows are in the same batch.
    const bool cut = i % 7 == 3;
    if (cut) object.Resize(1);
    if (i % 11 == 0) (void)Unregister(region);
    Response response;
    const grpc::Status status = Infer(request, &response);
    if (cut) object.Resize(2 * kMostBytes);
    if (status.ok()) ++answered;
    const auto expected = i % 11 == 0 ? grpc::StatusCode::NOT_FOUND
                          : cut       ? grpc::StatusCode::INVALID_ARGUMENT
                                      : grpc::StatusCode::OK;
    if (i % 11 == 0) (void)Register(region, object.key(), 0, 2 * kMostBytes);
    return status.error_code() == expected &&
           (!status.ok() || IsNegated(input, object.Read(kMostBytes, input.size())));
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(answered, 300);
}

TEST_P(BatchedServerTest, ClientsThatLeaveDisturbNobody) {
  const int wrong = CountFailed(6, 150, [&](int client, int i) {
    const Request request = EchoRequest(1 + (i * 31 + client) % 200);
    grpc::ClientContext context;
    // Every third call has a deadline that may pass at any point of its life.
    const bool hasty = i % 3 == 0;
    SetDeadline(&context, hasty ? std::chrono::milliseconds(i % 4) : std::chrono::seconds(10));
    Response response;
    const grpc::Status status = stub_->ModelInfer(&context, request, &response);
    const bool answered =
        status.ok() && IsNegated(request.raw_input_contents(0), response.raw_output_contents(0));
    // It expires, or is refused since it is expected to.
    const bool late = hasty && (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED ||
                                status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    return answered || late;
  });
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Backends, BatchedServerTest,
                         testing::Values(FakeMode::kInline, FakeMode::kThreads),
                         [](const auto& instance) {
                           return instance.param == FakeMode::kInline ? "OnTheSubmittingThread"
                                                                      : "OnThreadsOfItsOwn";
                         });

}  // namespace
}  // namespace mlpserve
