#include "server/transport/model_info.h"

#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/metrics/block_metrics.h"

namespace mlpserve {
namespace {

constexpr char kPlatform[] = "mlpserve";

// Names from the protocol's list of extensions, of which all that they promise is offered.
constexpr const char* kExtensions[] = {
    "model_configuration", "model_repository", "statistics", "binary_tensor_data",
    "parameters",          "schedule_policy",  "logging"};

inference::DataType ProtoType(DataType type) {
  switch (type) {
    case DataType::kFp32:
      return inference::TYPE_FP32;
    case DataType::kFp16:
      return inference::TYPE_FP16;
    case DataType::kBf16:
      return inference::TYPE_BF16;
  }
  return inference::TYPE_INVALID;
}

void FillTensor(const TensorConfig& tensor,
                inference::ModelMetadataResponse::TensorMetadata* metadata) {
  metadata->set_name(tensor.name);
  metadata->set_datatype(std::string(Name(tensor.datatype)));
  metadata->add_shape(-1);  // the rows
  metadata->add_shape(tensor.features);
}

void FillVersionPolicy(const VersionPolicy& policy, inference::ModelVersionPolicy* proto) {
  switch (policy.kind) {
    case VersionPolicy::Kind::kLatest:
      proto->mutable_latest()->set_num_versions(static_cast<uint32_t>(policy.latest));
      return;
    case VersionPolicy::Kind::kAll:
      proto->mutable_all();
      return;
    case VersionPolicy::Kind::kListed:
      for (const int64_t version : policy.listed) proto->mutable_specific()->add_versions(version);
      return;
  }
}

void FillBatching(const BatchingOptions& batching, inference::ModelDynamicBatching* proto) {
  for (const int64_t bucket : batching.buckets) {
    proto->add_preferred_batch_size(static_cast<int32_t>(bucket));
  }
  proto->set_max_queue_delay_microseconds(static_cast<uint64_t>(batching.max_queue_delay.count()));
  proto->set_priority_levels(static_cast<uint64_t>(batching.priority_levels));
  proto->set_default_priority_level(static_cast<uint64_t>(batching.default_priority));
  inference::ModelQueuePolicy* queue = proto->mutable_default_queue_policy();
  queue->set_timeout_action(inference::ModelQueuePolicy::REJECT);
  queue->set_default_timeout_microseconds(static_cast<uint64_t>(batching.queue_timeout.count()));
  queue->set_allow_timeout_override(true);
}

void FillConfig(const ServerInfo& server, const BlockConfig& block, inference::ModelConfig* proto) {
  proto->set_name(block.name);
  proto->set_platform(kPlatform);
  proto->set_backend(server.backend);
  proto->set_max_batch_size(static_cast<int32_t>(block.batching.max_rows));
  FillVersionPolicy(block.version_policy, proto->mutable_version_policy());
  FillBatching(block.batching, proto->mutable_dynamic_batching());

  inference::ModelInput* input = proto->add_input();
  input->set_name(block.input.name);
  input->set_data_type(ProtoType(block.input.datatype));
  input->add_dims(block.input.features);
  inference::ModelOutput* output = proto->add_output();
  output->set_name(block.output.name);
  output->set_data_type(ProtoType(block.output.datatype));
  output->add_dims(block.output.features);

  inference::ModelInstanceGroup* group = proto->add_instance_group();
  group->set_name(block.name);
  group->set_count(1);
  group->set_kind(server.backend == "cuda" ? inference::ModelInstanceGroup::KIND_GPU
                                           : inference::ModelInstanceGroup::KIND_CPU);
}

void Fill(const CountAndTime& from, inference::StatisticDuration* to) {
  to->set_count(from.count);
  to->set_ns(from.ns);
}

void FillStatistics(const CatalogEntry& entry, inference::ModelStatistics* proto) {
  const BlockStatistics statistics = entry.metrics->Statistics();
  proto->set_name(entry.config.name);
  proto->set_version(absl::StrCat(entry.version));
  proto->set_last_inference(statistics.last_inference_ms);
  proto->set_inference_count(statistics.inference_count);
  proto->set_execution_count(statistics.execution_count);
  inference::InferStatistics* requests = proto->mutable_inference_stats();
  Fill(statistics.success, requests->mutable_success());
  Fill(statistics.fail, requests->mutable_fail());
  Fill(statistics.queue, requests->mutable_queue());
  Fill(statistics.compute_input, requests->mutable_compute_input());
  Fill(statistics.compute_infer, requests->mutable_compute_infer());
  Fill(statistics.compute_output, requests->mutable_compute_output());
  for (const BlockStatistics::Batch& batch : statistics.batches) {
    inference::InferBatchStatistics* batches = proto->add_batch_stats();
    batches->set_batch_size(static_cast<uint64_t>(batch.batch_size));
    Fill(batch.compute_input, batches->mutable_compute_input());
    Fill(batch.compute_infer, batches->mutable_compute_infer());
    Fill(batch.compute_output, batches->mutable_compute_output());
  }
}

}  // namespace

void FillServerMetadata(const ServerInfo& server, inference::ServerMetadataResponse* response) {
  response->set_name("mlpserve");
  response->set_version(server.version);
  for (const char* extension : kExtensions) response->add_extensions(extension);
  if (server.has_system_memory) response->add_extensions("system_shared_memory");
  if (server.has_cuda_memory) response->add_extensions("cuda_shared_memory");
  // The protocol has no field for it. Clients look for the names that they know, and Triton itself
  // lists one with something in brackets: "model_repository(unload_dependents)".
  for (const std::string& device : server.devices) {
    response->add_extensions(absl::StrCat("computes_on(", device, ")"));
  }
}

absl::Status FillModelReady(const Catalog& catalog, const inference::ModelReadyRequest& request,
                            inference::ModelReadyResponse* response) {
  const absl::StatusOr<Catalog::Entry> entry = catalog.FindAny(request.name(), request.version());
  if (!entry.ok() && !absl::IsNotFound(entry.status())) return entry.status();
  response->set_ready(entry.ok() && (*entry)->state == BlockState::kReady);
  return absl::OkStatus();
}

absl::Status FillModelMetadata(const Catalog& catalog,
                               const inference::ModelMetadataRequest& request,
                               inference::ModelMetadataResponse* response) {
  MLPSERVE_ASSIGN_OR_RETURN(const auto entry, catalog.Find(request.name(), request.version()));
  const BlockConfig& block = entry->config;
  response->set_name(block.name);
  response->set_platform(kPlatform);
  if (request.version().empty()) {
    for (const Catalog::Entry& version : catalog.Versions(block.name)) {
      if (version->state == BlockState::kReady) {
        response->add_versions(absl::StrCat(version->version));
      }
    }
  } else {
    response->add_versions(absl::StrCat(entry->version));
  }
  FillTensor(block.input, response->add_inputs());
  FillTensor(block.output, response->add_outputs());
  return absl::OkStatus();
}

absl::Status FillModelConfig(const ServerInfo& server, const Catalog& catalog,
                             const inference::ModelConfigRequest& request,
                             inference::ModelConfigResponse* response) {
  MLPSERVE_ASSIGN_OR_RETURN(const auto entry, catalog.Find(request.name(), request.version()));
  FillConfig(server, entry->config, response->mutable_config());
  return absl::OkStatus();
}

absl::Status FillModelStatistics(const Catalog& catalog,
                                 const inference::ModelStatisticsRequest& request,
                                 inference::ModelStatisticsResponse* response) {
  if (request.name().empty()) {
    for (const Catalog::Entry& entry : catalog.All()) {
      if (entry->state == BlockState::kReady) FillStatistics(*entry, response->add_model_stats());
    }
    return absl::OkStatus();
  }
  if (!request.version().empty()) {
    MLPSERVE_ASSIGN_OR_RETURN(const auto entry, catalog.Find(request.name(), request.version()));
    FillStatistics(*entry, response->add_model_stats());
    return absl::OkStatus();
  }
  MLPSERVE_RETURN_IF_ERROR(catalog.Find(request.name(), "").status());
  for (const Catalog::Entry& entry : catalog.Versions(request.name())) {
    if (entry->state == BlockState::kReady) FillStatistics(*entry, response->add_model_stats());
  }
  return absl::OkStatus();
}

void FillRepositoryIndex(const Catalog& catalog, const inference::RepositoryIndexRequest& request,
                         inference::RepositoryIndexResponse* response) {
  for (const Catalog::Entry& entry : catalog.All()) {
    if (request.ready() && entry->state != BlockState::kReady) continue;
    inference::RepositoryIndexResponse::ModelIndex* index = response->add_models();
    index->set_name(entry->config.name);
    if (entry->version != 0) index->set_version(absl::StrCat(entry->version));
    index->set_state(std::string(Name(entry->state)));
    index->set_reason(entry->reason);
  }
}

}  // namespace mlpserve
