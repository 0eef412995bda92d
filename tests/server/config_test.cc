#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace mlpserve {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<ParsedFlags> Parse(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "mlpserve");
  return ParseFlags(static_cast<int>(flags.size()), flags.data());
}

std::string Refusal(std::vector<const char*> flags) {
  const auto parsed = Parse(std::move(flags));
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(parsed.status().message());
}

TEST(ConfigTest, OnlyTheRepositoryIsRequired) {
  const auto parsed = Parse({"--model-repository", "models"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const Config& config = parsed->config;
  EXPECT_EQ(config.model_repository, "models");
  EXPECT_THAT(config.grpc_addresses, ElementsAre("127.0.0.1:8001"));
  EXPECT_EQ(config.http_address, "127.0.0.1:8002");
  EXPECT_EQ(config.backend, BackendChoice::kAuto);
  EXPECT_GE(config.cpu_threads, 1);
  EXPECT_EQ(config.drain_grace, std::chrono::seconds(5));
  EXPECT_EQ(config.drain_timeout, std::chrono::seconds(20));
  EXPECT_EQ(config.grpc_compression, Compression::kNone);
  EXPECT_FALSE(parsed->answer.has_value());
}

TEST(ConfigTest, BlocksToLoadAreNamedOnlyWhereClientsLoad) {
  EXPECT_THAT(Refusal({"--model-repository=m", "--load-model=a"}),
              HasSubstr("--model-control=explicit"));
  EXPECT_THAT(Refusal({"--model-repository=m", "--model-control=always"}),
              HasSubstr("explicit|none|poll"));
  EXPECT_THAT(Refusal({"--model-repository=m", "--poll-interval=0"}), HasSubstr("--poll-interval"));
}

TEST(ConfigTest, EveryFlagIsRead) {
  const auto parsed =
      Parse({"--model-repository=m", "--grpc-address=127.0.0.1:1", "--grpc-address=unix:/tmp/s",
             "--http-address=[::1]:2", "--backend=cpu", "--kernel-cache=/tmp/k", "--cpu-threads=3",
             "--max-message-bytes=1024", "--strict-readiness", "--drain-grace=0.5",
             "--model-control=explicit", "--load-model=a", "--load-model=b", "--poll-interval=0.1",
             "--drain-timeout=1.5", "--grpc-compression=deflate", "--log-format=json",
             "--log-level=warning"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const Config& config = parsed->config;
  EXPECT_THAT(config.grpc_addresses, ElementsAre("127.0.0.1:1", "unix:/tmp/s"));
  EXPECT_EQ(config.http_address, "[::1]:2");
  EXPECT_EQ(config.backend, BackendChoice::kCpu);
  EXPECT_EQ(config.model_control, ModelControlMode::kExplicit);
  EXPECT_THAT(config.load_models, ElementsAre("a", "b"));
  EXPECT_EQ(config.poll_interval, std::chrono::milliseconds(100));
  EXPECT_EQ(config.kernel_cache, "/tmp/k");
  EXPECT_EQ(config.cpu_threads, 3);
  EXPECT_EQ(config.max_message_bytes, 1024);
  EXPECT_TRUE(config.strict_readiness);
  EXPECT_EQ(config.drain_grace, std::chrono::milliseconds(500));
  EXPECT_EQ(config.drain_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(config.grpc_compression, Compression::kDeflate);
  EXPECT_EQ(config.log_format, LogFormat::kJson);
  EXPECT_EQ(config.log_level, "warning");
}

TEST(ConfigTest, RefusalIsOneLineThatNamesTheFlagAndWhatCame) {
  EXPECT_THAT(Refusal({}), AllOf(HasSubstr("--model-repository"), Not(HasSubstr("\n"))));
  EXPECT_THAT(Refusal({"--model-repository=m", "--backend=tpu"}),
              AllOf(HasSubstr("--backend"), HasSubstr("auto|cpu|cuda"), HasSubstr("tpu")));
  EXPECT_THAT(Refusal({"--model-repository=m", "--cpu-threads=-1"}), HasSubstr("--cpu-threads"));
  EXPECT_THAT(Refusal({"--model-repository=m", "--cpu-threads=many"}), HasSubstr("many"));
  EXPECT_THAT(Refusal({"--model-repository=m", "--max-message-bytes=3000000000"}),
              HasSubstr("--max-message-bytes"));
  EXPECT_THAT(Refusal({"--model-repository=m", "--drain-grace=-1"}), HasSubstr("--drain-grace"));
  EXPECT_THAT(Refusal({"--model-repository=m", "--drain-grace=nan"}), HasSubstr("--drain-grace"));
  EXPECT_THAT(Refusal({"--model-repository=m", "--drain-timeout=1"}),
              AllOf(HasSubstr("--drain-timeout"), HasSubstr("5000 ms"), HasSubstr("1000 ms")));
  EXPECT_THAT(Refusal({"--model-repository=m", "--grpc-compression=br"}),
              HasSubstr("deflate|gzip|none"));
  EXPECT_THAT(
      Refusal({"--model-repository=m", "--shared-memory=on"}),
      AllOf(HasSubstr("--shared-memory"), HasSubstr("all|cuda|off|system"), HasSubstr("on")));
  EXPECT_THAT(Refusal({"--model-repository=m", "--log-level=loud"}), HasSubstr("loud"));
  EXPECT_THAT(Refusal({"--model-repository=m", "--prot=1"}), HasSubstr("--prot"));
}

TEST(ConfigTest, ConnectionsAreWhatTheLimitOfOpenFilesLeaves) {
  const char* const flags[] = {"mlpserve", "--model-repository=m"};
  for (const int64_t open_files : {50, 100, 1024, 1 << 20}) {
    const auto parsed = ParseFlags(2, flags, open_files);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_GE(parsed->config.max_connections, 1);
    EXPECT_LE(parsed->config.max_connections + parsed->config.max_http_connections,
              open_files - 32);
  }
  const char* const too_many[] = {"mlpserve", "--model-repository=m", "--max-connections=100"};
  const auto refused = ParseFlags(3, too_many, 100);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("--max-connections"), HasSubstr("ulimit -n"), HasSubstr("100")));
}

TEST(ConfigTest, SharedMemoryIsOffUnlessAskedForAndTakesFilesFromConnections) {
  const char* const flags[] = {"mlpserve", "--model-repository=m", "--shared-memory=system"};
  const auto off = ParseFlags(2, flags, 4096);
  const auto on = ParseFlags(3, flags, 4096);
  ASSERT_TRUE(off.ok() && on.ok());
  EXPECT_EQ(off->config.shared_memory, SharedMemory::kOff);
  EXPECT_EQ(on->config.shared_memory, SharedMemory::kSystem);
  EXPECT_EQ(off->config.max_connections - on->config.max_connections, kMostSharedRegions);
  EXPECT_EQ(ParseFlags(3, flags, 100)->config.max_connections, 1);
}

TEST(ConfigTest, HelpAndVersionAreAnswersAndNotErrors) {
  const auto help = Parse({"--help"});
  ASSERT_TRUE(help.ok()) << help.status();
  EXPECT_THAT(*help->answer, HasSubstr("--model-repository"));
  const auto version = Parse({"--version"});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_THAT(*version->answer, HasSubstr("mlpserve 0."));
}

}  // namespace
}  // namespace mlpserve
