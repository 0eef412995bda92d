#include "server/transport/model_loading.h"

#include <optional>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mlpserve {
namespace {

class FakeControl final : public ModelControl {
 public:
  void Load(LoadRequest request, Done done) override {
    loaded = std::move(request);
    done(absl::OkStatus());
  }
  void Unload(const std::string& name, Done done) override {
    unloaded = name;
    done(absl::NotFoundError("it was not there"));
  }

  std::optional<LoadRequest> loaded;
  std::string unloaded;
};

class ModelLoadingTest : public testing::Test {
 protected:
  absl::Status Load(const inference::RepositoryModelLoadRequest& request) {
    absl::Status result;
    LoadModel(&control_, request, [&](const absl::Status& status) { result = status; });
    return result;
  }
  absl::Status Unload(const inference::RepositoryModelUnloadRequest& request) {
    absl::Status result;
    UnloadModel(&control_, request, [&](const absl::Status& status) { result = status; });
    return result;
  }

  FakeControl control_;
};

TEST_F(ModelLoadingTest, ABlockIsLoadedByNameAlone) {
  inference::RepositoryModelLoadRequest request;
  request.set_model_name("digits");
  ASSERT_TRUE(Load(request).ok());
  EXPECT_EQ(control_.loaded->name, "digits");
  EXPECT_FALSE(control_.loaded->config.has_value());
}

TEST_F(ModelLoadingTest, TheConfigAndFilesMayBeSentAlong) {
  inference::RepositoryModelLoadRequest request;
  request.set_model_name("digits");
  auto& parameters = *request.mutable_parameters();
  parameters["file:1/weights.safetensors"].set_bytes_param("weights");
  EXPECT_THAT(Load(request).message(), testing::HasSubstr("\"config\" beside the files"));
  parameters["config"].set_string_param("{}");
  ASSERT_TRUE(Load(request).ok());
  EXPECT_EQ(*control_.loaded->config, "{}");
  EXPECT_EQ(control_.loaded->files.at("1/weights.safetensors"), "weights");
}

TEST_F(ModelLoadingTest, WrongParametersAreRefused) {
  inference::RepositoryModelLoadRequest load;
  EXPECT_TRUE(absl::IsInvalidArgument(Load(load)));  // without a name
  load.set_model_name("digits");
  (*load.mutable_parameters())["config"].set_bytes_param("{}");
  EXPECT_TRUE(absl::IsInvalidArgument(Load(load)));
  load.mutable_parameters()->clear();
  (*load.mutable_parameters())["speed"].set_int64_param(1);
  EXPECT_TRUE(absl::IsInvalidArgument(Load(load)));
  EXPECT_FALSE(control_.loaded.has_value());

  inference::RepositoryModelUnloadRequest unload;
  unload.set_model_name("digits");
  (*unload.mutable_parameters())["unload_dependents"].set_int64_param(1);
  EXPECT_TRUE(absl::IsInvalidArgument(Unload(unload)));
  (*unload.mutable_parameters())["unload_dependents"].set_bool_param(true);
  EXPECT_EQ(Unload(unload).message(), "it was not there");
  EXPECT_EQ(control_.unloaded, "digits");
}

}  // namespace
}  // namespace mlpserve
