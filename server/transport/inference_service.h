// The generated service with every method asynchronous, and with the messages of ModelInfer and
// ModelStreamInfer left as the bytes that they travel as. Every method that it registers must be
// requested on some queue, as gRPC lets a caller of one that is not wait for ever.
#pragma once

#include "proto/open_inference.grpc.pb.h"

namespace mlpserve {

using InferenceService = inference::GRPCInferenceService::WithRawMethod_ModelInfer<
    inference::GRPCInferenceService::WithRawMethod_ModelStreamInfer<
        inference::GRPCInferenceService::AsyncService>>;

}  // namespace mlpserve
