// What model.json says of a block, as plain data: what the server needs to know before, and
// besides, the weights. No protobuf here; proto/mlp_model.proto documents the file itself.
//
// ParseModelJson makes one, Validate has then passed, and every default is filled in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/spec/datatype.h"
#include "kernels/spec/epilogue.h"
#include "server/vocabulary/batching_options.h"

namespace mlpserve {

inline constexpr int64_t kMaxBlockFeatures = int64_t{1} << 24;  // K and N of every layer too

// The input or the output tensor of a block, [rows, features].
struct TensorConfig {
  std::string name;
  DataType datatype = DataType::kFp32;
  int64_t features = 0;

  int64_t row_bytes() const { return features * static_cast<int64_t>(ByteSize(datatype)); }
};

// Which of the version folders are loaded.
struct VersionPolicy {
  enum class Kind : uint8_t { kLatest, kAll, kListed };
  Kind kind = Kind::kLatest;
  int64_t latest = 1;           // kLatest: so many of the highest
  std::vector<int64_t> listed;  // kListed: these, ascending
};

// A tensor of the weights file that one number per column is read from.
struct ColumnSource {
  std::string tensor;
  std::string path;  // where model.json names it: "layers[0].epilogue[1].scale"
};

// A layer without its weights.
struct LayerConfig {
  std::string name;
  std::string weight;                 // tensor name
  std::string bias;                   // tensor name; empty: none
  EpilogueSpec epilogue;              // as written, but without columns
  std::vector<ColumnSource> columns;  // Operand::column is an index into these
};

struct BlockConfig {
  std::string name;
  std::string directory;  // of the block in the repository; empty if it was not read from one
  TensorConfig input;
  TensorConfig output;
  ComputeType compute = ComputeType::kFp32;
  std::vector<LayerConfig> layers;
  BatchingOptions batching;
  VersionPolicy version_policy;
};

// A request of such a block runs in a batch of its own and holds 2 to max_rows rows.
bool UsesBatchStatistics(const BlockConfig& config);

// Checks everything that can be known without the weights. Limits, all inclusive:
//   features 1 .. 2^24; max_rows 1 .. 2^20 (2 at least with batch statistics); max_rows rows of the
//   input, and of the output, take at most 2 GiB; max_queue_delay_us and max_batch_us 0 .. 60 s;
//   queue_timeout_us 0 .. 1 h; max_queued_us 1 us .. 1 h; max_queued_rows max_rows .. 2^31 - 1;
//   max_queued_bytes one row .. 2^40; priority_levels 0 .. 32; default_priority 1 ..
//   priority_levels, or 0 without levels; up to 64 buckets, ascending, 1 .. max_rows; latest 1 ..
//   2^31 - 1; listed versions positive, distinct, not empty; at least one layer, their names
//   distinct; names not empty, of UTF-8 and at most 255 bytes.
// Errors are INVALID_ARGUMENT: the field's path in model.json, what was expected and found.
absl::Status Validate(const BlockConfig& config);

}  // namespace mlpserve
