#include "server/status/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace mlpserve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class StatusTest : public ::testing::Test {
 protected:
  CatalogEntry Digits(BlockState state) {
    CatalogEntry entry{.version = 1, .state = state};
    entry.config.name = "digits";
    if (state == BlockState::kReady) entry.metrics = block_;
    return entry;
  }

  std::string Page() { return status_.Page(); }

  Catalog catalog_;
  Metrics metrics_{{}};
  std::shared_ptr<BlockMetrics> block_ = metrics_.AddBlock("digits", 1);
  absl::Status ready_ = absl::UnavailableError("digits is LOADING");
  Status status_{
      {.version = "1.2.3", .backend = "cpu", .devices = {"two cores"}}, catalog_, metrics_, [this] {
        return ready_;
      }};
};

TEST_F(StatusTest, FollowsTheCatalogAndTheReadiness) {
  EXPECT_THAT(Page(), AllOf(HasSubstr("There is no block"), HasSubstr("digits is LOADING"),
                            HasSubstr("1.2.3"), HasSubstr("two cores")));
  catalog_.Put(Digits(BlockState::kLoading));
  EXPECT_THAT(Page(), HasSubstr(">LOADING<"));
  catalog_.Put(Digits(BlockState::kReady));
  ready_ = absl::OkStatus();
  EXPECT_THAT(Page(), AllOf(HasSubstr(">READY<"), HasSubstr(">ready<")));
}

TEST_F(StatusTest, ShowsTheQueue) {
  metrics_.SetQueue("digits", 1,
                    [] { return QueueState{.queued_rows = 77, .queued_rows_limit = 100}; });
  catalog_.Put(Digits(BlockState::kReady));
  EXPECT_THAT(Page(), HasSubstr("77 rows"));
}

TEST_F(StatusTest, ShowsWhatABlockHolds) {
  metrics_.SetMemory("digits", 1, [] { return BlockMemory{.weights = 1024, .buffers = 1024}; });
  catalog_.Put(Digits(BlockState::kReady));
  EXPECT_THAT(Page(), HasSubstr("2.0 KiB"));
}

TEST_F(StatusTest, ShowsWhatHappensBetweenTheFirstReadingAndThePage) {
  catalog_.Put(Digits(BlockState::kReady));
  for (int i = 0; i < 1000; ++i) {
    block_->RecordRequest({.total = std::chrono::milliseconds(3), .rows = 2});
  }
  // The sampler may not have begun yet: then there is nothing to compare with.
  for (int i = 0;
       i < 500 && Page().find("<b>0</b><span class=\"faint\">requests/s") != std::string::npos;
       ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    block_->RecordRequest({.total = std::chrono::milliseconds(3), .rows = 2});
  }
  EXPECT_THAT(Page(), AllOf(HasSubstr("ms"),
                            ::testing::Not(HasSubstr("<b>0</b><span class=\"faint\">requests/s"))));
}

}  // namespace
}  // namespace mlpserve
