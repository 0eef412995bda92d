// Turns the epilogue of a layer in model.json into the ops of kernels/spec/epilogue.h. For
// model_json.cc, which has the message that protobuf made of the file.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/model/block_config.h"

namespace mlpserve {
namespace schema {
class Layer;  // proto/mlp_model.pb.h
}

// Fills in `layer.epilogue` and `layer.columns`. `path` is the layer's, "layers[0]". Checks every
// rule of an op that needs no shapes. Errors are INVALID_ARGUMENT and begin with the op's path.
absl::Status ReadEpilogue(const schema::Layer& source, const std::string& path, LayerConfig& layer);

}  // namespace mlpserve
