// Brings the blocks of a repository into service: reads, loads and warms each, and tells the
// catalog, the metrics and the log how it went. A block that fails harms no other.
//
// Threads: one at a time, besides the readers of the catalog.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/engine/backend.h"
#include "server/lifecycle/served_block.h"
#include "server/metrics/metrics.h"
#include "server/model/repository.h"

namespace mlpserve {

struct LoadSummary {
  int loaded = 0;
  std::vector<std::string> failed;  // "name/version", or the name where no version was chosen
};

class Loader {
 public:
  // All must outlive the Loader.
  Loader(Backend& backend, Catalog& catalog, Metrics& metrics)
      : backend_(backend), catalog_(catalog), metrics_(metrics) {}

  // Puts every block and version of `scan` into the catalog as LOADING, or as failed where its
  // model.json is wrong.
  void Announce(const RepositoryScan& scan);

  // Loads them one after the other; between two of them it gives up if `stop` was requested.
  LoadSummary Load(const RepositoryScan& scan, const std::stop_token& stop);

  // Waits until no batch of any block runs or waits, and ends the blocks' metrics: from then on
  // only the catalog holds the blocks.
  void Finish();

 private:
  // The block's own error, or OK once it serves.
  absl::Status LoadVersion(const BlockConfig& config, int64_t version);
  absl::StatusOr<std::shared_ptr<ServedBlock>> Serve(const BlockConfig& config,
                                                     const BlockSpec& block,
                                                     const std::shared_ptr<BlockMetrics>& metrics);
  void Fail(const BlockConfig& config, int64_t version, const absl::Status& status);

  Backend& backend_;
  Catalog& catalog_;
  Metrics& metrics_;
  std::vector<std::shared_ptr<ServedBlock>> served_;
};

// Bytes that the largest request of these blocks takes on the wire: max_rows rows and the message
// around them.
int64_t LargestRequestBytes(const RepositoryScan& scan);

}  // namespace mlpserve
