#include "server/transport/settings.h"

#include <spdlog/spdlog.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status/status_macros.h"
#include "server/text/utf8.h"
#include "server/transport/message_bytes.h"

namespace mlpserve {
namespace {

using LogRequest = inference::LogSettingsRequest::SettingValue;
using LogResponse = inference::LogSettingsResponse;

// Triton's settings, at the values that trace nothing.
const std::map<std::string, std::string>& TraceSettings() {
  static const auto& settings = *new std::map<std::string, std::string>{
      {"log_frequency", "0"}, {"trace_count", "-1"},    {"trace_file", ""},
      {"trace_level", "OFF"}, {"trace_mode", "triton"}, {"trace_rate", "1000"},
  };
  return settings;
}

// The more of it is on, the smaller is spdlog's level.
struct LogSwitches {
  bool info = false;
  bool warning = false;
  bool error = false;
  uint32_t verbose = 0;
};

LogSwitches SwitchesOf(spdlog::level::level_enum level) {
  return {.info = level <= spdlog::level::info,
          .warning = level <= spdlog::level::warn,
          .error = level <= spdlog::level::err,
          .verbose = level == spdlog::level::trace   ? 2U
                     : level == spdlog::level::debug ? 1U
                                                     : 0U};
}

spdlog::level::level_enum LevelOf(const LogSwitches& switches) {
  if (switches.verbose >= 2) return spdlog::level::trace;
  if (switches.verbose == 1) return spdlog::level::debug;
  if (switches.info) return spdlog::level::info;
  if (switches.warning) return spdlog::level::warn;
  return switches.error ? spdlog::level::err : spdlog::level::off;
}

absl::Status Unexpected(const std::string& name, const std::string& expected,
                        const LogRequest& found) {
  return absl::InvalidArgumentError(
      absl::StrCat("log setting ", name, ": expected ", expected, ", found ", KindOf(found)));
}

absl::Status SetBool(const std::string& name, const LogRequest& value, bool& to) {
  if (value.parameter_choice_case() != LogRequest::kBoolParam)
    return Unexpected(name, "bool", value);
  to = value.bool_param();
  return absl::OkStatus();
}

// A setting that is fixed at start.
absl::Status KeepString(const std::string& name, const LogRequest& value,
                        const std::string& fixed) {
  if (value.parameter_choice_case() != LogRequest::kStringParam) {
    return Unexpected(name, "string", value);
  }
  if (value.string_param() == fixed) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("log setting ", name, ": expected \"", fixed,
                                               "\", as it is fixed when the server starts, found ",
                                               QuotedShort(value.string_param())));
}

absl::Status Set(const std::string& name, const LogRequest& value, LogSwitches& switches) {
  if (name == "log_info") return SetBool(name, value, switches.info);
  if (name == "log_warning") return SetBool(name, value, switches.warning);
  if (name == "log_error") return SetBool(name, value, switches.error);
  if (name == "log_file") return KeepString(name, value, "");
  if (name == "log_format") return KeepString(name, value, "default");
  if (name == "log_verbose_level") {
    if (value.parameter_choice_case() != LogRequest::kUint32Param) {
      return Unexpected(name, "uint32", value);
    }
    switches.verbose = value.uint32_param();
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("expected the log setting log_error, log_file, log_format, log_info, "
                   "log_verbose_level or log_warning, found ",
                   QuotedShort(name)));
}

void Report(const LogSwitches& switches, LogResponse* response) {
  auto& settings = *response->mutable_settings();
  settings["log_file"].set_string_param("");
  settings["log_info"].set_bool_param(switches.info);
  settings["log_warning"].set_bool_param(switches.warning);
  settings["log_error"].set_bool_param(switches.error);
  settings["log_verbose_level"].set_uint32_param(switches.verbose);
  settings["log_format"].set_string_param("default");
}

// `value`: empty resets the setting, as Triton has it.
absl::Status CheckTraceSetting(const std::string& name, const std::string& value) {
  const auto known = TraceSettings().find(name);
  if (known == TraceSettings().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected the trace setting log_frequency, trace_count, trace_file, "
                     "trace_level, trace_mode or trace_rate, found ",
                     QuotedShort(name)));
  }
  if (value.empty() || value == known->second) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("trace setting ", name, ": expected \"", known->second,
                   "\", as this server traces nothing, found ", QuotedShort(value)));
}

}  // namespace

absl::Status FillTraceSettings(const Catalog& catalog,
                               const inference::TraceSettingRequest& request,
                               inference::TraceSettingResponse* response) {
  if (!request.model_name().empty()) {
    MLPSERVE_RETURN_IF_ERROR(catalog.FindAny(request.model_name(), "").status());
  }
  for (const auto& [name, value] : request.settings()) {
    MLPSERVE_RETURN_IF_ERROR(CheckTraceSetting(name, absl::StrJoin(value.value(), ",")));
  }
  for (const auto& [name, value] : TraceSettings()) {
    (*response->mutable_settings())[name].add_value(value);
  }
  return absl::OkStatus();
}

absl::Status ApplyLogSettings(const inference::LogSettingsRequest& request,
                              inference::LogSettingsResponse* response) {
  LogSwitches switches = SwitchesOf(spdlog::default_logger_raw()->level());
  for (const auto& [name, value] : request.settings()) {
    MLPSERVE_RETURN_IF_ERROR(Set(name, value, switches));
  }
  if (!request.settings().empty()) spdlog::set_level(LevelOf(switches));
  Report(SwitchesOf(spdlog::default_logger_raw()->level()), response);
  return absl::OkStatus();
}

}  // namespace mlpserve
