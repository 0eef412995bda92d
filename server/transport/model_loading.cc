#include "server/transport/model_loading.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/text/utf8.h"
#include "server/transport/message_bytes.h"

namespace mlpserve {
namespace {

using Parameter = inference::ModelRepositoryParameter;
using Parameters = google::protobuf::Map<std::string, Parameter>;

constexpr std::string_view kFilePrefix = "file:";

absl::Status CheckControl(const ModelControl* control, const std::string& name) {
  if (control == nullptr) {
    return absl::FailedPreconditionError(
        "expected a server that was started with --model-control=explicit, found one that loads "
        "and unloads no block at a client's wish");
  }
  if (name.empty()) return absl::InvalidArgumentError("expected a model_name, found none");
  return absl::OkStatus();
}

absl::Status WrongParameter(const std::string& name, const Parameter& value,
                            const std::string& expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("parameter ", QuotedShort(name), " (", KindOf(value), "): expected ", expected));
}

absl::Status ReadLoadParameters(const Parameters& parameters, ModelControl::LoadRequest& request) {
  for (const auto& [name, value] : parameters) {
    if (name == "config" && value.parameter_choice_case() == Parameter::kStringParam) {
      request.config = value.string_param();
    } else if (std::string_view(name).substr(0, kFilePrefix.size()) == kFilePrefix &&
               value.parameter_choice_case() == Parameter::kBytesParam) {
      request.files[name.substr(kFilePrefix.size())] = value.bytes_param();
    } else {
      return WrongParameter(name, value,
                            "\"config\" (string, the text of a model.json) or "
                            "\"file:VERSION/weights.safetensors\" (bytes)");
    }
  }
  if (request.files.empty() || request.config.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "expected the parameter \"config\" beside the files that are sent, found none");
}

absl::Status ReadLoad(const ModelControl* control,
                      const inference::RepositoryModelLoadRequest& from,
                      ModelControl::LoadRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckControl(control, from.model_name()));
  request.name = from.model_name();
  return ReadLoadParameters(from.parameters(), request);
}

absl::Status CheckUnload(const ModelControl* control,
                         const inference::RepositoryModelUnloadRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckControl(control, request.model_name()));
  for (const auto& [name, value] : request.parameters()) {
    if (name != "unload_dependents" || value.parameter_choice_case() != Parameter::kBoolParam) {
      return WrongParameter(name, value, "none but \"unload_dependents\" (bool)");
    }
  }
  return absl::OkStatus();
}

}  // namespace

void LoadModel(ModelControl* control, const inference::RepositoryModelLoadRequest& request,
               ModelControl::Done done) {
  ModelControl::LoadRequest load;
  const absl::Status status = ReadLoad(control, request, load);
  if (!status.ok()) return done(status);
  control->Load(std::move(load), std::move(done));
}

void UnloadModel(ModelControl* control, const inference::RepositoryModelUnloadRequest& request,
                 ModelControl::Done done) {
  const absl::Status status = CheckUnload(control, request);
  if (!status.ok()) return done(status);
  control->Unload(request.model_name(), std::move(done));
}

}  // namespace mlpserve
