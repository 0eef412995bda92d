#include "server/shared_memory/system_region.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/shared_memory/shared_object.h"

namespace mlpserve {
namespace {

using testing::HasSubstr;

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

absl::Status OpenError(const std::string& key, uint64_t offset = 0, uint64_t bytes = 1) {
  return OpenSystemRegion(key, offset, bytes).status();
}

std::string ReadBytes(const SharedRegion& region, uint64_t offset, size_t bytes) {
  std::string to(bytes, '?');
  EXPECT_TRUE(region.Read(offset, std::as_writable_bytes(std::span(to))).ok());
  return to;
}

TEST(SystemRegionTest, ReadsAndWritesItsPartOfTheObject) {
  const SharedObject object("parts", 16);
  object.Write(0, "0123456789abcdef");
  const auto region = OpenSystemRegion(object.key(), 4, 8);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(ReadBytes(**region, 0, 8), "456789ab");
  EXPECT_EQ(ReadBytes(**region, 7, 1), "b");
  const std::string text = "XY";
  ASSERT_TRUE((*region)->Write(6, std::as_bytes(std::span(text))).ok());
  EXPECT_EQ(object.Read(0, 16), "0123456789XYcdef");
}

TEST(SystemRegionTest, TheSlashBeforeTheNameMayBeLeftOut) {
  const SharedObject object("slash", 1);
  EXPECT_TRUE(OpenError(object.key().substr(1)).ok());
}

TEST(SystemRegionTest, AKeyIsAPlainName) {
  for (const std::string key : {"", "/", ".", "/.", "..", "/..", "//", "//a", "a/b", "/a/", "/../a",
                                "../etc/passwd", "/a\n", "a\x7f"}) {
    const absl::Status status = OpenError(key);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << key << ": " << status;
    EXPECT_THAT(status.message(), HasSubstr("key: expected a name of 1 to 254 bytes"));
  }
  EXPECT_THAT(OpenError(std::string("a\0b", 3)).message(), HasSubstr("found \"a\\x00b\""));
  EXPECT_THAT(OpenError(std::string(255, 'k')).message(), HasSubstr("(255 bytes)"));
  EXPECT_TRUE(absl::IsNotFound(OpenError(std::string(254, 'k'))));
}

TEST(SystemRegionTest, AnObjectThereIsNotIsNotFound) {
  const absl::Status status = OpenError("/mlpserve_test_nothing");
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("key \"/mlpserve_test_nothing\""));
}

TEST(SystemRegionTest, WhatIsNoMemoryIsRefused) {
  const std::string name = "mlpserve_test_pipe" + std::to_string(getpid());
  ASSERT_EQ(mkfifo(("/dev/shm/" + name).c_str(), 0600), 0);
  const absl::Status status = OpenError(name);
  unlink(("/dev/shm/" + name).c_str());
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(status.message(), HasSubstr("expected shared memory, found another file"));
}

TEST(SystemRegionTest, TheRangeMustLieInTheObject) {
  const SharedObject object("range", 16);
  EXPECT_TRUE(OpenError(object.key(), 0, 16).ok());
  EXPECT_TRUE(OpenError(object.key(), 15, 1).ok());
  for (const auto& [offset, bytes] : {std::pair<uint64_t, uint64_t>{0, 17},
                                      {16, 1},
                                      {17, 1},
                                      {1, 16},
                                      {kHuge, 1},
                                      {1, kHuge},
                                      {kHuge, kHuge},
                                      {uint64_t{1} << 63, uint64_t{1} << 63}}) {
    const absl::Status status = OpenError(object.key(), offset, bytes);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << offset << " " << bytes;
    EXPECT_THAT(status.message(),
                HasSubstr("expected " + std::to_string(bytes) + " bytes from offset " +
                          std::to_string(offset) + " on, found a size of 16"));
  }
}

// A mapping would end the process by SIGBUS here.
TEST(SystemRegionTest, AnObjectThatWasCutShortFailsWhatUsesIt) {
  const SharedObject object("cut", 1 << 20);
  const auto region = OpenSystemRegion(object.key(), 0, 1 << 20);
  ASSERT_TRUE(region.ok());
  object.Resize(10);
  std::string bytes(100, '?');
  const absl::Status read = (*region)->Read(4096, std::as_writable_bytes(std::span(bytes)));
  EXPECT_TRUE(absl::IsInvalidArgument(read)) << read;
  EXPECT_EQ(read.message(),
            "expected the 1048576 bytes that its object had when it was registered, found 10");
  EXPECT_FALSE((*region)->Read(0, std::as_writable_bytes(std::span(bytes))).ok());
  EXPECT_EQ(ReadBytes(**region, 0, 10), std::string(10, '\0'));
  const absl::Status written = (*region)->Write(4096, std::as_bytes(std::span(bytes)));
  EXPECT_TRUE(absl::IsInvalidArgument(written)) << written;
  EXPECT_EQ(object.Read(0, 100).size(), 10u) << "it must not grow";
  object.Resize(1 << 20);
  EXPECT_EQ(ReadBytes(**region, 4096, 100), std::string(100, '\0')) << "it is there again";
}

TEST(SystemRegionTest, WhatTheSystemDoesNotWriteIsAnError) {
  const SharedObject object("limit", 1 << 16);
  const auto region = OpenSystemRegion(object.key(), 0, 1 << 16);
  ASSERT_TRUE(region.ok());
  std::signal(SIGXFSZ, SIG_IGN);  // as server/signals.cc does
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = 100, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string bytes(10, 'x');
  const absl::Status status = (*region)->Write(4096, std::as_bytes(std::span(bytes)));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("writing: "));
}

TEST(SystemRegionTest, ItLivesOnWithoutItsName) {
  auto object = std::make_unique<SharedObject>("unlinked", 4);
  object->Write(0, "rows");
  const auto region = OpenSystemRegion(object->key(), 0, 4);
  ASSERT_TRUE(region.ok());
  object.reset();
  EXPECT_EQ(ReadBytes(**region, 0, 4), "rows");
}

}  // namespace
}  // namespace mlpserve
