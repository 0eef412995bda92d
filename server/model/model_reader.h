// Reads a block from its folder: model.json to a BlockConfig, a version's weights to a BlockSpec.
//
//   <model repository>/<name>/model.json
//                            /<version>/weights.safetensors
//
// Not a scan of the repository (repository.h), and no loading into a backend.
// Threads: free functions without state. Errors name the file; INVALID_ARGUMENT: it is wrong;
// NOT_FOUND: it is missing; UNAVAILABLE: it cannot be read.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/spec/block.h"
#include "server/model/block_config.h"

namespace mlpserve {

// `directory` is the block's; its last component is the block's name.
absl::StatusOr<BlockConfig> ReadConfig(const std::string& directory);

struct ReadOptions {
  // Takes tensors that hold NaN, infinity, or what becomes infinite in the block's compute type.
  bool allow_non_finite = false;
};

// Reads the weights of one version of a block that ReadConfig gave: shapes are checked against one
// another and against the features, and the result has passed Validate
// (kernels/spec/block.h). Tensors of the file that model.json does not name are not read. Weights
// may be F64, F32, F16 or BF16 and stay in that type, but for F64, which is rounded to FP32 once. A
// column tensor of shape [1] is spread over all columns; a scalar, of shape [], counts as a [1].
//
// The numbers of the weights are not read here: a backend reads them as it loads the block
// (kernels/spec/tensor.h), and gets INVALID_ARGUMENT where one of them is not finite. The file
// stays open until the last layer is destroyed.
absl::StatusOr<BlockSpec> ReadBlock(const BlockConfig& config, int64_t version,
                                    const ReadOptions& options = {});

// ReadConfig, then ReadBlock.
absl::StatusOr<BlockSpec> ReadBlock(const std::string& directory, int64_t version);

}  // namespace mlpserve
