#include "server/transport/unary_methods.h"

#include <utility>

#include "server/transport/model_loading.h"
#include "server/transport/settings.h"
#include "server/transport/shared_memory.h"

namespace mlpserve {
namespace {

// The generated function as what UnaryMethod::accept holds.
template <typename Request>
auto Bind(InferenceService& service, Request request) {
  return [&service, request](auto*... arguments) { (service.*request)(arguments...); };
}

template <typename Request, typename Response>
void AcceptOn(CallQueue& queue, const UnaryMethod<Request, Response>& method) {
  UnaryCall<Request, Response>::Accept(method, queue);
}

}  // namespace

UnaryMethods::UnaryMethods(InferenceService& service, ServerInfo server, const Catalog& catalog,
                           const ServingState& state, ModelControl* control, SharedRegions* regions)
    : server_(std::move(server)) {
  using Service = InferenceService;
  live_.accept = Bind(service, &Service::RequestServerLive);
  live_.answer = [](const auto&, auto* response) {
    response->set_live(true);
    return absl::OkStatus();
  };
  ready_.accept = Bind(service, &Service::RequestServerReady);
  ready_.answer = [&state](const auto&, auto* response) {
    response->set_ready(state.ready());
    return absl::OkStatus();
  };
  metadata_.accept = Bind(service, &Service::RequestServerMetadata);
  metadata_.answer = [this](const auto&, auto* response) {
    FillServerMetadata(server_, response);
    return absl::OkStatus();
  };
  model_ready_.accept = Bind(service, &Service::RequestModelReady);
  model_ready_.answer = [&catalog](const auto& request, auto* response) {
    return FillModelReady(catalog, request, response);
  };
  model_metadata_.accept = Bind(service, &Service::RequestModelMetadata);
  model_metadata_.answer = [&catalog](const auto& request, auto* response) {
    return FillModelMetadata(catalog, request, response);
  };
  model_config_.accept = Bind(service, &Service::RequestModelConfig);
  model_config_.answer = [this, &catalog](const auto& request, auto* response) {
    return FillModelConfig(server_, catalog, request, response);
  };
  model_statistics_.accept = Bind(service, &Service::RequestModelStatistics);
  model_statistics_.answer = [&catalog](const auto& request, auto* response) {
    return FillModelStatistics(catalog, request, response);
  };
  repository_index_.accept = Bind(service, &Service::RequestRepositoryIndex);
  repository_index_.answer = [&catalog](const auto& request, auto* response) {
    FillRepositoryIndex(catalog, request, response);
    return absl::OkStatus();
  };
  load_.accept = Bind(service, &Service::RequestRepositoryModelLoad);
  load_.answer_later = [control](const auto& request, auto done) {
    LoadModel(control, request, std::move(done));
  };
  unload_.accept = Bind(service, &Service::RequestRepositoryModelUnload);
  unload_.answer_later = [control](const auto& request, auto done) {
    UnloadModel(control, request, std::move(done));
  };
  trace_setting_.accept = Bind(service, &Service::RequestTraceSetting);
  trace_setting_.answer = [&catalog](const auto& request, auto* response) {
    return FillTraceSettings(catalog, request, response);
  };
  log_settings_.accept = Bind(service, &Service::RequestLogSettings);
  log_settings_.answer = ApplyLogSettings;
  BindSharedMemory(service, regions);
}

void UnaryMethods::BindSharedMemory(InferenceService& service, SharedRegions* regions) {
  using Service = InferenceService;
  system_memory_status_.accept = Bind(service, &Service::RequestSystemSharedMemoryStatus);
  system_memory_status_.answer = [regions](const auto& request, auto* response) {
    return FillSystemSharedMemoryStatus(regions, request, response);
  };
  register_system_memory_.accept = Bind(service, &Service::RequestSystemSharedMemoryRegister);
  register_system_memory_.answer = [regions](const auto& request, auto* /*response*/) {
    return RegisterSystemSharedMemory(regions, request);
  };
  unregister_system_memory_.accept = Bind(service, &Service::RequestSystemSharedMemoryUnregister);
  unregister_system_memory_.answer = [regions](const auto& request, auto* /*response*/) {
    return UnregisterSystemSharedMemory(regions, request);
  };
  cuda_memory_status_.accept = Bind(service, &Service::RequestCudaSharedMemoryStatus);
  cuda_memory_status_.answer = [regions](const auto& request, auto* response) {
    return FillCudaSharedMemoryStatus(regions, request, response);
  };
  register_cuda_memory_.accept = Bind(service, &Service::RequestCudaSharedMemoryRegister);
  register_cuda_memory_.answer = [regions](const auto& request, auto* /*response*/) {
    return RegisterCudaSharedMemory(regions, request);
  };
  unregister_cuda_memory_.accept = Bind(service, &Service::RequestCudaSharedMemoryUnregister);
  unregister_cuda_memory_.answer = [regions](const auto& request, auto* /*response*/) {
    return UnregisterCudaSharedMemory(regions, request);
  };
}

void UnaryMethods::Accept(CallQueue& queue) const {
  AcceptOn(queue, live_);
  AcceptOn(queue, ready_);
  AcceptOn(queue, metadata_);
  AcceptOn(queue, model_ready_);
  AcceptOn(queue, model_metadata_);
  AcceptOn(queue, model_config_);
  AcceptOn(queue, model_statistics_);
  AcceptOn(queue, repository_index_);
  AcceptOn(queue, load_);
  AcceptOn(queue, unload_);
  AcceptOn(queue, system_memory_status_);
  AcceptOn(queue, register_system_memory_);
  AcceptOn(queue, unregister_system_memory_);
  AcceptOn(queue, cuda_memory_status_);
  AcceptOn(queue, register_cuda_memory_);
  AcceptOn(queue, unregister_cuda_memory_);
  AcceptOn(queue, trace_setting_);
  AcceptOn(queue, log_settings_);
}

}  // namespace mlpserve
