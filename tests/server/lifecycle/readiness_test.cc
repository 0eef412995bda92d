#include "server/lifecycle/readiness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlpserve {
namespace {

using ::testing::HasSubstr;

class ReadinessTest : public ::testing::Test {
 protected:
  void Put(const std::string& name, BlockState state) {
    CatalogEntry entry;
    entry.config.name = name;
    entry.version = 1;
    entry.state = state;
    catalog_.Put(std::move(entry));
  }
  std::string Reason() const { return std::string(Readiness(state_, catalog_).message()); }

  ServingState state_;
  Catalog catalog_;
};

TEST_F(ReadinessTest, AServerWithoutBlocksSaysSo) { EXPECT_THAT(Reason(), HasSubstr("no block")); }

TEST_F(ReadinessTest, WhatIsNotReadyIsNamed) {
  Put("loading", BlockState::kLoading);
  Put("broken", BlockState::kFailed);
  Put("fine", BlockState::kReady);
  EXPECT_EQ(Reason(), "broken is UNAVAILABLE, loading is LOADING");
}

TEST_F(ReadinessTest, ServingIsReadyAndDrainingIsNot) {
  state_.Advance(Phase::kServing);
  EXPECT_TRUE(Readiness(state_, catalog_).ok());
  state_.Advance(Phase::kDraining);
  EXPECT_EQ(Reason(), "draining");
}

TEST_F(ReadinessTest, StatesAreTheCatalogs) {
  Put("broken", BlockState::kFailed);
  const auto states = ModelStates(catalog_);
  ASSERT_EQ(states.size(), 1u);
  EXPECT_EQ(states[0].model, "broken");
  EXPECT_EQ(states[0].state, BlockState::kFailed);
}

}  // namespace
}  // namespace mlpserve
