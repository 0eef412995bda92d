#include "server/lifecycle/served_block.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

BatchBuffers BuffersOf(LoadedBlock& loaded, const BlockSpec& block) {
  const Placement& placement = loaded.placement();
  BatchBuffers buffers{.slots = {},
                       .outputs = {},
                       .input_row_bytes = RowBytes(block.input_features(), block.input_type),
                       .output_row_bytes = RowBytes(block.output_features(), block.output_type),
                       .lanes = placement.lanes,
                       .lanes_per_device = placement.lanes_per_device,
                       .runs_inline = placement.runs_inline,
                       .batch_times = loaded.batch_times()};
  for (int i = 0; i < placement.slots; ++i) buffers.slots.push_back(loaded.input(i));
  for (int i = 0; i < placement.outputs; ++i) buffers.outputs.push_back(loaded.output(i));
  return buffers;
}

// What the whole block wants, which the allocation that failed does not know.
absl::Status WithNeeds(const absl::Status& status, const Placement& placement) {
  if (!absl::IsResourceExhausted(status)) return status;
  const std::string device =
      placement.device_bytes > 0
          ? absl::StrCat(" and ", placement.device_bytes, " bytes of each device")
          : "";
  return absl::ResourceExhaustedError(absl::StrCat("it needs up to ", placement.host_bytes,
                                                   " bytes of the host", device, ": ",
                                                   std::string(status.message())));
}

}  // namespace

class ServedBlock::Observer final : public BatchObserver {
 public:
  Observer(const LoadedBlock& block, std::shared_ptr<BlockMetrics> metrics,
           std::function<void(const absl::Status&)> on_lost)
      : block_(block), metrics_(std::move(metrics)), on_lost_(std::move(on_lost)) {}

  void OnBatch(int64_t rows, const absl::Status& status, const BatchTiming& timing) override {
    if (!status.ok() || metrics_ == nullptr) return;
    metrics_->RecordBatch({.rows = rows,
                           .bucket = block_.Bucket(rows),
                           .compute_input = timing.infer_started - timing.started,
                           .compute_infer = timing.infer_ended - timing.infer_started,
                           .compute_output = timing.done - timing.infer_ended});
  }

  void OnEviction(Eviction reason) override {
    if (metrics_ != nullptr) metrics_->RecordEviction(reason);
  }

  void OnLost(const absl::Status& reason) override {
    if (on_lost_) on_lost_(reason);
  }

 private:
  const LoadedBlock& block_;
  const std::shared_ptr<BlockMetrics> metrics_;
  const std::function<void(const absl::Status&)> on_lost_;
};

ServedBlock::ServedBlock() = default;
ServedBlock::~ServedBlock() = default;

absl::StatusOr<std::unique_ptr<ServedBlock>> ServedBlock::Create(
    const Needs& needs, const BlockSpec& block, const BatchingOptions& options,
    const LoadControl& control, std::shared_ptr<BlockMetrics> metrics) {
  MLPSERVE_ASSIGN_OR_RETURN(const Placement placement, needs.backend.Prepare(block, options));
  auto placed = needs.backend.Load(block, placement, control);
  if (absl::IsUnavailable(placed.status()) && needs.on_lost) needs.on_lost(placed.status());
  MLPSERVE_RETURN_IF_ERROR(WithNeeds(placed.status(), placement));
  std::unique_ptr<ServedBlock> served(new ServedBlock());
  served->block_ = *std::move(placed);
  LoadedBlock& loaded = *served->block_;
  served->observer_ = std::make_unique<Observer>(loaded, std::move(metrics), needs.on_lost);
  MLPSERVE_ASSIGN_OR_RETURN(
      served->batcher_, Batcher::Create(options, BuffersOf(loaded, block), loaded, needs.threads,
                                        served->observer_.get()));
  return served;
}

std::shared_ptr<InferSink> ServedBlock::Sink(const std::shared_ptr<ServedBlock>& served) {
  return {served, served->batcher_.get()};
}

}  // namespace mlpserve
