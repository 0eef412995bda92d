#include "server/model/block_config.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/text/strict_json.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

constexpr int64_t kMaxRows = int64_t{1} << 20;
constexpr int64_t kMaxSlotBytes = int64_t{1} << 31;
constexpr int64_t kMaxDelayUs = 60'000'000;
constexpr int64_t kMaxTimeoutUs = 3'600'000'000;
constexpr int64_t kMaxCount = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxQueuedBytes = int64_t{1} << 40;
constexpr int64_t kMaxPriorityLevels = 32;
constexpr size_t kMaxBuckets = 64;
constexpr size_t kMaxNameBytes = 255;

absl::Status Error(const std::string& path, const std::string& expected, const std::string& found) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": expected ", expected, ", found ", found));
}

absl::Status CheckRange(const std::string& path, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Error(path, absl::StrCat(low, " to ", high), absl::StrCat(value));
}

absl::Status CheckName(const std::string& path, const std::string& name) {
  if (!name.empty() && name.size() <= kMaxNameBytes && IsUtf8(name)) return absl::OkStatus();
  return Error(path, absl::StrCat("a name of 1 to ", kMaxNameBytes, " bytes of UTF-8"),
               name.size() > kMaxNameBytes ? absl::StrCat(name.size(), " bytes") : Quoted(name));
}

absl::Status CheckTensor(const std::string& path, const TensorConfig& tensor, int64_t max_rows) {
  MLPSERVE_RETURN_IF_ERROR(CheckName(absl::StrCat(path, ".name"), tensor.name));
  MLPSERVE_RETURN_IF_ERROR(
      CheckRange(absl::StrCat(path, ".features"), tensor.features, 1, kMaxBlockFeatures));
  const int64_t bytes = max_rows * tensor.row_bytes();
  if (bytes <= kMaxSlotBytes) return absl::OkStatus();
  return Error("batching.max_rows",
               absl::StrCat("at most ", kMaxSlotBytes / tensor.row_bytes(), ", which take ",
                            kMaxSlotBytes, " bytes of ", path),
               absl::StrCat(max_rows));
}

absl::Status CheckLayers(const std::vector<LayerConfig>& layers) {
  if (layers.empty()) return Error("layers", "at least one layer", "none");
  std::set<std::string> names;
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string path = absl::StrCat("layers[", i, "]");
    const LayerConfig& layer = layers[i];
    MLPSERVE_RETURN_IF_ERROR(CheckName(absl::StrCat(path, ".name"), layer.name));
    if (layer.weight.empty()) {
      return Error(absl::StrCat(path, ".weight"), "the name of a tensor", "none");
    }
    if (!names.insert(layer.name).second) {
      return Error(absl::StrCat(path, ".name"), "distinct names",
                   absl::StrCat(Quoted(layer.name), " again"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBuckets(const std::vector<int64_t>& buckets, int64_t max_rows) {
  if (buckets.size() > kMaxBuckets) {
    return Error("batching.buckets", absl::StrCat("at most ", kMaxBuckets),
                 absl::StrCat(buckets.size()));
  }
  int64_t previous = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    const std::string path = absl::StrCat("batching.buckets[", i, "]");
    MLPSERVE_RETURN_IF_ERROR(CheckRange(path, buckets[i], 1, max_rows));
    if (buckets[i] <= previous) {
      return Error(path, absl::StrCat("ascending values, so over ", previous),
                   absl::StrCat(buckets[i]));
    }
    previous = buckets[i];
  }
  return absl::OkStatus();
}

absl::Status CheckPriorities(const BatchingOptions& batching) {
  MLPSERVE_RETURN_IF_ERROR(
      CheckRange("batching.priority_levels", batching.priority_levels, 0, kMaxPriorityLevels));
  return CheckRange("batching.default_priority", batching.default_priority,
                    std::min(batching.priority_levels, 1), batching.priority_levels);
}

absl::Status CheckBatching(const BlockConfig& config) {
  const BatchingOptions& batching = config.batching;
  MLPSERVE_RETURN_IF_ERROR(
      CheckRange("batching.max_queue_delay_us", batching.max_queue_delay.count(), 0, kMaxDelayUs));
  MLPSERVE_RETURN_IF_ERROR(CheckRange("batching.max_queued_rows", batching.max_queued_rows,
                                      batching.max_rows, kMaxCount));
  MLPSERVE_RETURN_IF_ERROR(CheckRange("batching.max_queued_bytes", batching.max_queued_bytes,
                                      config.input.row_bytes(), kMaxQueuedBytes));
  MLPSERVE_RETURN_IF_ERROR(
      CheckRange("batching.queue_timeout_us", batching.queue_timeout.count(), 0, kMaxTimeoutUs));
  MLPSERVE_RETURN_IF_ERROR(
      CheckRange("batching.max_batch_us", batching.max_batch_time.count(), 0, kMaxDelayUs));
  MLPSERVE_RETURN_IF_ERROR(
      CheckRange("batching.max_queued_us", batching.max_queued_time.count(), 1, kMaxTimeoutUs));
  MLPSERVE_RETURN_IF_ERROR(CheckPriorities(batching));
  return CheckBuckets(batching.buckets, batching.max_rows);
}

absl::Status CheckVersionPolicy(const VersionPolicy& policy) {
  if (policy.kind == VersionPolicy::Kind::kLatest) {
    return CheckRange("version_policy.latest", policy.latest, 1, kMaxCount);
  }
  if (policy.kind == VersionPolicy::Kind::kAll) return absl::OkStatus();
  if (policy.listed.empty()) return Error("version_policy.listed", "at least one version", "none");
  int64_t previous = 0;
  for (const int64_t version : policy.listed) {
    if (version <= previous) {
      return Error("version_policy.listed", "distinct positive versions",
                   absl::StrCat(version, version > 0 ? " again" : ""));
    }
    previous = version;
  }
  return absl::OkStatus();
}

}  // namespace

bool UsesBatchStatistics(const BlockConfig& config) {
  return std::any_of(config.layers.begin(), config.layers.end(),
                     [](const LayerConfig& layer) { return UsesBatchStatistics(layer.epilogue); });
}

absl::Status Validate(const BlockConfig& config) {
  MLPSERVE_RETURN_IF_ERROR(CheckName("name", config.name));
  MLPSERVE_RETURN_IF_ERROR(CheckLayers(config.layers));
  const int64_t min_rows = UsesBatchStatistics(config) ? 2 : 1;
  MLPSERVE_RETURN_IF_ERROR(
      CheckRange("batching.max_rows", config.batching.max_rows, min_rows, kMaxRows));
  MLPSERVE_RETURN_IF_ERROR(CheckTensor("input", config.input, config.batching.max_rows));
  MLPSERVE_RETURN_IF_ERROR(CheckTensor("output", config.output, config.batching.max_rows));
  MLPSERVE_RETURN_IF_ERROR(CheckBatching(config));
  return CheckVersionPolicy(config.version_policy);
}

}  // namespace mlpserve
