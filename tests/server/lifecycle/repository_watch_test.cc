#include "server/lifecycle/repository_watch.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Change = RepositoryWatch::Change;
using Signatures = RepositoryWatch::Signatures;

FileSignature File(int64_t written) { return {.device = 1, .inode = 2, .written_ns = written}; }

BlockSignature Block(int64_t json, const std::map<int64_t, int64_t>& weights) {
  BlockSignature block{.model_json = File(json)};
  for (const auto& [version, written] : weights) block.weights[version] = File(written);
  return block;
}

TEST(RepositoryWatch, NothingChangesByItself) {
  RepositoryWatch watch({{"a", Block(1, {{1, 1}})}});
  for (int i = 0; i < 3; ++i) EXPECT_THAT(watch.Look({{"a", Block(1, {{1, 1}})}}), IsEmpty());
}

TEST(RepositoryWatch, AChangeIsToldOnceTwoLooksHaveFoundTheSame) {
  RepositoryWatch watch({{"a", Block(1, {{1, 1}, {2, 1}})}});
  const Signatures now{{"a", Block(1, {{1, 1}, {2, 5}})}};
  EXPECT_THAT(watch.Look(now), IsEmpty());
  EXPECT_THAT(watch.Look(now), ElementsAre(Change{.name = "a", .versions = {2}}));
  EXPECT_THAT(watch.Look(now), IsEmpty());
}

TEST(RepositoryWatch, AFileThatGoesOnChangingWaits) {
  RepositoryWatch watch({});
  for (int64_t written = 1; written < 5; ++written) {
    EXPECT_THAT(watch.Look({{"a", Block(1, {{1, written}})}}), IsEmpty());
  }
  EXPECT_THAT(watch.Look({{"a", Block(1, {{1, 4}})}}),
              ElementsAre(Change{.name = "a", .versions = {1}}));
}

TEST(RepositoryWatch, AnotherModelJsonChangesEveryVersion) {
  RepositoryWatch watch({{"a", Block(1, {{1, 1}, {2, 1}})}});
  const Signatures now{{"a", Block(2, {{1, 1}, {2, 1}})}};
  watch.Look(now);
  EXPECT_THAT(watch.Look(now), ElementsAre(Change{.name = "a", .versions = {1, 2}}));
}

TEST(RepositoryWatch, AFolderThatIsGoneForOneLookIsNotGone) {
  const Signatures before{{"a", Block(1, {{1, 1}})}};
  RepositoryWatch watch(before);
  EXPECT_THAT(watch.Look({}), IsEmpty());
  EXPECT_THAT(watch.Look(before), IsEmpty());
  EXPECT_THAT(watch.Look({}), IsEmpty());
  EXPECT_THAT(watch.Look({}), ElementsAre(Change{.name = "a", .gone = true}));
  EXPECT_THAT(watch.Look({}), IsEmpty());
  EXPECT_THAT(watch.Look(before), IsEmpty());
  EXPECT_THAT(watch.Look(before), ElementsAre(Change{.name = "a", .versions = {1}}));
}

TEST(RepositoryWatch, AChangeThatIsTakenBackIsNone) {
  const Signatures before{{"a", Block(1, {{1, 1}})}};
  RepositoryWatch watch(before);
  EXPECT_THAT(watch.Look({{"a", Block(1, {{1, 2}})}}), IsEmpty());
  EXPECT_THAT(watch.Look(before), IsEmpty());
  EXPECT_THAT(watch.Look({{"a", Block(1, {{1, 2}})}}), IsEmpty());
}

TEST(RepositoryWatch, AVersionThatIsGoneIsAChangeOfNoOther) {
  RepositoryWatch watch({{"a", Block(1, {{1, 1}, {2, 1}})}});
  const Signatures now{{"a", Block(1, {{1, 1}})}};
  watch.Look(now);
  EXPECT_THAT(watch.Look(now), ElementsAre(Change{.name = "a"}));
}

}  // namespace
}  // namespace mlpserve
