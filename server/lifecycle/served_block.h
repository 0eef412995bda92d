// A loaded block with its batcher in front: what main.cc makes one of per block version.
//
// The one place where batching, engine and metrics meet. Thread-safe as Batcher is.
//
// Its end waits for requests in flight and for the last lease, so for readers: whoever retires a
// block keeps a reference until nobody else has one, and drops it on a thread that may block. A
// request's OnDone must never drop the last one.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/batching/batcher.h"
#include "server/batching/options.h"
#include "server/engine/backend.h"
#include "server/metrics/block_metrics.h"
#include "server/model/block_config.h"

namespace mlpserve {

// `config` has passed Validate; `batch_statistics` is UsesBatchStatistics of it.
BatchingOptions BatchingOptionsOf(const BatchingConfig& config, bool batch_statistics);

class ServedBlock {
 public:
  // Loads the block and puts a batcher before it. `load` says how many slots and outputs there are;
  // its max_rows must be that of `options`. Batches and evictions are recorded in `metrics`, which
  // may be null. `backend` must outlive what is returned.
  // Errors: those of Backend::Load and Batcher::Create.
  static absl::StatusOr<std::shared_ptr<ServedBlock>> Create(Backend& backend,
                                                             const BlockSpec& block,
                                                             const LoadOptions& load,
                                                             const BatchingOptions& options,
                                                             std::shared_ptr<BlockMetrics> metrics);

  // Drains, waits for the last lease, and unloads.
  ~ServedBlock();

  // What the transport submits to; keeps `served` alive.
  static std::shared_ptr<InferSink> Sink(const std::shared_ptr<ServedBlock>& served);

  void Drain() { batcher_->Drain(); }
  QueueState stats() const { return batcher_->stats(); }
  std::vector<KernelVariant> variants() const { return block_->variants(); }

 private:
  class Observer;

  ServedBlock();

  // Destroyed from the last to the first: the batcher before what it points into.
  std::unique_ptr<LoadedBlock> block_;
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<Batcher> batcher_;
};

}  // namespace mlpserve
