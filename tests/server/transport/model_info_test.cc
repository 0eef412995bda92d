#include "server/transport/model_info.h"

#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/metrics/block_metrics.h"

namespace mlpserve {
namespace {

using testing::ElementsAre;

class ModelInfoTest : public testing::Test {
 protected:
  // Block "digits": versions 2 and 5 ready, 7 loading. Block "broken": failed before a version was
  // chosen.
  void SetUp() override {
    for (const int64_t version : {2, 5, 7}) {
      CatalogEntry entry;
      entry.config.name = "digits";
      entry.config.input = {.name = "x", .datatype = DataType::kFp16, .features = 64};
      entry.config.output = {.name = "logits", .datatype = DataType::kFp32, .features = 10};
      entry.config.batching = {.max_rows = 512,
                               .max_queue_delay = std::chrono::microseconds(100),
                               .queue_timeout = std::chrono::microseconds(2000),
                               .priority_levels = 3,
                               .default_priority = 2,
                               .buckets = {64, 512}};
      entry.config.version_policy.kind = VersionPolicy::Kind::kAll;
      entry.version = version;
      entry.state = version == 7 ? BlockState::kLoading : BlockState::kReady;
      if (version != 7) entry.metrics = std::make_shared<BlockMetrics>("digits", version);
      if (version == 5) metrics_ = entry.metrics;
      catalog_.Put(std::move(entry));
    }
    CatalogEntry broken;
    broken.config.name = "broken";
    broken.state = BlockState::kFailed;
    broken.reason = "model.json: expected an object";
    catalog_.Put(std::move(broken));
  }

  Catalog catalog_;
  std::shared_ptr<BlockMetrics> metrics_;  // of version 5
};

TEST_F(ModelInfoTest, TheServerNamesItselfAndWhatItOffers) {
  inference::ServerMetadataResponse response;
  FillServerMetadata(
      {.version = "1.2.3", .backend = "cpu", .devices = {"a processor, AVX2, 2 threads"}},
      &response);
  EXPECT_EQ(response.name(), "mlpserve");
  EXPECT_EQ(response.version(), "1.2.3");
  EXPECT_THAT(response.extensions(),
              ElementsAre("model_configuration", "model_repository", "statistics",
                          "binary_tensor_data", "parameters", "schedule_policy", "logging",
                          "computes_on(a processor, AVX2, 2 threads)"));
}

TEST_F(ModelInfoTest, AModelIsReadyWhenTheVersionIs) {
  inference::ModelReadyRequest request;
  inference::ModelReadyResponse response;
  request.set_name("digits");
  ASSERT_TRUE(FillModelReady(catalog_, request, &response).ok());
  EXPECT_TRUE(response.ready());
  request.set_version("7");
  ASSERT_TRUE(FillModelReady(catalog_, request, &response).ok());
  EXPECT_FALSE(response.ready());
  // Clients ask until it is: what is not there is not ready, and no error.
  request.set_version("1");
  ASSERT_TRUE(FillModelReady(catalog_, request, &response).ok());
  EXPECT_FALSE(response.ready());
  request.set_version("one");
  EXPECT_TRUE(absl::IsInvalidArgument(FillModelReady(catalog_, request, &response)));
}

TEST_F(ModelInfoTest, MetadataShapesBeginWithTheRows) {
  inference::ModelMetadataRequest request;
  inference::ModelMetadataResponse response;
  request.set_name("digits");
  ASSERT_TRUE(FillModelMetadata(catalog_, request, &response).ok());
  EXPECT_EQ(response.name(), "digits");
  EXPECT_EQ(response.platform(), "mlpserve");
  EXPECT_THAT(response.versions(), ElementsAre("2", "5"));
  ASSERT_EQ(response.inputs_size(), 1);
  EXPECT_EQ(response.inputs(0).name(), "x");
  EXPECT_EQ(response.inputs(0).datatype(), "FP16");
  EXPECT_THAT(response.inputs(0).shape(), ElementsAre(-1, 64));
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "logits");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(-1, 10));
}

TEST_F(ModelInfoTest, MetadataOfANamedVersionListsIt) {
  inference::ModelMetadataRequest request;
  inference::ModelMetadataResponse response;
  request.set_name("digits");
  request.set_version("2");
  ASSERT_TRUE(FillModelMetadata(catalog_, request, &response).ok());
  EXPECT_THAT(response.versions(), ElementsAre("2"));
}

TEST_F(ModelInfoTest, MetadataOfABlockThatIsNotReadySaysWhy) {
  inference::ModelMetadataRequest request;
  inference::ModelMetadataResponse response;
  request.set_name("broken");
  const absl::Status status = FillModelMetadata(catalog_, request, &response);
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("expected an object"));
}

TEST_F(ModelInfoTest, TheConfigSaysHowABlockIsBatched) {
  inference::ModelConfigRequest request;
  inference::ModelConfigResponse response;
  request.set_name("digits");
  ASSERT_TRUE(FillModelConfig({.backend = "cpu"}, catalog_, request, &response).ok());
  const inference::ModelConfig& config = response.config();
  EXPECT_EQ(config.name(), "digits");
  EXPECT_EQ(config.platform(), "mlpserve");
  EXPECT_EQ(config.backend(), "cpu");
  EXPECT_EQ(config.max_batch_size(), 512);
  EXPECT_TRUE(config.version_policy().has_all());
  ASSERT_EQ(config.input_size(), 1);
  EXPECT_EQ(config.input(0).name(), "x");
  EXPECT_EQ(config.input(0).data_type(), inference::TYPE_FP16);
  EXPECT_THAT(config.input(0).dims(), ElementsAre(64));
  ASSERT_EQ(config.output_size(), 1);
  EXPECT_EQ(config.output(0).name(), "logits");
  EXPECT_EQ(config.output(0).data_type(), inference::TYPE_FP32);
  EXPECT_THAT(config.output(0).dims(), ElementsAre(10));
  ASSERT_EQ(config.instance_group_size(), 1);
  EXPECT_EQ(config.instance_group(0).kind(), inference::ModelInstanceGroup::KIND_CPU);
  const inference::ModelDynamicBatching& batching = config.dynamic_batching();
  EXPECT_THAT(batching.preferred_batch_size(), ElementsAre(64, 512));
  EXPECT_EQ(batching.max_queue_delay_microseconds(), 100u);
  EXPECT_EQ(batching.priority_levels(), 3u);
  EXPECT_EQ(batching.default_priority_level(), 2u);
  EXPECT_EQ(batching.default_queue_policy().default_timeout_microseconds(), 2000u);
  EXPECT_TRUE(batching.default_queue_policy().allow_timeout_override());
}

TEST_F(ModelInfoTest, StatisticsAreTheBlocks) {
  using std::chrono::nanoseconds;
  metrics_->RecordRequest({.total = nanoseconds(100),
                           .queue = nanoseconds(10),
                           .compute_input = nanoseconds(20),
                           .compute_infer = nanoseconds(30),
                           .compute_output = nanoseconds(5),
                           .rows = 4});
  metrics_->RecordFailure(absl::StatusCode::kCancelled, nanoseconds(7));
  metrics_->RecordBatch({.rows = 4,
                         .bucket = 64,
                         .compute_input = nanoseconds(20),
                         .compute_infer = nanoseconds(30),
                         .compute_output = nanoseconds(5)});
  inference::ModelStatisticsRequest request;
  inference::ModelStatisticsResponse response;
  request.set_name("digits");
  request.set_version("5");
  ASSERT_TRUE(FillModelStatistics(catalog_, request, &response).ok());
  ASSERT_EQ(response.model_stats_size(), 1);
  const inference::ModelStatistics& statistics = response.model_stats(0);
  EXPECT_EQ(statistics.name(), "digits");
  EXPECT_EQ(statistics.version(), "5");
  EXPECT_EQ(statistics.inference_count(), 4u);
  EXPECT_EQ(statistics.execution_count(), 1u);
  EXPECT_EQ(statistics.inference_stats().success().count(), 1u);
  EXPECT_EQ(statistics.inference_stats().success().ns(), 100u);
  EXPECT_EQ(statistics.inference_stats().fail().count(), 1u);
  EXPECT_EQ(statistics.inference_stats().queue().count(), 1u);
  EXPECT_EQ(statistics.inference_stats().queue().ns(), 10u);
  EXPECT_EQ(statistics.inference_stats().compute_input().ns(), 20u);
  EXPECT_EQ(statistics.inference_stats().compute_infer().ns(), 30u);
  EXPECT_EQ(statistics.inference_stats().compute_output().ns(), 5u);
  ASSERT_EQ(statistics.batch_stats_size(), 1);
  EXPECT_EQ(statistics.batch_stats(0).batch_size(), 64u);
  EXPECT_EQ(statistics.batch_stats(0).compute_infer().ns(), 30u);
}

TEST_F(ModelInfoTest, StatisticsWithoutANameAreOfEveryBlockThatIsReady) {
  inference::ModelStatisticsRequest request;
  inference::ModelStatisticsResponse response;
  ASSERT_TRUE(FillModelStatistics(catalog_, request, &response).ok());
  ASSERT_EQ(response.model_stats_size(), 2);
  EXPECT_EQ(response.model_stats(0).version(), "2");
  EXPECT_EQ(response.model_stats(1).version(), "5");
  response.Clear();
  request.set_name("digits");
  ASSERT_TRUE(FillModelStatistics(catalog_, request, &response).ok());
  EXPECT_EQ(response.model_stats_size(), 2);
  request.set_name("nobody");
  EXPECT_TRUE(absl::IsNotFound(FillModelStatistics(catalog_, request, &response)));
  request.set_name("broken");
  EXPECT_TRUE(absl::IsUnavailable(FillModelStatistics(catalog_, request, &response)));
}

TEST_F(ModelInfoTest, TheIndexShowsWhatFailedAndWhy) {
  inference::RepositoryIndexRequest request;
  inference::RepositoryIndexResponse response;
  FillRepositoryIndex(catalog_, request, &response);
  ASSERT_EQ(response.models_size(), 4);
  EXPECT_EQ(response.models(0).name(), "broken");
  EXPECT_EQ(response.models(0).version(), "");
  EXPECT_EQ(response.models(0).state(), "UNAVAILABLE");
  EXPECT_EQ(response.models(0).reason(), "model.json: expected an object");
  EXPECT_EQ(response.models(1).version(), "2");
  EXPECT_EQ(response.models(1).state(), "READY");
  EXPECT_EQ(response.models(3).state(), "LOADING");
  response.Clear();
  request.set_ready(true);
  FillRepositoryIndex(catalog_, request, &response);
  EXPECT_EQ(response.models_size(), 2);
}

}  // namespace
}  // namespace mlpserve
