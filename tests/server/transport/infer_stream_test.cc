// ModelStreamInfer over the wire: order, errors in their place, bounds, ends.
#include "server/transport/infer_stream.h"

#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

class InferStreamTest : public ServerTest {
 protected:
  using Answer = inference::ModelStreamInferResponse;

  struct Stream {
    explicit Stream(inference::GRPCInferenceService::Stub& stub,
                    std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
      SetDeadline(&context, timeout);
      calls = stub.ModelStreamInfer(&context);
    }
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<Request, Answer>> calls;
  };

  void SetUp() override {
    ServerTest::SetUp();
    Start(options_);
  }

  static Request Numbered(int number, int64_t rows = 1) {
    Request request = EchoRequest(rows);
    request.set_id(absl::StrCat(number));
    return request;
  }

  bool WaitUntilReceived(size_t requests) { return sink_->WaitUntilSeen(requests); }
};

TEST_F(InferStreamTest, AnswersComeInTheOrderOfTheRequests) {
  Stream stream(*stub_);
  constexpr int kRequests = 1000;
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) {
      ASSERT_TRUE(stream.calls->Write(Numbered(i, 1 + i % 5)));
    }
    stream.calls->WritesDone();
  });
  for (int i = 0; i < kRequests; ++i) {
    Answer answer;
    ASSERT_TRUE(stream.calls->Read(&answer)) << i;
    EXPECT_EQ(answer.error_message(), "");
    EXPECT_EQ(answer.infer_response().id(), absl::StrCat(i));
    EXPECT_EQ(answer.infer_response().raw_output_contents(0),
              EchoRequest(1 + i % 5).raw_input_contents(0));
    EXPECT_TRUE(answer.infer_response().parameters().empty());
  }
  writer.join();
  Answer none;
  EXPECT_FALSE(stream.calls->Read(&none));
  EXPECT_TRUE(stream.calls->Finish().ok());
}

TEST_F(InferStreamTest, AWrongRequestIsAnsweredInItsPlaceAndTheStreamGoesOn) {
  Stream stream(*stub_);
  Request wrong = Numbered(1);
  wrong.set_model_name("nobody");
  for (const Request& request : {Numbered(0), wrong, Numbered(2)}) {
    ASSERT_TRUE(stream.calls->Write(request));
  }
  stream.calls->WritesDone();
  Answer answers[3];
  for (Answer& answer : answers) ASSERT_TRUE(stream.calls->Read(&answer));
  EXPECT_EQ(answers[0].infer_response().id(), "0");
  EXPECT_THAT(answers[1].error_message(), HasSubstr("nobody"));
  EXPECT_EQ(answers[1].infer_response().id(), "1");
  EXPECT_EQ(answers[1].infer_response().parameters().at("grpc_status").int64_param(),
            StatusCode::NOT_FOUND);
  EXPECT_EQ(answers[2].error_message(), "");
  EXPECT_EQ(answers[2].infer_response().id(), "2");
  EXPECT_TRUE(stream.calls->Finish().ok());
}

TEST_F(InferStreamTest, WhoAsksForItIsToldThatAnAnswerIsTheLast) {
  Stream stream(*stub_);
  Request request = Numbered(0, 5000);  // long enough to be sent from where it lies
  (*request.mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(true);
  ASSERT_TRUE(stream.calls->Write(request));
  Answer answer;
  ASSERT_TRUE(stream.calls->Read(&answer));
  EXPECT_TRUE(answer.infer_response().parameters().at("triton_final_response").bool_param());
  EXPECT_TRUE(answer.infer_response().raw_output_contents(0) == request.raw_input_contents(0));
}

TEST_F(InferStreamTest, AStreamWithoutRequestsEndsWell) {
  Stream stream(*stub_);
  stream.calls->WritesDone();
  Answer none;
  EXPECT_FALSE(stream.calls->Read(&none));
  EXPECT_TRUE(stream.calls->Finish().ok());
}

TEST_F(InferStreamTest, NoMoreIsReadThanTheMostInFlight) {
  sink_->Hold();
  Stream stream(*stub_);
  constexpr size_t kRequests = InferStream::kMostInFlight + 10;
  std::thread writer([&] {
    for (size_t i = 0; i < kRequests; ++i) {
      stream.calls->Write(Numbered(static_cast<int>(i)));
    }
    stream.calls->WritesDone();
  });
  ASSERT_TRUE(sink_->WaitUntilHeld(InferStream::kMostInFlight));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(sink_->seen().size(), InferStream::kMostInFlight);
  sink_->Release();
  ASSERT_TRUE(sink_->WaitUntilHeld(10));
  sink_->Release();
  Answer answer;
  size_t answers = 0;
  while (stream.calls->Read(&answer)) ++answers;
  EXPECT_EQ(answers, kRequests);
  EXPECT_TRUE(stream.calls->Finish().ok());
  writer.join();
}

TEST_F(InferStreamTest, AClientThatDoesNotReadHoldsABoundedNumberOfAnswers) {
  Stream stream(*stub_);
  const Request request = EchoRequest(65536);  // of 1 MiB
  std::thread writer([&] {
    for (int i = 0; i < 100; ++i) {
      if (!stream.calls->Write(request)) return;
    }
  });
  ASSERT_TRUE(sink_->WaitUntilSeen(InferStream::kMostUnsentBytes >> 20));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  // What HTTP/2 and the sockets hold comes on top.
  EXPECT_LT(sink_->seen().size(), 60U);
  stream.context.TryCancel();
  writer.join();
}

TEST_F(InferStreamTest, WhatAClientThatLeavesHasAskedForIsCancelled) {
  sink_->Hold();
  {
    Stream stream(*stub_);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(stream.calls->Write(Numbered(i)));
    ASSERT_TRUE(sink_->WaitUntilHeld(5));
    stream.context.TryCancel();
  }
  EXPECT_TRUE(sink_->WaitUntilCancelled(5));
  EXPECT_TRUE(sink_->WaitUntilHeld(0));
}

TEST_F(InferStreamTest, TheStreamsDeadlineIsThatOfItsRequests) {
  Stream stream(*stub_, std::chrono::seconds(5));
  ASSERT_TRUE(stream.calls->Write(Numbered(0)));
  ASSERT_TRUE(WaitUntilReceived(1));
  const auto left = sink_->seen()[0].deadline - Clock::now();
  EXPECT_GT(left, std::chrono::seconds(3));
  EXPECT_LT(left, std::chrono::seconds(6));
}

TEST_F(InferStreamTest, EveryAnswerIsCountedAsThatOfACall) {
  Stream stream(*stub_);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(stream.calls->Write(Numbered(i, 2)));
  Request wrong = Numbered(3);
  wrong.mutable_inputs(0)->set_datatype("FP64");
  ASSERT_TRUE(stream.calls->Write(wrong));
  stream.calls->WritesDone();
  Answer answer;
  while (stream.calls->Read(&answer)) {
  }
  const BlockStatistics statistics = block_metrics_->Statistics();
  EXPECT_EQ(statistics.success.count, 3U);
  EXPECT_EQ(statistics.fail.count, 1U);
}

TEST_F(InferStreamTest, AnIdleStreamEndsWithUnavailableWhenTheServerShutsDown) {
  Stream stream(*stub_);
  ASSERT_TRUE(stream.calls->Write(Numbered(0)));
  Answer answer;
  ASSERT_TRUE(stream.calls->Read(&answer));
  const TimePoint begin = Clock::now();
  std::thread stop([&] { StopServer(Clock::now() + std::chrono::seconds(10)); });
  EXPECT_FALSE(stream.calls->Read(&answer));
  EXPECT_EQ(stream.calls->Finish().error_code(), StatusCode::UNAVAILABLE);
  stop.join();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(InferStreamTest, WhatIsInFlightIsAnsweredBeforeTheServerEndsTheStream) {
  sink_->Hold();
  Stream stream(*stub_);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(stream.calls->Write(Numbered(i)));
  ASSERT_TRUE(sink_->WaitUntilHeld(3));
  std::thread stop([&] { StopServer(Clock::now() + std::chrono::seconds(10)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  sink_->Release();
  Answer answer;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(stream.calls->Read(&answer));
    EXPECT_EQ(answer.infer_response().id(), absl::StrCat(i));
    EXPECT_EQ(answer.error_message(), "");
  }
  EXPECT_FALSE(stream.calls->Read(&answer));
  EXPECT_EQ(stream.calls->Finish().error_code(), StatusCode::UNAVAILABLE);
  stop.join();
}

TEST_F(InferStreamTest, ManyStreamsAtOnceThatEndAtRandomMoments) {
  const int failed = CountFailed(8, 30, [&](int client, int i) {
    Stream stream(*stub_);
    const int requests = (client * 7 + i) % 20;
    for (int r = 0; r < requests; ++r) stream.calls->Write(Numbered(r, 1 + r % 3));
    if (i % 3 == 0) {
      stream.context.TryCancel();
      return true;
    }
    stream.calls->WritesDone();
    Answer answer;
    int answers = 0;
    while (stream.calls->Read(&answer)) ++answers;
    return answers == requests && stream.calls->Finish().ok();
  });
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace mlpserve
