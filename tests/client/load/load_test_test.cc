// The whole of it against a server in the same process.
#include "client/load/load_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/client/fake_server.h"

namespace mlpserve::load {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class LoadTestTest : public ::testing::Test {
 protected:
  LoadTestTest() {
    arguments_.run.address = server_.address();
    arguments_.run.model = "double";
    arguments_.run.warm_up = milliseconds(50);
    arguments_.run.duration = milliseconds(300);
    arguments_.run.deadline = milliseconds(5000);
    arguments_.json = "-";
  }

  int Run() {
    out_.str("");
    err_.str("");
    const int code = RunLoadTest(arguments_, {out_, err_});
    json_ = out_.str().empty() ? nlohmann::json() : nlohmann::json::parse(out_.str());
    return code;
  }

  std::string Write(const std::string& name, const std::string& contents) {
    std::string file = ::testing::TempDir() + "/" + name;
    std::ofstream(file, std::ios::binary) << contents;
    return file;
  }

  // Every request takes this long.
  void Take(milliseconds time) {
    server_.service().infer = [time](const auto& request, auto& response) {
      std::this_thread::sleep_for(time);
      return client::FakeService::Double(request, response);
    };
  }

  client::FakeServer server_;
  Arguments arguments_;
  std::ostringstream out_, err_;
  nlohmann::json json_;
};

TEST_F(LoadTestTest, AClosedLoopKeepsThatManyInFlight) {
  Take(milliseconds(20));
  arguments_.concurrency = {1, 4};
  arguments_.rows = {2};
  ASSERT_EQ(Run(), 0) << err_.str();
  ASSERT_EQ(json_["results"].size(), 2U);
  for (const auto& result : json_["results"]) {
    const double rate = result["requests_per_s"], concurrency = result["concurrency"];
    EXPECT_LE(rate, concurrency / 0.020 * 1.1);
    EXPECT_GE(rate, concurrency / 0.020 * 0.3) << "of a busy machine";
    EXPECT_GE(result["latency_us"]["min"], 20'000);
    EXPECT_EQ(result["failed"], 0);
    EXPECT_FALSE(result.contains("server")) << "it keeps no statistics";
  }
  EXPECT_EQ(server_.service().most_at_once, 4);
}

TEST_F(LoadTestTest, AnOpenLoopSendsWhetherOrNotAnswersCome) {
  Take(milliseconds(100));
  arguments_.rates = {100};
  arguments_.run.arrivals = ArrivalKind::kConstant;
  ASSERT_EQ(Run(), 0) << err_.str();
  const auto& result = json_["results"][0];
  EXPECT_EQ(result["requests"], 30) << "those meant to be sent in the counted 300 ms";
  EXPECT_EQ(server_.service().calls, 35) << "and those of the warm-up";
  EXPECT_GT(server_.service().most_at_once, 5);
}

TEST_F(LoadTestTest, WhatWaitsForTheBoundIsLate) {
  Take(milliseconds(50));  // one at a time: 20/s of 100/s
  arguments_.rates = {100};
  arguments_.run.arrivals = ArrivalKind::kConstant;
  arguments_.run.max_in_flight = 1;
  arguments_.run.warm_up = milliseconds(0);
  EXPECT_EQ(Run(), 1);
  const auto& result = json_["results"][0];
  EXPECT_EQ(server_.service().most_at_once, 1);
  // Sent until a second after the end; the rest of the 30 never were.
  EXPECT_EQ(result["requests"].get<int>() + result["unsent"].get<int>(), 30);
  EXPECT_GT(result["unsent"], 0);
  EXPECT_GT(result["latency_us"]["p100"], 900'000) << "from the intended time";
  EXPECT_THAT(err_.str(), HasSubstr("of 30 requests failed"));
}

TEST_F(LoadTestTest, FailuresAreCountedByCodeAndEndInOne) {
  server_.service().infer = [&](const auto& request, auto& response) {
    if (server_.service().calls % 2 == 0) {
      return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "queue full");
    }
    return client::FakeService::Double(request, response);
  };
  EXPECT_EQ(Run(), 1);
  const auto& result = json_["results"][0];
  EXPECT_EQ(result["failures"]["RESOURCE_EXHAUSTED"]["first"], "queue full");
  EXPECT_NEAR(result["failed"].get<double>(), result["requests"].get<double>(), 1);
  EXPECT_THAT(err_.str(),
              AllOf(StartsWith("mlpserve-load: double ("), HasSubstr("requests failed")));
  arguments_.allow_errors = true;
  EXPECT_EQ(Run(), 0);
}

TEST_F(LoadTestTest, ADeadlinePassed) {
  Take(milliseconds(200));
  arguments_.run.deadline = milliseconds(20);
  EXPECT_EQ(Run(), 1);
  EXPECT_GT(json_["results"][0]["failures"]["DEADLINE_EXCEEDED"]["count"], 0);
  EXPECT_EQ(json_["results"][0]["requests"], 0);
}

TEST_F(LoadTestTest, AServerThatDoesNotAnswerIsNotAwaitedForever) {
  auto release = std::make_shared<std::atomic<bool>>(false);
  server_.service().infer = [release](const auto& request, auto& response) {
    while (!*release) std::this_thread::sleep_for(milliseconds(10));
    return client::FakeService::Double(request, response);
  };
  arguments_.run.deadline = milliseconds(0);
  arguments_.concurrency = {2};
  EXPECT_EQ(Run(), 1);
  const auto& failure = json_["results"][0]["failures"]["DEADLINE_EXCEEDED"];
  EXPECT_EQ(failure["count"], 2);
  EXPECT_EQ(failure["first"], "no answer ten seconds after the end");
  *release = true;
}

TEST_F(LoadTestTest, AnswersAreCompared) {
  const std::string x = Write("x.csv", "1,2,3\n4,5,6\n7,8,9\n");
  arguments_.data[""] = {x, ""};
  arguments_.expect["y"] = {Write("y.csv", "2,4,6\n8,10,12\n14,16,18\n"), ""};
  arguments_.rows = {1, 2};
  EXPECT_EQ(Run(), 0) << err_.str();
  arguments_.expect["y"] = {Write("wrong.csv", "2,4,6\n8,10,12\n14,16,19\n"), ""};
  EXPECT_EQ(Run(), 1);
  EXPECT_THAT(json_["results"][0]["failures"]["DATA_LOSS"]["first"].get<std::string>(),
              HasSubstr("output 'y', row 2, column 2: expected 19, found 18"));
  EXPECT_GT(json_["results"][0]["requests"], 0) << "two of three rows are right";
}

TEST_F(LoadTestTest, SharedMemoryIsRegisteredForAsLongAsItIsUsed) {
  std::atomic<int> registered = 0;
  server_.service().infer = [&](const inference::ModelInferRequest& request, auto& response) {
    const std::string& name =
        request.inputs(0).parameters().at("shared_memory_region").string_param();
    if (server_.service().regions.count(name) > 0) ++registered;
    EXPECT_EQ(request.raw_input_contents_size(), 0);
    response.add_outputs()->set_name("y");
    return grpc::Status::OK;
  };
  arguments_.shared_memory = true;
  arguments_.rows = {1, 2};
  EXPECT_EQ(Run(), 0) << err_.str();
  EXPECT_EQ(json_["shared_memory"], true);
  EXPECT_EQ(registered, server_.service().calls);
  EXPECT_TRUE(server_.service().regions.empty());
  server_.service().shares_memory = false;
  EXPECT_EQ(Run(), 1);
  EXPECT_THAT(err_.str(), HasSubstr("FAILED_PRECONDITION: no shared memory"));
}

class StreamedLoadTest : public LoadTestTest {
 protected:
  StreamedLoadTest() {
    arguments_.run.streaming = true;
    arguments_.run.deadline = milliseconds(0);
  }
};

TEST_F(StreamedLoadTest, EachRequestInFlightHasAStreamThatIsKept) {
  Take(milliseconds(10));
  arguments_.concurrency = {3};
  ASSERT_EQ(Run(), 0) << err_.str();
  EXPECT_GT(json_["results"][0]["requests"], 10);
  EXPECT_EQ(json_["streaming"], true);
  EXPECT_EQ(server_.service().streams, 3);
  EXPECT_EQ(server_.service().most_at_once, 3);
}

TEST_F(StreamedLoadTest, AnOpenLoopSendsInStreamsToo) {
  Take(milliseconds(100));
  arguments_.rates = {100};
  arguments_.run.arrivals = ArrivalKind::kConstant;
  ASSERT_EQ(Run(), 0) << err_.str();
  EXPECT_EQ(json_["results"][0]["requests"], 30);
  EXPECT_GT(server_.service().most_at_once, 5);
}

TEST_F(StreamedLoadTest, AnErrorInAStreamIsItsRequestsAlone) {
  server_.service().infer = [&](const auto& request, auto& response) {
    if (server_.service().calls % 2 == 0) {
      return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "queue full");
    }
    return client::FakeService::Double(request, response);
  };
  EXPECT_EQ(Run(), 1);
  const auto& result = json_["results"][0];
  EXPECT_EQ(result["failures"]["RESOURCE_EXHAUSTED"]["first"], "queue full");
  EXPECT_NEAR(result["failed"].get<double>(), result["requests"].get<double>(), 1);
  EXPECT_EQ(server_.service().streams, 1);
}

TEST_F(StreamedLoadTest, AStreamThatEndsIsFollowedByAnother) {
  server_.service().answers_of_a_stream = 10;
  EXPECT_EQ(Run(), 1);
  EXPECT_GT(server_.service().streams, 2);
  const auto& result = json_["results"][0];
  EXPECT_GT(result["requests"], 20);
  EXPECT_EQ(result["failures"]["UNAVAILABLE"]["first"],
            "the server ended the stream without an answer");
  server_.service().end_of_streams = grpc::StatusCode::UNAVAILABLE;
  EXPECT_EQ(Run(), 1);
  EXPECT_EQ(json_["results"][0]["failures"]["UNAVAILABLE"]["first"], "it ends");
}

TEST_F(StreamedLoadTest, AnswersAreCompared) {
  arguments_.data[""] = {Write("x.csv", "1,2,3\n4,5,6\n"), ""};
  arguments_.expect["y"] = {Write("y.csv", "2,4,6\n8,10,12\n"), ""};
  EXPECT_EQ(Run(), 0) << err_.str();
  arguments_.expect["y"] = {Write("wrong.csv", "2,4,6\n8,10,13\n"), ""};
  EXPECT_EQ(Run(), 1);
  EXPECT_THAT(json_["results"][0]["failures"]["DATA_LOSS"]["first"].get<std::string>(),
              HasSubstr("output 'y', row 1, column 2: expected 13, found 12"));
}

TEST_F(StreamedLoadTest, AServerThatDoesNotAnswerIsNotAwaitedForever) {
  auto release = std::make_shared<std::atomic<bool>>(false);
  server_.service().infer = [release](const auto& request, auto& response) {
    while (!*release) std::this_thread::sleep_for(milliseconds(10));
    return client::FakeService::Double(request, response);
  };
  EXPECT_EQ(Run(), 1);
  EXPECT_EQ(json_["results"][0]["failures"]["DEADLINE_EXCEEDED"]["count"], 1);
  *release = true;
}

TEST_F(LoadTestTest, TheHighestRateIsFound) {
  // Takes turns: 100/s and no more.
  auto turn = std::make_shared<std::mutex>();
  server_.service().infer = [turn](const auto& request, auto& response) {
    std::lock_guard lock(*turn);
    std::this_thread::sleep_for(milliseconds(10));
    return client::FakeService::Double(request, response);
  };
  arguments_.find_rate_p99 = milliseconds(500);
  arguments_.find_rate_from = 10;
  arguments_.run.arrivals = ArrivalKind::kConstant;
  arguments_.run.duration = milliseconds(1500);
  EXPECT_EQ(Run(), 0) << err_.str();
  const double rate = json_["found"][0]["rate"];
  EXPECT_GT(rate, 40) << "of a busy machine";
  // 500 ms behind after 1,500 ms at 150/s.
  EXPECT_LT(rate, 155);
}

TEST_F(LoadTestTest, WhatIsWrongIsOneLine) {
  const auto error = [&] {
    EXPECT_EQ(Run(), 1);
    std::string text = err_.str();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    return text;
  };
  arguments_.data["z"] = {Write("x.csv", "1,2,3\n"), ""};
  EXPECT_THAT(error(), HasSubstr("model 'double' has no input 'z'"));
  arguments_.data.clear();
  arguments_.run.server_pids = {1 << 29};
  EXPECT_THAT(error(), HasSubstr("NOT_FOUND: expected a process 536870912"));
  arguments_.run.server_pids.clear();
  arguments_.run.model = "other";
  EXPECT_THAT(error(), HasSubstr("NOT_FOUND: no block 'other'"));
  arguments_.run.model = "double";
  arguments_.json = "/nowhere/a.json";
  EXPECT_THAT(error(), HasSubstr("/nowhere/a.json: expected a file that can be written"));
  arguments_.json = "-";
  arguments_.rates = {0.001};
  EXPECT_THAT(error(), HasSubstr("expected requests in the counted time, found none"));
}

TEST_F(LoadTestTest, AStopEndsItSoonWithWhatWasCounted) {
  std::atomic<bool> stop = false;
  arguments_.run.stop = &stop;
  arguments_.run.duration = std::chrono::minutes(5);
  arguments_.concurrency = {1, 2};
  std::thread stopper([&] {
    while (server_.service().calls < 100) std::this_thread::sleep_for(milliseconds(1));
    std::this_thread::sleep_for(milliseconds(200));
    stop = true;
  });
  EXPECT_EQ(Run(), 1);
  stopper.join();
  ASSERT_EQ(json_["results"].size(), 1U) << "the second load was not begun";
  EXPECT_GT(json_["results"][0]["requests"], 0);
  EXPECT_LT(json_["results"][0]["seconds"], 60);
}

}  // namespace
}  // namespace mlpserve::load
