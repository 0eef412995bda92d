#include "server/tools/bench/batch_trace.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace mlpserve::tools {
namespace {

using std::chrono::microseconds;

TracedBatch Batch(int lane, int begin, int copied_in, int computed, int copied_out) {
  return {.lane = lane,
          .rows = 16,
          .marks = {microseconds(begin), microseconds(copied_in), microseconds(computed),
                    microseconds(copied_out)}};
}

TEST(BatchTraceTest, NothingIsCopiedBesideBatchesOneAfterTheOther) {
  EXPECT_EQ(CopiedWhileComputing({}), 0);
  EXPECT_EQ(CopiedWhileComputing({Batch(0, 0, 10, 30, 40), Batch(1, 40, 50, 70, 80)}), 0);
}

TEST(BatchTraceTest, CopiesBesideAnotherBatchCountOnce) {
  // Computed from 10 to 30 and from 30 to 50; copied beside it from 20 to 30 and from 30 to 40, and
  // a second time from 25 to 30.
  const std::vector<TracedBatch> batches = {Batch(0, 0, 10, 30, 40), Batch(1, 20, 30, 50, 60),
                                            Batch(2, 25, 30, 50, 60)};
  EXPECT_DOUBLE_EQ(CopiedWhileComputing(batches), 0.5);
}

TEST(BatchTraceTest, EveryPartOfABatchIsABoxOnTheLineOfItsLane) {
  const auto json = nlohmann::json::parse(ToChromeTrace({Batch(1, 5, 10, 30, 42)}));
  const auto& events = json.at("traceEvents");
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].at("name"), "copy in");
  EXPECT_EQ(events[2].at("name"), "copy out");
  for (const auto& event : events) {
    EXPECT_EQ(event.at("ph"), "X");
    EXPECT_EQ(event.at("tid"), 1);
    EXPECT_EQ(event.at("args").at("rows"), 16);
  }
  EXPECT_EQ(events[1].at("ts"), 10);
  EXPECT_EQ(events[1].at("dur"), 20);
}

TEST(BatchTraceTest, AFileThatCannotBeWrittenIsNamed) {
  EXPECT_EQ(WriteTrace({}, "/no/such/folder/trace.json").message(),
            "cannot write /no/such/folder/trace.json");
}

}  // namespace
}  // namespace mlpserve::tools
