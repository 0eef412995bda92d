// The answers that describe the server and its blocks: from the catalog and the metrics to the
// protocol's messages. No calls, no threads.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/open_inference.pb.h"
#include "server/catalog/catalog.h"

namespace mlpserve {

struct ServerInfo {
  std::string version;
  std::string backend;               // "cpu", "cuda"
  std::vector<std::string> devices;  // what computes, as Backend::devices names it
  bool has_system_memory = false;    // --shared-memory
  bool has_cuda_memory = false;      // the same, and a backend that can
};

void FillServerMetadata(const ServerInfo& server, inference::ServerMetadataResponse* response);

// Errors of the following: those of Catalog::FindAny.
absl::Status FillModelReady(const Catalog& catalog, const inference::ModelReadyRequest& request,
                            inference::ModelReadyResponse* response);
// Besides: those of Catalog::Find, as a block that is not ready may have no tensors to tell of.
absl::Status FillModelMetadata(const Catalog& catalog,
                               const inference::ModelMetadataRequest& request,
                               inference::ModelMetadataResponse* response);
absl::Status FillModelConfig(const ServerInfo& server, const Catalog& catalog,
                             const inference::ModelConfigRequest& request,
                             inference::ModelConfigResponse* response);
// An empty name asks for every block that is ready.
absl::Status FillModelStatistics(const Catalog& catalog,
                                 const inference::ModelStatisticsRequest& request,
                                 inference::ModelStatisticsResponse* response);

// Every block and version, ready or not. There is one repository, whatever its name.
void FillRepositoryIndex(const Catalog& catalog, const inference::RepositoryIndexRequest& request,
                         inference::RepositoryIndexResponse* response);

}  // namespace mlpserve
