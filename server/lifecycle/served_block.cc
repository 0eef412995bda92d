#include "server/lifecycle/served_block.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mlpserve {
namespace {

BatchBuffers BuffersOf(LoadedBlock& block, const LoadOptions& load) {
  BatchBuffers buffers;
  for (int i = 0; i < load.slots; ++i) buffers.slots.push_back(block.input(i));
  for (int i = 0; i < load.outputs; ++i) buffers.outputs.push_back(block.output(i));
  buffers.lanes = block.lanes();
  return buffers;
}

int64_t RowBytes(int64_t features, DataType type) {
  return features * static_cast<int64_t>(ByteSize(type));
}

}  // namespace

class ServedBlock::Observer final : public BatchObserver {
 public:
  Observer(const LoadedBlock& block, std::shared_ptr<BlockMetrics> metrics)
      : block_(block), metrics_(std::move(metrics)) {}

  void OnBatch(int64_t rows, const absl::Status& status, const BatchTiming& timing) override {
    if (!status.ok()) return;
    metrics_->RecordBatch({.rows = rows,
                           .bucket = block_.Bucket(rows),
                           .compute_input = timing.infer_started - timing.started,
                           .compute_infer = timing.infer_ended - timing.infer_started,
                           .compute_output = timing.done - timing.infer_ended});
  }

  void OnEviction(Eviction reason) override { metrics_->RecordEviction(reason); }

 private:
  const LoadedBlock& block_;
  const std::shared_ptr<BlockMetrics> metrics_;
};

BatchingOptions BatchingOptionsOf(const BatchingConfig& config, bool batch_statistics) {
  return {.max_rows = config.max_rows,
          .max_queue_delay = std::chrono::microseconds(config.max_queue_delay_us),
          .max_queued_rows = config.max_queued_rows,
          .max_queued_bytes = config.max_queued_bytes,
          .queue_timeout = std::chrono::microseconds(config.queue_timeout_us),
          .priority_levels = config.priority_levels,
          .default_priority = config.default_priority,
          .one_request_per_batch = batch_statistics};
}

ServedBlock::ServedBlock() = default;
ServedBlock::~ServedBlock() = default;

absl::StatusOr<std::shared_ptr<ServedBlock>> ServedBlock::Create(
    Backend& backend, const BlockSpec& block, const LoadOptions& load,
    const BatchingOptions& options, std::shared_ptr<BlockMetrics> metrics) {
  if (load.max_rows != options.max_rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_rows of the slots must be that of the batches, ", options.max_rows,
                     ", got ", load.max_rows));
  }
  absl::StatusOr<std::unique_ptr<LoadedBlock>> loaded = backend.Load(block, load);
  if (!loaded.ok()) return loaded.status();

  std::shared_ptr<ServedBlock> served(new ServedBlock());
  served->block_ = *std::move(loaded);
  LoadedBlock* const raw = served->block_.get();
  if (metrics != nullptr) served->observer_ = std::make_unique<Observer>(*raw, std::move(metrics));
  BatchBuffers buffers = BuffersOf(*raw, load);
  buffers.input_row_bytes = RowBytes(block.input_features(), block.input_type);
  buffers.output_row_bytes = RowBytes(block.output_features(), block.output_type);
  absl::StatusOr<std::unique_ptr<Batcher>> batcher = Batcher::Create(
      options, std::move(buffers),
      [raw](const BatchRun& run, const BatchDone& done) { raw->Run(run, done); },
      served->observer_.get());
  if (!batcher.ok()) return batcher.status();
  served->batcher_ = *std::move(batcher);
  return served;
}

std::shared_ptr<InferSink> ServedBlock::Sink(const std::shared_ptr<ServedBlock>& served) {
  return {served, served->batcher_.get()};
}

}  // namespace mlpserve
