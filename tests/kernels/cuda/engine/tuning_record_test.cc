#include "kernels/cuda/engine/tuning_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace mlpserve::cuda {
namespace {

class TuningRecordTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }

  std::string Path() const { return directory_ + "/key.tuning"; }

  const std::string directory_ = testing::TempDir() + "tuning_record_test";
};

TEST_F(TuningRecordTest, WhatWasAddedIsReadBack) {
  ASSERT_TRUE(TuningRecord(directory_, "key").Add({{16, 30.5, "a.b"}, {16, 0, "c"}}).ok());
  ASSERT_TRUE(TuningRecord(directory_, "key").Add({{32, 40, "a.b"}}).ok());
  const TuningRecord record(directory_, "key");
  ASSERT_EQ(record.At(16).size(), 2u);
  EXPECT_EQ(record.At(16)[0].variant, "a.b");
  EXPECT_DOUBLE_EQ(record.At(16)[0].us, 30.5);
  EXPECT_EQ(record.At(16)[1].us, 0);
  EXPECT_EQ(record.At(32).size(), 1u);
  EXPECT_TRUE(record.At(64).empty());
  EXPECT_TRUE(TuningRecord(directory_, "other").At(16).empty());
}

TEST_F(TuningRecordTest, MeasuringAgainReplaces) {
  TuningRecord record(directory_, "key");
  ASSERT_TRUE(record.Add({{16, 1, "a"}, {16, 2, "b"}}).ok());
  ASSERT_TRUE(record.Add({{16, 3, "c"}}).ok());
  ASSERT_EQ(TuningRecord(directory_, "key").At(16).size(), 1u);
}

TEST_F(TuningRecordTest, ADamagedFileIsAnEmptyRecord) {
  for (const char* text :
       {"", "16 1.0 a\n", "16 1.0\nend\n", "16 nan a\nend\n", "16 -1 a\nend\n", "x y z\nend\n"}) {
    std::ofstream(Path()) << text;
    EXPECT_TRUE(TuningRecord(directory_, "key").At(16).empty()) << text;
  }
}

TEST_F(TuningRecordTest, WithoutADirectoryARecordEndsWithItsObject) {
  TuningRecord record("", "key");
  EXPECT_TRUE(record.Add({{16, 1, "a"}}).ok());
  EXPECT_EQ(record.At(16).size(), 1u);
  EXPECT_TRUE(TuningRecord("", "key").At(16).empty());
}

TEST_F(TuningRecordTest, ADirectoryThatCannotBeWrittenIsSaidAndCostsNoMeasurement) {
  TuningRecord record(directory_ + "/none", "key");
  const absl::Status status = record.Add({{16, 1, "a"}});
  EXPECT_EQ(record.At(16).size(), 1u);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("none/key.tuning"));
}

TEST(PickFastestTest, TheFirstIsLeftOnlyForAGain) {
  EXPECT_EQ(PickFastest({{1, 100, "plain"}, {1, 99, "other"}}, 0.02), 0u);
  EXPECT_EQ(PickFastest({{1, 100, "plain"}, {1, 97, "other"}, {1, 90, "best"}}, 0.02), 2u);
}

TEST(PickFastestTest, WhatCannotRunIsNeverPicked) {
  EXPECT_EQ(PickFastest({{1, 0, "plain"}, {1, 50, "other"}}, 0.02), 1u);
  EXPECT_EQ(PickFastest({{1, 100, "plain"}, {1, 0, "other"}}, 0.02), 0u);
}

}  // namespace
}  // namespace mlpserve::cuda
