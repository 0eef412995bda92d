#include "server/lifecycle/loader.h"

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/engine/fake_backend.h"
#include "tests/server/lifecycle/tiny_repository.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// A row, and what it is answered with.
struct Request final : InferRequest {
  Request() {
    rows = 1;
    span_ = std::as_bytes(std::span(values_));
    input = {&span_, 1};
  }
  void OnDone(absl::Status answer, std::span<OutputRows> /*outputs*/) override {
    status = std::move(answer);
    sink.reset();
    done = true;
  }
  void Wait() const {
    while (!done) std::this_thread::yield();
  }

  std::shared_ptr<InferSink> sink;  // let go of within OnDone
  absl::Status status = absl::UnknownError("not done");
  std::atomic<bool> done{false};

 private:
  const float values_[TinyRepository::kFeatures] = {1, 2};
  std::span<const std::byte> span_;
};

class LoaderTest : public testing::Test {
 protected:
  explicit LoaderTest(const FakeBackend::Options& options = {}) : backend_(options) {}

  LoadSummary LoadAll(const std::stop_token& stop = {}) {
    const RepositoryScan scan = repository_.Scan();
    loader_->Announce(scan);
    return loader_->Load(scan, stop);
  }
  absl::Status Update(const std::string& name, const std::set<int64_t>& changed = {}) {
    const auto block = ScanBlock(repository_.folder().path(), name);
    EXPECT_TRUE(block.ok()) << block.status();
    return loader_->Update(*block, changed, {});
  }
  Catalog::Entry Entry(const std::string& name, const std::string& version = "") const {
    const auto entry = catalog_.FindAny(name, version);
    EXPECT_TRUE(entry.ok()) << entry.status();
    return entry.value_or(nullptr);
  }
  std::string State(const std::string& name, const std::string& version = "1") const {
    const auto entry = catalog_.FindAny(name, version);
    return entry.ok() ? std::string(Name((*entry)->state)) : "gone";
  }
  void WaitUntilGone(const std::string& name, const std::string& version = "1") const {
    while (State(name, version) != "gone") std::this_thread::yield();
  }

  TinyRepository repository_{{"a", "b"}};
  FakeBackend backend_;
  Metrics metrics_{{}};
  BatchThreads threads_{{.runners = 1}};
  Catalog catalog_;
  Retirer retirer_;
  std::unique_ptr<Loader> loader_ = std::make_unique<Loader>(Loader::Needs{.backend = backend_,
                                                                           .threads = threads_,
                                                                           .retirer = retirer_,
                                                                           .catalog = catalog_,
                                                                           .metrics = metrics_});

  void TearDown() override { loader_->Finish(); }
};

struct HeldLoaderTest : LoaderTest {
  HeldLoaderTest() : LoaderTest({.mode = FakeMode::kHeld}) {}
};

TEST_F(LoaderTest, EveryBlockIsLoadedAndServes) {
  const LoadSummary summary = LoadAll();
  EXPECT_EQ(summary.loaded, 2);
  EXPECT_EQ(State("a"), "READY");
  Request request;
  (*catalog_.Find("b", ""))->sink->Submit(request);
  EXPECT_TRUE(request.status.ok()) << request.status;
  EXPECT_THAT(metrics_.Text(), HasSubstr("mlpserve_block_memory_bytes{model=\"a\",version=\"1\","
                                         "kind=\"buffers\"} "));
}

TEST_F(LoaderTest, AFailedBlockSaysWhyAndHarmsNoOther) {
  repository_.folder().Write("b/1/weights.safetensors", "no header");
  const LoadSummary summary = LoadAll();
  EXPECT_EQ(summary.loaded, 1);
  EXPECT_THAT(summary.failed, ElementsAre("b/1"));
  EXPECT_EQ(State("a"), "READY");
  EXPECT_EQ(State("b"), "UNAVAILABLE");
  EXPECT_THAT((*catalog_.FindAny("b", "1"))->reason, HasSubstr("weights.safetensors"));
}

TEST_F(LoaderTest, AStoppedLoadEndsAndIsNoFailure) {
  backend_.HoldLoads(true);
  std::stop_source stop;
  LoadSummary summary;
  std::thread loading([&] { summary = LoadAll(stop.get_token()); });
  ASSERT_TRUE(backend_.WaitUntilLoadIsHeld());
  EXPECT_TRUE(backend_.last_control().may_measure);
  stop.request_stop();
  loading.join();
  EXPECT_EQ(summary.loaded, 0);
  EXPECT_THAT(summary.failed, ElementsAre());
  EXPECT_EQ(State("a"), "LOADING");
  EXPECT_EQ(State("b"), "LOADING");
}

TEST_F(LoaderTest, AnUnloadedBlockIsGoneWithItsMetricsAndTheOthersServe) {
  LoadAll();
  EXPECT_TRUE(loader_->Unload("a", 1).ok());
  WaitUntilGone("a");
  EXPECT_EQ(catalog_.Find("a", "").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(metrics_.Text(), Not(HasSubstr("model=\"a\",version")));
  Request request;
  (*catalog_.Find("b", ""))->sink->Submit(request);
  EXPECT_TRUE(request.status.ok());
}

TEST_F(LoaderTest, WhatIsNotLoadedCannotBeUnloaded) {
  LoadAll();
  EXPECT_EQ(loader_->Unload("c", 1).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(loader_->Unload("a", 2).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(loader_->Unload("a", 1).ok());
  EXPECT_EQ(loader_->Unload("a", 1).code(), absl::StatusCode::kNotFound);
}

TEST_F(HeldLoaderTest, ABlockIsUnloadingUntilTheRequestsThatItHasAreServed) {
  LoadAll();
  Request first, second;
  const auto sink = (*catalog_.Find("a", ""))->sink;
  sink->Submit(first);
  second.sink = sink;
  sink->Submit(second);
  EXPECT_TRUE(loader_->Unload("a", 1).ok());
  EXPECT_EQ(catalog_.Find("a", "1").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(State("a"), "UNLOADING");
  backend_.ReleaseAll();
  first.Wait();
  second.Wait();
  EXPECT_TRUE(first.status.ok());
  EXPECT_TRUE(second.status.ok());
}

// The last reference goes within OnDone, on the batcher's own way: were the block ended there, it
// would wait for itself.
TEST_F(HeldLoaderTest, ARequestMayDropTheLastReferenceToItsBlock) {
  LoadAll();
  Request request;
  request.sink = (*catalog_.Find("a", ""))->sink;
  request.sink->Submit(request);
  EXPECT_TRUE(loader_->Unload("a", 1).ok());
  backend_.ReleaseAll();
  request.Wait();
  EXPECT_TRUE(request.status.ok());
  WaitUntilGone("a");
}

TEST_F(LoaderTest, BlocksAreUnloadedUnderLoad) {
  LoadAll();
  std::atomic<bool> unloaded{false};
  std::vector<std::thread> clients;
  std::atomic<int> served{0}, refused{0}, wrong{0};
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      for (bool last = false; !last;) {
        last = unloaded;  // once more, after it is gone
        const auto entry = catalog_.Find("a", "");
        if (!entry.ok()) {
          ++refused;
          continue;
        }
        Request request;
        (*entry)->sink->Submit(request);
        request.Wait();
        ++(request.status.ok() ? served : wrong);
      }
    });
  }
  while (served < 100) std::this_thread::yield();
  EXPECT_TRUE(loader_->Unload("a", 1).ok());
  WaitUntilGone("a");
  unloaded = true;
  for (std::thread& client : clients) client.join();
  EXPECT_GE(refused, 3);
  EXPECT_EQ(wrong, 0);
}

TEST_F(LoaderTest, WhereTheNewestVersionFailsTheNewestGoodOneServes) {
  repository_.AddVersion("a", 2);
  repository_.folder().Write("a/3/weights.safetensors", "no header");
  const LoadSummary summary = LoadAll();
  EXPECT_THAT(summary.failed, ElementsAre("a/3"));
  EXPECT_EQ((*catalog_.Find("a", ""))->version, 2);
  EXPECT_EQ(State("a", "3"), "UNAVAILABLE");
  EXPECT_EQ(State("a", "1"), "gone");
}

TEST_F(LoaderTest, AVersionIsLoadedAgainBesideTheOldOneWithOneSwap) {
  LoadAll();
  const Catalog::Entry old = Entry("a");
  backend_.HoldLoads(true);
  std::thread updating([&] { EXPECT_TRUE(Update("a", {1}).ok()); });
  ASSERT_TRUE(backend_.WaitUntilLoadIsHeld());
  EXPECT_FALSE(backend_.last_control().may_measure);
  EXPECT_EQ(Entry("a"), old);  // meanwhile
  backend_.HoldLoads(false);
  updating.join();
  EXPECT_EQ(State("a"), "READY");
  EXPECT_NE(Entry("a")->sink, old->sink);
  EXPECT_EQ(Entry("a")->metrics, old->metrics);  // counters go on
  Request late;                                  // of who had found the old one
  old->sink->Submit(late);
  EXPECT_TRUE(late.status.ok());
  EXPECT_THAT(metrics_.Text(), HasSubstr("mlpserve_reloads_total{model=\"a\"} 1"));
}

TEST_F(LoaderTest, WhatHasNotChangedIsNotLoadedAgain) {
  LoadAll();
  const Catalog::Entry old = Entry("a");
  EXPECT_TRUE(Update("a").ok());
  EXPECT_EQ(Entry("a"), old);
  EXPECT_THAT(metrics_.Text(), Not(HasSubstr("mlpserve_reloads_total{")));
}

TEST_F(LoaderTest, ANewVersionReplacesTheOldOne) {
  LoadAll();
  repository_.AddVersion("a", 2);
  EXPECT_TRUE(Update("a").ok());
  EXPECT_EQ((*catalog_.Find("a", ""))->version, 2);
  WaitUntilGone("a", "1");
  EXPECT_THAT(metrics_.Text(), Not(HasSubstr("model=\"a\",version=\"1\"")));
}

TEST_F(LoaderTest, ANewVersionThatFailsLeavesTheOldOneAndSaysWhy) {
  LoadAll();
  const Catalog::Entry old = Entry("a", "1");
  repository_.folder().Write("a/2/weights.safetensors", "no header");
  EXPECT_TRUE(absl::IsInvalidArgument(Update("a")));
  EXPECT_EQ(Entry("a", "1"), old);
  EXPECT_EQ((*catalog_.Find("a", ""))->version, 1);
  EXPECT_EQ(State("a", "2"), "UNAVAILABLE");
  EXPECT_THAT(metrics_.Text(), HasSubstr("mlpserve_model_load_failures_total{model=\"a\"} 1"));
  // And what is mended later is taken.
  repository_.AddVersion("a", 2);
  EXPECT_TRUE(Update("a").ok());
  EXPECT_EQ((*catalog_.Find("a", ""))->version, 2);
}

TEST_F(LoaderTest, FilesThatBecomeWrongLeaveWhatServesAndSayWhy) {
  LoadAll();
  repository_.folder().Write("a/1/weights.safetensors", "no header");
  EXPECT_TRUE(absl::IsInvalidArgument(Update("a", {1})));
  EXPECT_EQ(State("a"), "READY");
  EXPECT_THAT(Entry("a")->reason, HasSubstr("weights.safetensors"));
  repository_.folder().Write("a/model.json", "{");
  EXPECT_TRUE(absl::IsInvalidArgument(Update("a", {1})));
  EXPECT_EQ(State("a"), "READY");
  EXPECT_THAT(Entry("a")->reason, HasSubstr("model.json"));
  EXPECT_THAT(metrics_.Text(), HasSubstr("mlpserve_model_load_failures_total{model=\"a\"} 2"));
  Request request;
  Entry("a")->sink->Submit(request);
  EXPECT_TRUE(request.status.ok());
  // Mended, it says nothing any more.
  repository_.Add("a");
  EXPECT_TRUE(Update("a", {1}).ok());
  EXPECT_EQ(Entry("a")->reason, "");
}

TEST_F(LoaderTest, ABlockThatHadFailedIsLoadedWhenItIsMended) {
  repository_.folder().Write("b/model.json", "{");
  LoadAll();
  EXPECT_EQ(Entry("b")->state, BlockState::kFailed);
  repository_.Add("b");
  EXPECT_TRUE(Update("b").ok());
  EXPECT_EQ(catalog_.Versions("b").size(), 1U);  // the failure is forgotten
  EXPECT_EQ(State("b"), "READY");
}

TEST_F(LoaderTest, EveryVersionIsUnloadedByName) {
  repository_.folder().Write("b/model.json", "{");
  LoadAll();
  EXPECT_TRUE(loader_->UnloadAll("a").ok());
  EXPECT_TRUE(loader_->UnloadAll("b").ok());  // which had failed
  WaitUntilGone("a");
  EXPECT_TRUE(catalog_.All().empty());
  EXPECT_TRUE(absl::IsNotFound(loader_->UnloadAll("a")));
}

TEST_F(HeldLoaderTest, TheEndServesWhatIsInFlightAndLeavesNothing) {
  LoadAll();
  Request request;
  request.sink = (*catalog_.Find("a", ""))->sink;
  request.sink->Submit(request);
  std::thread finishing([&] { loader_->Finish(); });
  backend_.ReleaseAll();
  finishing.join();
  request.Wait();
  EXPECT_TRUE(request.status.ok());
  EXPECT_TRUE(catalog_.All().empty());
  EXPECT_THAT(metrics_.Text(), Not(HasSubstr("model=\"a\",version")));
}

}  // namespace
}  // namespace mlpserve
