#include "server/model/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/model/file_signature.h"
#include "tests/server/temporary_folder.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class RepositoryTest : public testing::Test {
 protected:
  // A model.json with these fields added, and version folders.
  void AddBlock(const std::string& name, const std::vector<std::string>& versions,
                const std::string& more = "") {
    std::string json = R"({"input": {"name": "x", "features": 1},
      "output": {"name": "y", "features": 1}, "layers": [{"name": "fc", "weight": "w"}])";
    if (!more.empty()) json.append(", ").append(more);
    folder_.Write(name + "/model.json", json.append("}"));
    for (const std::string& version : versions) AddFolder(absl::StrCat(name, "/", version));
  }

  void AddFolder(const std::string& name) {
    std::filesystem::create_directories(folder_.path(name));
  }

  RepositoryScan Scan() {
    const absl::StatusOr<RepositoryScan> scan = ScanRepository(folder_.path());
    EXPECT_TRUE(scan.ok()) << scan.status();
    return scan.value_or(RepositoryScan{});
  }

  // "name: reason" of what was ignored.
  std::vector<std::string> Ignored() {
    std::vector<std::string> lines;
    for (const IgnoredPath& path : Scan().ignored) {
      lines.push_back(path.path.substr(folder_.path().size() + 1) + ": " + path.reason);
    }
    return lines;
  }

  TemporaryFolder folder_;
};

TEST_F(RepositoryTest, WithoutAnythingHasNoBlocks) {
  EXPECT_THAT(Scan().blocks, IsEmpty());
  EXPECT_THAT(Scan().ignored, IsEmpty());
}

TEST_F(RepositoryTest, ThatIsNoFolderIsAnError) {
  const absl::Status missing = ScanRepository(folder_.path("none")).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr(folder_.path("none")));
  const absl::Status file = ScanRepository(folder_.Write("file", "")).status();
  EXPECT_EQ(file.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(RepositoryTest, GivesBlocksByNameWithTheirHighestVersion) {
  AddBlock("b", {"1", "2", "10"});
  AddBlock("a", {"9223372036854775807"});
  const RepositoryScan scan = Scan();
  ASSERT_THAT(scan.blocks, SizeIs(2));
  EXPECT_EQ(scan.blocks[0].name, "a");
  EXPECT_THAT(scan.blocks[0].versions, ElementsAre(INT64_MAX));
  EXPECT_EQ(scan.blocks[1].name, "b");
  EXPECT_EQ(scan.blocks[1].directory, folder_.path("b"));
  EXPECT_EQ(scan.blocks[1].config->directory, folder_.path("b"));
  EXPECT_THAT(scan.blocks[1].versions, ElementsAre(10));
  EXPECT_THAT(scan.ignored, IsEmpty());
}

TEST_F(RepositoryTest, FollowsTheVersionPolicy) {
  AddBlock("a", {"1", "2", "3"}, R"("version_policy": {"latest": 2})");
  AddBlock("b", {"1", "2", "3"}, R"("version_policy": {"all": true})");
  AddBlock("c", {"1", "2", "3"}, R"("version_policy": {"listed": [7, 1]})");
  const RepositoryScan scan = Scan();
  EXPECT_THAT(scan.blocks[0].versions, ElementsAre(2, 3));
  EXPECT_THAT(scan.blocks[1].versions, ElementsAre(1, 2, 3));
  EXPECT_THAT(scan.blocks[2].versions, ElementsAre(1, 7));  // loading 7 says that it is missing
}

TEST_F(RepositoryTest, KeepsABadBlockWithItsReasonBesideTheGoodOnes) {
  AddBlock("bad", {"1"}, R"("compute": "FP64")");
  AddBlock("good", {"1"});
  const RepositoryScan scan = Scan();
  ASSERT_THAT(scan.blocks, SizeIs(2));
  EXPECT_THAT(std::string(scan.blocks[0].config.status().message()),
              HasSubstr(folder_.path("bad/model.json")));
  EXPECT_THAT(scan.blocks[0].versions, IsEmpty());
  EXPECT_TRUE(scan.blocks[1].config.ok());
}

TEST_F(RepositoryTest, IgnoresWhatIsNoBlockAndSaysWhy) {
  const std::string kUnprintable = "its name holds control characters or is not UTF-8";
  AddFolder(".git/1");
  folder_.Write("README.md", "");
  AddFolder("no_json/1");
  AddFolder("triton/1");
  folder_.Write("triton/config.pbtxt", "");
  AddFolder("two\nlines/1");
  AddFolder("\xFF/1");
  EXPECT_THAT(Ignored(), ElementsAre(".git: its name begins with a dot", "README.md: not a folder",
                                     "no_json: no model.json in it",
                                     HasSubstr("triton: no model.json in it, but Triton's "),
                                     "two\nlines: " + kUnprintable, "\xFF: " + kUnprintable));
  EXPECT_THAT(Scan().blocks, IsEmpty());
}

TEST_F(RepositoryTest, KeepsABlockWithoutAVersionAndSaysWhatThereIs) {
  AddBlock("empty", {});
  AddBlock("odd", {"v1", "0", "01", "+1", "-1", "1a", "9223372036854775808"});
  folder_.Write("odd/1", "a file, not a folder");
  std::filesystem::create_symlink("nowhere", folder_.path("odd/2"));
  const RepositoryScan scan = Scan();
  ASSERT_THAT(scan.blocks, SizeIs(2));
  for (const RepositoryBlock& block : scan.blocks) {
    EXPECT_TRUE(absl::IsNotFound(block.config.status())) << block.config.status();
    EXPECT_THAT(block.versions, IsEmpty());
  }
  EXPECT_THAT(std::string(scan.blocks[0].config.status().message()), HasSubstr("found none"));
  for (const char* found :
       {"v1 (its name is no version", "01 (", "2 (a symbolic link that leads"}) {
    EXPECT_THAT(std::string(scan.blocks[1].config.status().message()), HasSubstr(found));
  }
}

TEST_F(RepositoryTest, KnowsTheOlderVersionsThatMayServeInstead) {
  AddBlock("latest", {"1", "2", "10"});
  AddBlock("listed", {"1", "2", "10"}, R"("version_policy": {"listed": ["2"]})");
  const RepositoryScan scan = Scan();
  EXPECT_THAT(scan.blocks[0].versions, ElementsAre(10));
  EXPECT_THAT(scan.blocks[0].fallbacks, ElementsAre(2, 1));
  EXPECT_THAT(scan.blocks[1].versions, ElementsAre(2));
  EXPECT_THAT(scan.blocks[1].fallbacks, IsEmpty());
}

TEST_F(RepositoryTest, ScansOneBlockByName) {
  AddBlock("a", {"1", "3"});
  AddFolder("triton/1");
  folder_.Write("triton/config.pbtxt", "");
  const auto block = ScanBlock(folder_.path(), "a");
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->name, "a");
  EXPECT_THAT(block->versions, ElementsAre(3));
  for (const char* name : {"b", "triton", "", "..", ".", "../a", "/etc", "a/1"}) {
    EXPECT_TRUE(absl::IsNotFound(ScanBlock(folder_.path(), name).status())) << name;
  }
}

TEST_F(RepositoryTest, ASignatureTellsAnotherFileFromTheSame) {
  AddBlock("a", {"1"});
  const std::string weights = folder_.Write("a/1/weights.safetensors", "one");
  const BlockSignature first = SignatureOf(*ScanBlock(folder_.path(), "a"));
  EXPECT_EQ(first, SignatureOf(*ScanBlock(folder_.path(), "a")));
  EXPECT_EQ(first.weights.at(1).bytes, 3);
  const auto time = std::filesystem::last_write_time(weights);
  folder_.Write("a/1/weights.safetensors", "two");
  std::filesystem::last_write_time(weights, time);  // as `cp -p` may leave it
  EXPECT_NE(first, SignatureOf(*ScanBlock(folder_.path(), "a")));
  EXPECT_EQ(SignatureOf(folder_.path("none")), FileSignature());
}

TEST_F(RepositoryTest, IgnoresFoldersOfABlockThatAreNoVersions) {
  AddBlock("a", {"1", "02", "0", "assets"});
  folder_.Write("a/test.safetensors", "");
  EXPECT_THAT(Scan().blocks[0].versions, ElementsAre(1));
  EXPECT_THAT(Ignored(), ElementsAre("a/0: its name is no version: an integer from 1 on",
                                     "a/02: its name is no version: an integer from 1 on",
                                     "a/assets: its name is no version: an integer from 1 on"));
}

TEST_F(RepositoryTest, FollowsSymbolicLinks) {
  const TemporaryFolder elsewhere;
  elsewhere.Write("data/2/weights.safetensors", "");
  AddBlock("..data/a", {});  // as Kubernetes mounts a volume
  AddFolder("a");
  std::filesystem::create_symlink("../..data/a/model.json", folder_.path("a/model.json"));
  std::filesystem::create_symlink(elsewhere.path("data/2"), folder_.path("a/2"));
  std::filesystem::create_symlink("nowhere", folder_.path("b"));
  std::filesystem::create_symlink("loop", folder_.path("loop"));
  const RepositoryScan scan = Scan();
  ASSERT_THAT(scan.blocks, SizeIs(1));
  EXPECT_TRUE(scan.blocks[0].config.ok()) << scan.blocks[0].config.status();
  EXPECT_THAT(scan.blocks[0].versions, ElementsAre(2));
  EXPECT_THAT(Ignored(), ElementsAre("..data: its name begins with a dot",
                                     "b: a symbolic link that leads nowhere", HasSubstr("loop: ")));
}

TEST_F(RepositoryTest, ReportsAModelJsonThatLeadsNowhere) {
  AddFolder("a/1");
  std::filesystem::create_symlink("nowhere", folder_.path("a/model.json"));
  const RepositoryScan scan = Scan();
  ASSERT_THAT(scan.blocks, SizeIs(1));
  EXPECT_EQ(scan.blocks[0].config.status().code(), absl::StatusCode::kNotFound);
}

// Runs the rest of a test as somebody whom file permissions bind.
class WithoutRoot {
 public:
  WithoutRoot() {
    if (was_root_ && seteuid(65534) != 0) ADD_FAILURE() << "cannot leave root";
  }
  WithoutRoot(const WithoutRoot&) = delete;
  WithoutRoot& operator=(const WithoutRoot&) = delete;
  ~WithoutRoot() {
    if (was_root_ && seteuid(0) != 0) ADD_FAILURE() << "cannot return to root";
  }

 private:
  const bool was_root_ = geteuid() == 0;
};

TEST_F(RepositoryTest, IgnoresAFileSystemsOwnFolder) {
  AddFolder("lost+found");
  std::filesystem::permissions(folder_.path(), std::filesystem::perms::all);
  std::filesystem::permissions(folder_.path("lost+found"), std::filesystem::perms::none);
  {
    const WithoutRoot without_root;
    EXPECT_THAT(Ignored(), ElementsAre("lost+found: a file system's own folder"));
  }
  std::filesystem::permissions(folder_.path("lost+found"), std::filesystem::perms::all);
}

TEST_F(RepositoryTest, ReportsAFolderThatCannotBeRead) {
  AddBlock("locked", {"1"});
  AddBlock("open", {"1"});
  std::filesystem::permissions(folder_.path(), std::filesystem::perms::all);
  std::filesystem::permissions(folder_.path("locked"), std::filesystem::perms::none);
  {
    const WithoutRoot without_root;
    const RepositoryScan scan = Scan();
    ASSERT_THAT(scan.blocks, SizeIs(2));
    EXPECT_EQ(scan.blocks[0].config.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(scan.blocks[0].config.status().message()), HasSubstr("locked: "));
    EXPECT_TRUE(scan.blocks[1].config.ok()) << scan.blocks[1].config.status();
    EXPECT_EQ(ScanRepository(folder_.path("locked")).status().code(),
              absl::StatusCode::kUnavailable);
  }
  std::filesystem::permissions(folder_.path("locked"), std::filesystem::perms::all);
}

TEST(SelectVersions, TakesWhatThereIsOfTheLatest) {
  const VersionPolicy policy{.kind = VersionPolicy::Kind::kLatest, .latest = 2};
  EXPECT_THAT(SelectVersions(policy, {}), IsEmpty());
  EXPECT_THAT(SelectVersions(policy, {5}), ElementsAre(5));
  EXPECT_THAT(SelectVersions(policy, {1, 5, 7}), ElementsAre(5, 7));
}

TEST(LogIgnored, WritesOneLineForEach) {
  testing::internal::CaptureStdout();
  LogIgnored({{}, {{"/m/a", "not a folder"}, {"/m/b", "no model.json in it"}}});
  std::istringstream lines(testing::internal::GetCapturedStdout());
  std::string line;
  std::getline(lines, line);
  EXPECT_THAT(line, EndsWith("model repository: /m/a ignored: not a folder"));
  std::getline(lines, line);
  EXPECT_THAT(line, EndsWith("model repository: /m/b ignored: no model.json in it"));
  EXPECT_FALSE(std::getline(lines, line)) << line;
}

}  // namespace
}  // namespace mlpserve
