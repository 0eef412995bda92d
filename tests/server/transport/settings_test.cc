#include "server/transport/settings.h"

#include <spdlog/spdlog.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using inference::LogSettingsRequest;
using inference::LogSettingsResponse;
using inference::TraceSettingRequest;
using inference::TraceSettingResponse;

class SettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    before_ = spdlog::default_logger_raw()->level();
    spdlog::set_level(spdlog::level::info);
  }
  void TearDown() override { spdlog::set_level(before_); }

  static absl::Status Log(const LogSettingsRequest& request, LogSettingsResponse* response) {
    response->Clear();
    return ApplyLogSettings(request, response);
  }

  Catalog catalog_;
  spdlog::level::level_enum before_ = spdlog::level::info;
};

TEST_F(SettingsTest, TraceSettingsSayThatNothingIsTraced) {
  TraceSettingResponse response;
  ASSERT_TRUE(FillTraceSettings(catalog_, {}, &response).ok());
  EXPECT_EQ(response.settings().at("trace_level").value(0), "OFF");
  for (const char* name :
       {"trace_rate", "trace_count", "log_frequency", "trace_file", "trace_mode"}) {
    EXPECT_EQ(response.settings().at(name).value_size(), 1) << name;
  }
}

TEST_F(SettingsTest, TracingCannotBeTurnedOnButMayBeTurnedOff) {
  TraceSettingRequest request;
  TraceSettingResponse response;
  (*request.mutable_settings())["trace_level"].add_value("OFF");
  EXPECT_TRUE(FillTraceSettings(catalog_, request, &response).ok());
  (*request.mutable_settings())["trace_level"].add_value("TIMESTAMPS");
  EXPECT_TRUE(absl::IsUnimplemented(FillTraceSettings(catalog_, request, &response)));
  request.Clear();
  (*request.mutable_settings())["trace_rate"].add_value("5");
  EXPECT_TRUE(absl::IsUnimplemented(FillTraceSettings(catalog_, request, &response)));
  request.Clear();
  (*request.mutable_settings())["trace_speed"].add_value("1");
  EXPECT_TRUE(absl::IsInvalidArgument(FillTraceSettings(catalog_, request, &response)));
  request.Clear();
  request.set_model_name("nobody");
  EXPECT_TRUE(absl::IsNotFound(FillTraceSettings(catalog_, request, &response)));
}

TEST_F(SettingsTest, TheLogsLevelIsReadAndSet) {
  LogSettingsResponse response;
  ASSERT_TRUE(Log({}, &response).ok());
  EXPECT_TRUE(response.settings().at("log_info").bool_param());
  EXPECT_TRUE(response.settings().at("log_error").bool_param());
  EXPECT_EQ(response.settings().at("log_verbose_level").uint32_param(), 0U);
  EXPECT_EQ(response.settings().at("log_format").string_param(), "default");

  LogSettingsRequest request;
  (*request.mutable_settings())["log_verbose_level"].set_uint32_param(1);
  ASSERT_TRUE(Log(request, &response).ok());
  EXPECT_EQ(spdlog::default_logger_raw()->level(), spdlog::level::debug);
  EXPECT_EQ(response.settings().at("log_verbose_level").uint32_param(), 1U);

  (*request.mutable_settings())["log_verbose_level"].set_uint32_param(0);
  (*request.mutable_settings())["log_info"].set_bool_param(false);
  ASSERT_TRUE(Log(request, &response).ok());
  EXPECT_EQ(spdlog::default_logger_raw()->level(), spdlog::level::warn);
  EXPECT_FALSE(response.settings().at("log_info").bool_param());

  (*request.mutable_settings())["log_warning"].set_bool_param(false);
  (*request.mutable_settings())["log_error"].set_bool_param(false);
  ASSERT_TRUE(Log(request, &response).ok());
  EXPECT_EQ(spdlog::default_logger_raw()->level(), spdlog::level::off);
}

TEST_F(SettingsTest, AWrongLogSettingChangesNothing) {
  LogSettingsResponse response;
  LogSettingsRequest request;
  (*request.mutable_settings())["log_verbose_level"].set_uint32_param(2);
  (*request.mutable_settings())["log_info"].set_string_param("yes");
  EXPECT_TRUE(absl::IsInvalidArgument(Log(request, &response)));
  request.mutable_settings()->erase("log_info");
  (*request.mutable_settings())["log_file"].set_string_param("/tmp/log");
  EXPECT_TRUE(absl::IsUnimplemented(Log(request, &response)));
  request.mutable_settings()->erase("log_file");
  (*request.mutable_settings())["log_colour"].set_bool_param(true);
  EXPECT_TRUE(absl::IsInvalidArgument(Log(request, &response)));
  EXPECT_EQ(spdlog::default_logger_raw()->level(), spdlog::level::info);
}

}  // namespace
}  // namespace mlpserve
