// Loading and unloading while it runs, on the fake backend.
#include "server/lifecycle/repository_control.h"

#include <atomic>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/engine/fake_backend.h"
#include "tests/server/lifecycle/tiny_repository.h"

namespace mlpserve {
namespace {

using testing::HasSubstr;

class RepositoryControlTest : public testing::Test {
 protected:
  // Loads what there is, and runs.
  void Start(std::chrono::milliseconds poll_interval = {}) {
    control_ = std::make_unique<RepositoryControl>(
        RepositoryControl::Options{.repository = repository_.folder().path(),
                                   .poll_interval = poll_interval,
                                   .max_message_bytes = int64_t{64} << 20,
                                   .on_change = [this] { ++changes_; }},
        loader_);
    const RepositoryScan scan = repository_.Scan();
    loader_.Announce(scan);
    loader_.Load(scan, {});
    control_->SetLoaded(scan);
    running_ = std::jthread([this](const std::stop_token& stop) { control_->Run(stop); });
  }
  void TearDown() override {
    Stop();
    control_.reset();
    loader_.Finish();
  }
  void Stop() {
    if (!running_.joinable()) return;
    running_.request_stop();
    running_.join();
  }

  std::future<absl::Status> BeginLoad(ModelControl::LoadRequest request) {
    auto answer = std::make_shared<std::promise<absl::Status>>();
    control_->Load(std::move(request),
                   [answer](const absl::Status& status) { answer->set_value(status); });
    return answer->get_future();
  }
  absl::Status Load(ModelControl::LoadRequest request) {
    return BeginLoad(std::move(request)).get();
  }
  absl::Status Unload(const std::string& name) {
    std::promise<absl::Status> answer;
    control_->Unload(name, [&](const absl::Status& status) { answer.set_value(status); });
    return answer.get_future().get();
  }
  std::string State(const std::string& name, const std::string& version = "") const {
    const auto entry = catalog_.FindAny(name, version);
    return entry.ok() ? std::string(Name((*entry)->state)) : "gone";
  }
  template <typename Condition>
  static bool WaitUntil(Condition condition) {
    const TimePoint limit = Clock::now() + std::chrono::seconds(10);
    while (!condition() && Clock::now() < limit) std::this_thread::yield();
    return condition();
  }
  std::string BytesOf(const std::string& name) const {
    std::ifstream file(repository_.folder().path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TinyRepository repository_{{"a", "b"}};
  FakeBackend backend_{{}};
  Metrics metrics_{{}};
  BatchThreads threads_{{.runners = 1}};
  Catalog catalog_;
  Retirer retirer_;
  Loader loader_{{.backend = backend_,
                  .threads = threads_,
                  .retirer = retirer_,
                  .catalog = catalog_,
                  .metrics = metrics_}};
  std::atomic<int> changes_{0};
  std::unique_ptr<RepositoryControl> control_;
  std::jthread running_;
};

TEST_F(RepositoryControlTest, ABlockIsUnloadedAndLoadedAtAClientsWish) {
  Start();
  EXPECT_TRUE(Unload("a").ok());
  EXPECT_TRUE(WaitUntil([&] { return State("a") == "gone"; }));
  EXPECT_TRUE(absl::IsNotFound(Unload("a")));
  EXPECT_TRUE(Load({.name = "a"}).ok());
  EXPECT_EQ(State("a"), "READY");
  EXPECT_GE(changes_, 3);
}

TEST_F(RepositoryControlTest, WhatCannotBeLoadedSaysWhy) {
  Start();
  EXPECT_TRUE(absl::IsNotFound(Load({.name = "nobody"})));
  EXPECT_TRUE(absl::IsNotFound(Load({.name = "../a"})));
  repository_.folder().Write("a/1/weights.safetensors", "no header");
  const absl::Status status = Load({.name = "a"});
  EXPECT_THAT(std::string(status.message()), HasSubstr("weights.safetensors"));
  EXPECT_EQ(State("a"), "READY");
}

TEST_F(RepositoryControlTest, AConfigMayBeSentInsteadOfTheRepositorys) {
  Start();
  std::string config = TinyRepository::kModelJson;
  config.replace(config.find("\"y\""), 3, "\"z\"");
  EXPECT_TRUE(Load({.name = "a", .config = config}).ok());
  EXPECT_EQ((*catalog_.Find("a", ""))->config.output.name, "z");
  EXPECT_THAT(std::string(Load({.name = "a", .config = "{"}).message()),
              HasSubstr("parameter \"config\""));
  EXPECT_EQ((*catalog_.Find("a", ""))->config.output.name, "z");
  EXPECT_TRUE(Load({.name = "a"}).ok());  // the repository's again
  EXPECT_EQ((*catalog_.Find("a", ""))->config.output.name, "y");
}

TEST_F(RepositoryControlTest, ABlockThatNoRepositoryHoldsMayBeSent) {
  Start();
  const std::string weights = BytesOf("a/1/weights.safetensors");
  EXPECT_TRUE(Load({.name = "sent",
                    .config = TinyRepository::kModelJson,
                    .files = {{"7/weights.safetensors", weights}}})
                  .ok());
  EXPECT_EQ(State("sent", "7"), "READY");
  for (const char* path : {"", "/etc/passwd", "../1/weights.safetensors", "1/weights", "01/x",
                           "1/../weights.safetensors", "v1/weights.safetensors"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        Load({.name = "sent", .config = TinyRepository::kModelJson, .files = {{path, weights}}})))
        << path;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(Load({.name = "../sent",
                                            .config = TinyRepository::kModelJson,
                                            .files = {{"1/weights.safetensors", weights}}})));
}

TEST_F(RepositoryControlTest, TooManyThatWaitAreRefused) {
  Start();
  backend_.HoldLoads(true);
  std::vector<std::future<absl::Status>> answers;
  answers.push_back(BeginLoad({.name = "a"}));
  ASSERT_TRUE(backend_.WaitUntilLoadIsHeld());
  for (size_t i = 0; i < RepositoryControl::kMostWaiting; ++i) {
    answers.push_back(BeginLoad({.name = "nobody"}));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(Load({.name = "a"})));
  backend_.HoldLoads(false);
  EXPECT_TRUE(answers[0].get().ok());
}

TEST_F(RepositoryControlTest, WhoWaitsWhenTheServerStopsIsToldSo) {
  Start();
  backend_.HoldLoads(true);
  std::vector<std::future<absl::Status>> answers;
  answers.push_back(BeginLoad({.name = "a"}));
  ASSERT_TRUE(backend_.WaitUntilLoadIsHeld());
  answers.push_back(BeginLoad({.name = "b"}));
  Stop();
  answers.push_back(BeginLoad({.name = "b"}));
  for (auto& answer : answers) EXPECT_TRUE(absl::IsUnavailable(answer.get()));
  EXPECT_EQ(State("a"), "READY");
}

TEST_F(RepositoryControlTest, PollingTakesNewVersionsAndBlocksAndLetsGoOfThoseThatLeft) {
  Start(std::chrono::milliseconds(10));
  repository_.AddVersion("a", 2);
  EXPECT_TRUE(WaitUntil([&] { return State("a", "2") == "READY"; }));
  EXPECT_TRUE(WaitUntil([&] { return State("a", "1") == "gone"; }));
  repository_.Add("c");
  EXPECT_TRUE(WaitUntil([&] { return State("c") == "READY"; }));
  std::filesystem::remove_all(repository_.folder().path("b"));
  EXPECT_TRUE(WaitUntil([&] { return State("b") == "gone"; }));
}

TEST_F(RepositoryControlTest, PollingLeavesWhatServesWhereFilesBecomeWrong) {
  Start(std::chrono::milliseconds(10));
  repository_.folder().Write("a/1/weights.safetensors", "no header");
  EXPECT_TRUE(WaitUntil([&] { return !(*catalog_.FindAny("a", ""))->reason.empty(); }));
  EXPECT_EQ(State("a"), "READY");
  repository_.AddVersion("a", 1);
  EXPECT_TRUE(WaitUntil([&] { return (*catalog_.FindAny("a", ""))->reason.empty(); }));
}

TEST_F(RepositoryControlTest, PollingOutlivesARepositoryThatCannotBeRead) {
  Start(std::chrono::milliseconds(10));
  const std::string path = repository_.folder().path();
  std::filesystem::rename(path, path + "_away");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(State("a"), "READY");
  std::filesystem::rename(path + "_away", path);
  repository_.AddVersion("a", 2);
  EXPECT_TRUE(WaitUntil([&] { return State("a", "2") == "READY"; }));
}

}  // namespace
}  // namespace mlpserve
