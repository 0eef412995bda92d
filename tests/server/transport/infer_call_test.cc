// ModelInfer over the wire: what is answered, what reaches the sink, what is recorded.
#include "server/transport/infer_call.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

using grpc::StatusCode;

class InferCallTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    Start(options_);
  }

  // One call in flight that the test ends as it likes.
  struct Pending {
    grpc::ClientContext context;
    Response response;
    grpc::Status status;
    std::thread thread;
  };

  std::unique_ptr<Pending> Begin(const Request& request, std::chrono::milliseconds timeout) {
    auto pending = std::make_unique<Pending>();
    SetDeadline(&pending->context, timeout);
    pending->thread = std::thread([this, request, call = pending.get()] {
      call->status = stub_->ModelInfer(&call->context, request, &call->response);
    });
    return pending;
  }

  // The sink has been told of a call once it has been seen; the metrics follow a moment later.
  BlockStatistics StatisticsAfter(uint64_t calls) {
    const TimePoint limit = Clock::now() + std::chrono::seconds(10);
    for (;;) {
      BlockStatistics statistics = block_metrics_->Statistics();
      if (statistics.success.count + statistics.fail.count >= calls) return statistics;
      if (Clock::now() > limit) return statistics;
      std::this_thread::yield();
    }
  }
};

TEST_F(InferCallTest, RowsComeBackWithTheNamesAndTheShape) {
  Request request = EchoRequest(3);
  request.set_id("request 17");
  Response response;
  const grpc::Status status = Infer(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.model_name(), "echo");
  EXPECT_EQ(response.model_version(), "3");
  EXPECT_EQ(response.id(), "request 17");
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "y");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(response.outputs(0).shape(), testing::ElementsAre(3, kFeatures));
  EXPECT_FALSE(response.outputs(0).has_contents());
  ASSERT_EQ(response.raw_output_contents_size(), 1);
  EXPECT_EQ(response.raw_output_contents(0), request.raw_input_contents(0));
}

TEST_F(InferCallTest, SizesFromOneRowToMegabytesComeBackWhole) {
  // Around the sizes of HTTP/2 frames, of socket reads and of the copied response.
  for (const int64_t rows : {1, 2, 511, 512, 1023, 1024, 1025, 4095, 4097, 65536}) {
    const Request request = EchoRequest(rows);
    Response response;
    const grpc::Status status = Infer(request, &response);
    ASSERT_TRUE(status.ok()) << rows << " rows: " << status.error_message();
    ASSERT_TRUE(response.raw_output_contents(0) == request.raw_input_contents(0)) << rows;
  }
}

TEST_F(InferCallTest, LargeRowsAreSentFromWhereTheyLieAndGivenBack) {
  std::string rows(3 << 20, '\0');
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<char>(i * 7 + i / 4093);
  sink_->AnswerWith(rows, 3);
  Response response;
  const grpc::Status status = Infer(EchoRequest(1), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(response.raw_output_contents(0) == rows);
  EXPECT_TRUE(sink_->WaitUntilLeasesOut(0));
}

TEST_F(InferCallTest, TypedContentsAreTheSameAsRawOnes) {
  Request request = EchoRequest(2);
  const std::string raw = request.raw_input_contents(0);
  request.clear_raw_input_contents();
  for (size_t i = 0; i < 2 * kFeatures; ++i) {
    float value;
    std::memcpy(&value, raw.data() + i * sizeof(value), sizeof(value));
    request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(value);
  }
  Response response;
  const grpc::Status status = Infer(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.raw_output_contents(0), raw);
}

TEST_F(InferCallTest, AVersionAndTheOutputMayBeNamed) {
  Request request = EchoRequest(1);
  request.set_model_version("3");
  request.add_outputs()->set_name("y");
  Response response;
  EXPECT_TRUE(Infer(request, &response).ok());
  EXPECT_EQ(response.outputs(0).name(), "y");
}

TEST_F(InferCallTest, ParametersReachTheSink) {
  Request request = EchoRequest(1);
  auto& parameters = *request.mutable_parameters();
  parameters["timeout"].set_int64_param(2500);
  parameters["priority"].set_uint64_param(1);
  parameters["triton_enable_empty_final_response"].set_bool_param(true);
  parameters["anything_else"].set_string_param("ignored");
  Response response;
  const grpc::Status status = Infer(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(sink_->seen().at(0).priority, 1);
  EXPECT_EQ(sink_->seen().at(0).queue_timeout, std::chrono::microseconds(2500));
}

TEST_F(InferCallTest, TheCallsDeadlineReachesTheSink) {
  grpc::ClientContext context;
  const TimePoint before = Clock::now();
  SetDeadline(&context, std::chrono::seconds(30));
  Response response;
  ASSERT_TRUE(stub_->ModelInfer(&context, EchoRequest(1), &response).ok());
  const TimePoint deadline = sink_->seen().at(0).deadline;
  EXPECT_GT(deadline, before + std::chrono::seconds(29));
  EXPECT_LT(deadline, Clock::now() + std::chrono::seconds(31));
}

TEST_F(InferCallTest, ACallWithoutADeadlineHasNone) {
  grpc::ClientContext context;
  Response response;
  ASSERT_TRUE(stub_->ModelInfer(&context, EchoRequest(1), &response).ok());
  EXPECT_EQ(sink_->seen().at(0).deadline, TimePoint::max());
}

TEST_F(InferCallTest, ASuccessIsRecordedWithItsRowsAndDurations) {
  Response response;
  ASSERT_TRUE(Infer(EchoRequest(5), &response).ok());
  const BlockStatistics statistics = StatisticsAfter(1);
  EXPECT_EQ(statistics.success.count, 1u);
  EXPECT_EQ(statistics.fail.count, 0u);
  EXPECT_EQ(statistics.inference_count, 5u);
  EXPECT_EQ(statistics.queue.count, 1u);
  EXPECT_EQ(statistics.queue.ns, 1000u);
  EXPECT_EQ(statistics.compute_infer.ns, 1000u);
  EXPECT_GT(statistics.success.ns, 0u);
}

TEST_F(InferCallTest, WrongRequestsGetTheCodeAndTheReason) {
  Request request = EchoRequest(2);
  request.mutable_inputs(0)->set_name("z");
  grpc::Status status = InferError(request);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "block \"echo\": expected input \"x\", found \"z\"");
  EXPECT_EQ(StatisticsAfter(1).fail.count, 1u);

  request = EchoRequest(2);
  request.set_model_name("nobody");
  status = InferError(request);
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), testing::HasSubstr("nobody"));

  request = EchoRequest(2);
  request.set_model_version("9");
  EXPECT_EQ(InferError(request).error_code(), StatusCode::NOT_FOUND);
  request.set_model_version("latest");
  EXPECT_EQ(InferError(request).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(sink_->seen().empty());
}

TEST_F(InferCallTest, RefusalsOfUnknownBlocksAreCounted) {
  Request request = EchoRequest(1);
  request.set_model_name("nobody");
  InferError(request);
  EXPECT_THAT(metrics_.Text(), testing::ContainsRegex("request_failures_total.*NOT_FOUND"));
}

TEST_F(InferCallTest, BytesThatAreNoMessageAreInvalid) {
  const grpc::Status status = CallByName("/inference.GRPCInferenceService/ModelInfer", "\x0a\xff");
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), testing::HasSubstr("malformed ModelInferRequest"));
}

TEST_F(InferCallTest, ABlockThatIsNotReadyIsUnavailableAndSaysWhy) {
  PutEcho([](CatalogEntry* entry) {
    entry->state = BlockState::kFailed;
    entry->reason = "fc0.weight: expected shape [4, 4], found [3, 4]";
    entry->sink = nullptr;
    entry->metrics = nullptr;
  });
  const grpc::Status status = InferError(EchoRequest(1));
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), testing::HasSubstr("found [3, 4]"));
}

TEST_F(InferCallTest, AFullQueueTellsWhenToTryAgain) {
  sink_->FailWith(absl::ResourceExhaustedError("65536 rows are queued"));
  grpc::ClientContext context;
  SetDeadline(&context);
  Response response;
  const grpc::Status status = stub_->ModelInfer(&context, EchoRequest(1), &response);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "block \"echo\": 65536 rows are queued");
  const auto& trailers = context.GetServerTrailingMetadata();
  EXPECT_EQ(trailers.count("grpc-retry-pushback-ms"), 1u);
}

TEST_F(InferCallTest, EveryCodeOfASinkReachesTheClient) {
  for (const absl::StatusCode code :
       {absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kUnavailable,
        absl::StatusCode::kInternal, absl::StatusCode::kInvalidArgument}) {
    sink_->FailWith(absl::Status(code, "because"));
    const grpc::Status status = InferError(EchoRequest(1));
    EXPECT_EQ(static_cast<int>(status.error_code()), static_cast<int>(code));
    EXPECT_EQ(status.error_message(), "block \"echo\": because");
  }
}

TEST_F(InferCallTest, AClientThatLeavesCancelsItsRequest) {
  sink_->Hold();
  auto call = Begin(EchoRequest(1), std::chrono::seconds(30));
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  call->context.TryCancel();
  call->thread.join();
  EXPECT_EQ(call->status.error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(sink_->WaitUntilCancelled(1));
  EXPECT_TRUE(sink_->WaitUntilHeld(0));
  EXPECT_EQ(StatisticsAfter(1).fail.count, 1u);
}

TEST_F(InferCallTest, ADeadlineIsLeftToTheSink) {
  sink_->Hold();
  auto call = Begin(EchoRequest(1), std::chrono::milliseconds(200));
  call->thread.join();
  EXPECT_EQ(call->status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  // It knows the deadline, and would answer with its code; here the test does, too late.
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  // The server's, which began when the call came to it, ends after the client's.
  while (Clock::now() < sink_->seen()[0].deadline) std::this_thread::yield();
  sink_->Release();
  EXPECT_EQ(StatisticsAfter(1).fail.count, 1u);  // nobody has the answer: it is no success
}

TEST_F(InferCallTest, ACancelledRequestThatRunsOnIsAnsweredToNobody) {
  sink_->Hold();
  auto call = Begin(EchoRequest(1), std::chrono::seconds(30));
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  sink_->Release();  // races with the client's leaving
  call->context.TryCancel();
  call->thread.join();
  Response response;
  // The server lives on.
  auto other = Begin(EchoRequest(2), std::chrono::seconds(30));
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  sink_->Release();
  other->thread.join();
  EXPECT_TRUE(other->status.ok());
}

TEST_F(InferCallTest, ManyCallsAtOnceAndSomeCancelledDisturbNobody) {
  const int wrong = CountFailed(8, 200, [&](int client, int i) {
    const Request request = EchoRequest(1 + (i * 37 + client) % 3000);
    grpc::ClientContext context;
    SetDeadline(&context, std::chrono::seconds(60));
    std::thread leaving;
    if (i % 7 == 0) leaving = std::thread([&context] { context.TryCancel(); });
    Response response;
    const grpc::Status status = stub_->ModelInfer(&context, request, &response);
    if (leaving.joinable()) leaving.join();
    const bool answered =
        status.ok() && response.raw_output_contents(0) == request.raw_input_contents(0);
    const bool left = i % 7 == 0 && status.error_code() == StatusCode::CANCELLED;
    return answered || left;
  });
  EXPECT_EQ(wrong, 0);
}

TEST_F(InferCallTest, MoreCallsThanWereAskedForAheadAllArrive) {
  sink_->Hold();
  constexpr size_t kCalls = 4 * InferCalls::kRequestedAhead + 1;
  std::vector<std::unique_ptr<Pending>> calls;
  for (size_t i = 0; i < kCalls; ++i) {
    calls.push_back(Begin(EchoRequest(1), std::chrono::seconds(30)));
  }
  EXPECT_TRUE(sink_->WaitUntilHeld(kCalls));
  sink_->Release();
  for (auto& call : calls) {
    call->thread.join();
    EXPECT_TRUE(call->status.ok()) << call->status.error_message();
  }
}

TEST_F(InferCallTest, ASinkThatKeepsAThreadDoesNotStopTheOthers) {
  // As a backend does that computes on the thread that submits. A lock held by the test keeps the
  // first call inside Submit.
  struct Blocking : InferSink {
    void Submit(InferRequest& request) override {
      if (first.exchange(false)) {
        MutexLock lock(gate);
      }
      request.OnDone(absl::UnavailableError("passed"), {});
    }
    void Cancel(InferRequest&) override {}
    Mutex gate;
    std::atomic<bool> first{true};
  };
  auto blocking = std::make_shared<Blocking>();
  static std::shared_ptr<InferSink> sink;
  sink = blocking;
  PutEcho([](CatalogEntry* entry) { entry->sink = sink; });
  sink = nullptr;

  blocking->gate.Lock();
  auto stuck = Begin(EchoRequest(1), std::chrono::seconds(30));
  while (blocking->first) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(InferError(EchoRequest(1)).error_message(), "block \"echo\": passed");
  }
  blocking->gate.Unlock();
  stuck->thread.join();
  EXPECT_EQ(stuck->status.error_message(), "block \"echo\": passed");
}

}  // namespace
}  // namespace mlpserve
