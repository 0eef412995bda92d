// A loaded block with its batcher in front: what main.cc makes one of per block version.
//
// The one place where batching, engine and metrics meet. Thread-safe as Batcher is.
//
// Its end waits for requests in flight and for the last lease, so for readers: a Retirer sees to it
// that this happens on a thread that may block, whoever drops the last reference.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/batching/batch_threads.h"
#include "server/batching/batcher.h"
#include "server/engine/backend.h"
#include "server/metrics/block_metrics.h"

namespace mlpserve {

class ServedBlock {
 public:
  // What stands around the block, and must outlive it.
  struct Needs {
    Backend& backend;
    BatchThreads& threads;
    // Told, on any thread, that the device is lost; perhaps more than once. May be empty.
    std::function<void(const absl::Status& reason)> on_lost;
  };

  // Loads the block and puts a batcher before it. Batches and evictions are recorded in `metrics`,
  // which may be null.
  // Errors: those of Backend::Prepare, Backend::Load and Batcher::Create.
  static absl::StatusOr<std::unique_ptr<ServedBlock>> Create(const Needs& needs,
                                                             const BlockSpec& block,
                                                             const BatchingOptions& options,
                                                             const LoadControl& control,
                                                             std::shared_ptr<BlockMetrics> metrics);

  // Drains, waits for the last lease, and unloads.
  ~ServedBlock();

  // What the transport submits to; keeps `served` alive.
  static std::shared_ptr<InferSink> Sink(const std::shared_ptr<ServedBlock>& served);

  void Drain() { batcher_->Drain(); }
  QueueState stats() const { return batcher_->stats(); }
  std::vector<KernelVariant> variants() const { return block_->variants(); }
  BlockMemory memory() const { return block_->memory(); }

 private:
  class Observer;

  ServedBlock();

  // Destroyed from the last to the first: the batcher before what it points into.
  std::unique_ptr<LoadedBlock> block_;
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<Batcher> batcher_;
};

}  // namespace mlpserve
