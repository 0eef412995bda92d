// The generated services with every method asynchronous and its messages left as the bytes that
// they travel as. Every method that a service registers must be requested on some queue, as gRPC
// lets a caller of one that is not wait for ever.
#pragma once

#include "proto/health.grpc.pb.h"
#include "proto/open_inference.grpc.pb.h"
#include "proto/reflection.grpc.pb.h"
#include "proto/reflection_v1alpha.grpc.pb.h"

namespace mlpserve {

namespace raw {

using Base = inference::GRPCInferenceService;
using Lifecycle = Base::WithRawMethod_ServerLive<Base::WithRawMethod_ServerReady<
    Base::WithRawMethod_ServerMetadata<Base::WithRawMethod_ModelReady<Base::AsyncService>>>>;
using Blocks = Base::WithRawMethod_ModelMetadata<
    Base::WithRawMethod_ModelConfig<Base::WithRawMethod_ModelStatistics<Lifecycle>>>;
using Repository = Base::WithRawMethod_RepositoryIndex<
    Base::WithRawMethod_RepositoryModelLoad<Base::WithRawMethod_RepositoryModelUnload<Blocks>>>;
using SystemMemory =
    Base::WithRawMethod_SystemSharedMemoryStatus<Base::WithRawMethod_SystemSharedMemoryRegister<
        Base::WithRawMethod_SystemSharedMemoryUnregister<Repository>>>;
using CudaMemory =
    Base::WithRawMethod_CudaSharedMemoryStatus<Base::WithRawMethod_CudaSharedMemoryRegister<
        Base::WithRawMethod_CudaSharedMemoryUnregister<SystemMemory>>>;
using Settings = Base::WithRawMethod_TraceSetting<Base::WithRawMethod_LogSettings<CudaMemory>>;

}  // namespace raw

using InferenceService =
    raw::Base::WithRawMethod_ModelInfer<raw::Base::WithRawMethod_ModelStreamInfer<raw::Settings>>;

using HealthService = grpc::health::v1::Health::WithRawMethod_Check<
    grpc::health::v1::Health::WithRawMethod_Watch<grpc::health::v1::Health::AsyncService>>;

using ReflectionService =
    grpc::reflection::v1::ServerReflection::WithRawMethod_ServerReflectionInfo<
        grpc::reflection::v1::ServerReflection::AsyncService>;
using ReflectionAlphaService =
    grpc::reflection::v1alpha::ServerReflection::WithRawMethod_ServerReflectionInfo<
        grpc::reflection::v1alpha::ServerReflection::AsyncService>;

}  // namespace mlpserve
