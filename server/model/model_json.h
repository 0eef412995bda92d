// Parses model.json. The rules of the file are proto/mlp_model.proto's, and Validate's in
// block_config.h.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/model/block_config.h"

namespace mlpserve {

// `name` is that of the block's folder. Every default is filled in, and Validate has passed.
// Errors are INVALID_ARGUMENT and begin with the path of the field ("layers[0].epilogue[1]").
absl::StatusOr<BlockConfig> ParseModelJson(std::string_view json, const std::string& name);

}  // namespace mlpserve
