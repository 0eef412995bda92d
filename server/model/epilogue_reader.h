// Turns the epilogue of a layer in model.json into the ops of kernels/spec/epilogue.h. For
// model_json.cc alone: it brings the generated code of proto/mlp_model.proto with it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "proto/mlp_model.pb.h"
#include "server/model/block_config.h"

namespace mlpserve {

// Fills in `layer.epilogue` and `layer.columns`. `path` is the layer's, "layers[0]". Checks every
// rule of an op that needs no shapes. Errors are INVALID_ARGUMENT and begin with the op's path.
absl::Status ReadEpilogue(const schema::Layer& source, const std::string& path, LayerConfig& layer);

}  // namespace mlpserve
