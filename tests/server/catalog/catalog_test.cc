#include "server/catalog/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace mlpserve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

CatalogEntry Entry(const std::string& name, int64_t version, BlockState state,
                   const std::string& reason = "") {
  CatalogEntry entry;
  entry.config.name = name;
  entry.version = version;
  entry.state = state;
  entry.reason = reason;
  return entry;
}

TEST(CatalogTest, UnknownBlockIsNotFound) {
  const Catalog catalog;
  const auto found = catalog.Find("b", "");
  EXPECT_EQ(found.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(found.status().message()), HasSubstr("\"b\""));
  EXPECT_TRUE(catalog.All().empty());
  EXPECT_TRUE(catalog.Versions("b").empty());
}

TEST(CatalogTest, HighestReadyVersionServesUnlessTheRequestNamesOne) {
  Catalog catalog;
  catalog.Put(Entry("b", 1, BlockState::kReady));
  catalog.Put(Entry("b", 2, BlockState::kReady));
  catalog.Put(Entry("b", 10, BlockState::kFailed, "no weights"));
  EXPECT_EQ((*catalog.Find("b", ""))->version, 2);
  EXPECT_EQ((*catalog.Find("b", "1"))->version, 1);
  EXPECT_EQ(catalog.Versions("b").size(), 3u);
}

TEST(CatalogTest, BlockThatIsNotReadyIsUnavailableWithItsReason) {
  Catalog catalog;
  catalog.Put(Entry("b", 1, BlockState::kLoading));
  EXPECT_EQ(catalog.Find("b", "").status().code(), absl::StatusCode::kUnavailable);
  catalog.Put(Entry("b", 1, BlockState::kFailed, "fc0.weight is missing"));
  const auto found = catalog.Find("b", "1");
  EXPECT_EQ(found.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(found.status().message()),
              AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("fc0.weight is missing")));
  EXPECT_EQ((*catalog.FindAny("b", ""))->state, BlockState::kFailed);
}

TEST(CatalogTest, UnknownVersionSaysWhatThereIs) {
  Catalog catalog;
  catalog.Put(Entry("b", 3, BlockState::kReady));
  catalog.Put(Entry("b", 4, BlockState::kReady));
  const auto found = catalog.Find("b", "5");
  EXPECT_EQ(found.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(found.status().message()), HasSubstr("3, 4"));
}

TEST(CatalogTest, VersionThatIsNoPositiveIntegerIsInvalid) {
  Catalog catalog;
  catalog.Put(Entry("b", 1, BlockState::kReady));
  for (const char* version : {"0", "-1", "1.0", "one", " 1", "99999999999999999999"}) {
    const auto found = catalog.Find("b", version);
    EXPECT_EQ(found.status().code(), absl::StatusCode::kInvalidArgument) << version;
    EXPECT_THAT(std::string(found.status().message()), HasSubstr(version));
  }
}

TEST(CatalogTest, EntryOutlivesItsReplacement) {
  Catalog catalog;
  catalog.Put(Entry("b", 1, BlockState::kReady));
  const Catalog::Entry old = *catalog.Find("b", "");
  catalog.Put(Entry("b", 1, BlockState::kUnloading));
  EXPECT_EQ(old->state, BlockState::kReady);
  EXPECT_EQ(catalog.All().front()->state, BlockState::kUnloading);
}

TEST(CatalogTest, RemovesAnEntryInTheStateThatIsNamedAndItsBlockWithTheLast) {
  Catalog catalog;
  catalog.Put(Entry("b", 1, BlockState::kReady));
  catalog.Put(Entry("b", 2, BlockState::kUnloading));
  catalog.Remove("b", 1, BlockState::kUnloading);  // it was loaded again meanwhile
  catalog.Remove("b", 3, BlockState::kUnloading);
  catalog.Remove("c", 1, BlockState::kUnloading);
  EXPECT_EQ(catalog.All().size(), 2u);
  catalog.Remove("b", 2, BlockState::kUnloading);
  EXPECT_EQ((*catalog.Find("b", ""))->version, 1);
  catalog.Remove("b", 1, BlockState::kReady);
  EXPECT_EQ(catalog.FindAny("b", "").status().code(), absl::StatusCode::kNotFound);
}

TEST(CatalogTest, ReadersSeeOneStateOrTheOtherWhileItIsReplaced) {
  Catalog catalog;
  catalog.Put(Entry("b", 1, BlockState::kReady));
  std::thread writer([&catalog] {
    for (int64_t version = 2; version < 200; version++) {
      catalog.Put(Entry("b", version, BlockState::kReady));
    }
  });
  int64_t last = 0;
  while (last < 199) {
    const int64_t version = (*catalog.Find("b", ""))->version;
    EXPECT_GE(version, last);
    last = version;
  }
  writer.join();
}

}  // namespace
}  // namespace mlpserve
