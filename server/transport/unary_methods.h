// The protocol's unary methods besides ModelInfer, each bound to what answers it.
#pragma once

#include "proto/open_inference.grpc.pb.h"
#include "server/catalog/catalog.h"
#include "server/catalog/model_control.h"
#include "server/catalog/serving_state.h"
#include "server/shared_memory/registry.h"
#include "server/transport/inference_service.h"
#include "server/transport/model_info.h"
#include "server/transport/unary_call.h"

namespace mlpserve {

class UnaryMethods {
 public:
  // Everything must outlive this, and this every call. Without a `control`, loading and unloading
  // are refused; without `regions`, shared memory.
  UnaryMethods(InferenceService& service, ServerInfo server, const Catalog& catalog,
               const ServingState& state, ModelControl* control, SharedRegions* regions);

  // Begins to take calls of every method on the queue.
  void Accept(CallQueue& queue) const;

 private:
  void BindSharedMemory(InferenceService& service, SharedRegions* regions);

  const ServerInfo server_;
  UnaryMethod<inference::ServerLiveRequest, inference::ServerLiveResponse> live_;
  UnaryMethod<inference::ServerReadyRequest, inference::ServerReadyResponse> ready_;
  UnaryMethod<inference::ServerMetadataRequest, inference::ServerMetadataResponse> metadata_;
  UnaryMethod<inference::ModelReadyRequest, inference::ModelReadyResponse> model_ready_;
  UnaryMethod<inference::ModelMetadataRequest, inference::ModelMetadataResponse> model_metadata_;
  UnaryMethod<inference::ModelConfigRequest, inference::ModelConfigResponse> model_config_;
  UnaryMethod<inference::ModelStatisticsRequest, inference::ModelStatisticsResponse>
      model_statistics_;
  UnaryMethod<inference::RepositoryIndexRequest, inference::RepositoryIndexResponse>
      repository_index_;
  UnaryMethod<inference::RepositoryModelLoadRequest, inference::RepositoryModelLoadResponse> load_;
  UnaryMethod<inference::RepositoryModelUnloadRequest, inference::RepositoryModelUnloadResponse>
      unload_;
  UnaryMethod<inference::SystemSharedMemoryStatusRequest,
              inference::SystemSharedMemoryStatusResponse>
      system_memory_status_;
  UnaryMethod<inference::SystemSharedMemoryRegisterRequest,
              inference::SystemSharedMemoryRegisterResponse>
      register_system_memory_;
  UnaryMethod<inference::SystemSharedMemoryUnregisterRequest,
              inference::SystemSharedMemoryUnregisterResponse>
      unregister_system_memory_;
  UnaryMethod<inference::CudaSharedMemoryStatusRequest, inference::CudaSharedMemoryStatusResponse>
      cuda_memory_status_;
  UnaryMethod<inference::CudaSharedMemoryRegisterRequest,
              inference::CudaSharedMemoryRegisterResponse>
      register_cuda_memory_;
  UnaryMethod<inference::CudaSharedMemoryUnregisterRequest,
              inference::CudaSharedMemoryUnregisterResponse>
      unregister_cuda_memory_;
  UnaryMethod<inference::TraceSettingRequest, inference::TraceSettingResponse> trace_setting_;
  UnaryMethod<inference::LogSettingsRequest, inference::LogSettingsResponse> log_settings_;
};

}  // namespace mlpserve
