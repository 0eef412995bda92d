#include "kernels/cuda/engine/device_block.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/engine/elementwise_pass.h"
#include "kernels/cuda/engine/layer_chooser.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

using Clock = std::chrono::steady_clock;

// Fills a block, in the order of its methods.
class DeviceBlock::Loader {
 public:
  Loader(const BlockSpec& spec, const DeviceBlockOptions& options, DeviceBlock& block,
         KernelStore& store, const Stream& stream)
      : spec_(spec),
        options_(options),
        block_(block),
        plan_(block.plan_),
        store_(store),
        stream_(stream),
        chooser_({.choice = plan_.options.choice,
                  .may_measure = options.may_measure,
                  .tuning_directory = options.tuning_directory,
                  .library = plan_.may_use_library ? options.library : nullptr,
                  .lane = plan_.lane},
                 store, stream) {}

  absl::Status CompileAndUpload();
  absl::Status ChooseAll();
  // What the chosen kernels leave unread.
  void DropUnreadWeights();
  void SizeLane();

 private:
  absl::StatusOr<std::vector<KernelText>> TextsToCompile();
  absl::Status UploadAll();
  absl::Status LoadRowsKernels();
  absl::Status ChooseLayer(const LayerPlan& plan, Layer& layer);
  absl::Status Report(const char* step, size_t done) const;

  const BlockSpec& spec_;
  const DeviceBlockOptions& options_;
  DeviceBlock& block_;
  const BlockPlan& plan_;
  KernelStore& store_;
  const Stream& stream_;
  LayerChooser chooser_;
  BufferBytes scratch_;                // of the chosen kernels
  std::vector<bool> splits_, plains_;  // by layer: whether a chosen kernel reads that form
};

absl::Status DeviceBlock::Loader::Report(const char* step, size_t done) const {
  if (options_.stop.stop_requested()) {
    return absl::CancelledError(absl::StrCat("stopped while ", step));
  }
  if (options_.progress) {
    options_.progress(step, static_cast<int64_t>(done), static_cast<int64_t>(plan_.layers.size()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<KernelText>> DeviceBlock::Loader::TextsToCompile() {
  MLPSERVE_ASSIGN_OR_RETURN(std::vector<KernelText> texts, InputTexts(plan_));
  std::ranges::move(HostRowsTexts(plan_), std::back_inserter(texts));
  for (const LayerPlan& layer : plan_.layers) {
    MLPSERVE_ASSIGN_OR_RETURN(std::vector<KernelText> passes, PassTexts(layer, plan_.limits));
    std::ranges::move(passes, std::back_inserter(texts));
    if (plan_.may_use_library && options_.library != nullptr) {
      MLPSERVE_ASSIGN_OR_RETURN(std::optional<KernelText> pass, LibraryPassText(layer));
      if (pass) texts.push_back(*std::move(pass));
    }
    MLPSERVE_RETURN_IF_ERROR(chooser_.AddTexts(layer, texts));
  }
  return texts;
}

absl::Status DeviceBlock::Loader::UploadAll() {
  TensorCopier copier;
  for (size_t i = 0; i < plan_.layers.size(); ++i) {
    MLPSERVE_RETURN_IF_ERROR(Report("copying weights", i));
    MLPSERVE_ASSIGN_OR_RETURN(
        LayerData data, UploadLayer(spec_.layers[i], plan_.layers[i], store_, copier, stream_));
    block_.layers_.push_back({.data = std::move(data), .steps = {}});
  }
  return absl::OkStatus();
}

absl::Status DeviceBlock::Loader::CompileAndUpload() {
  const Clock::time_point begin = Clock::now();
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<KernelText> texts, TextsToCompile());
  Clock::duration compiling{};
  {
    const std::jthread compile([&] {
      store_.CompileAhead(texts, options_.stop);
      compiling = Clock::now() - begin;
    });
    MLPSERVE_RETURN_IF_ERROR(UploadAll());
    block_.load_times_.weights = Clock::now() - begin;
  }
  block_.load_times_.kernels = compiling;
  return LoadRowsKernels();
}

absl::Status DeviceBlock::Loader::LoadRowsKernels() {
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<KernelText> input, InputTexts(plan_));
  if (!input.empty()) {
    MLPSERVE_ASSIGN_OR_RETURN(block_.convert_input_, store_.Get(input.front(), 0));
  }
  const std::vector<KernelText> moving = HostRowsTexts(plan_);
  if (moving.empty()) return absl::OkStatus();
  MLPSERVE_ASSIGN_OR_RETURN(block_.host_rows_kernels_.fetch, store_.Get(moving.front(), 0));
  MLPSERVE_ASSIGN_OR_RETURN(block_.host_rows_kernels_.send, store_.Get(moving.back(), 0));
  return absl::OkStatus();
}

absl::Status DeviceBlock::Loader::ChooseLayer(const LayerPlan& plan, Layer& layer) {
  bool reads_split = false;
  bool reads_plain = false;
  for (const BucketPlan& bucket : plan.buckets) {
    if (options_.stop.stop_requested())
      return absl::CancelledError("stopped while choosing kernels");
    MLPSERVE_ASSIGN_OR_RETURN(const ChosenKernel chosen, chooser_.Choose(plan, layer.data, bucket));
    layer.steps.push_back(chosen.step);
    scratch_.Cover(chosen.scratch);
    (chosen.row.reads_split ? reads_split : reads_plain) = true;
    block_.table_.push_back(chosen.row);
    block_.table_.back().layer = plan.name;
  }
  splits_.push_back(reads_split);
  plains_.push_back(reads_plain);
  return absl::OkStatus();
}

absl::Status DeviceBlock::Loader::ChooseAll() {
  const Clock::time_point begin = Clock::now();
  for (size_t i = 0; i < plan_.layers.size(); ++i) {
    MLPSERVE_RETURN_IF_ERROR(Report("choosing kernels", i));
    MLPSERVE_RETURN_IF_ERROR(ChooseLayer(plan_.layers[i], block_.layers_[i]));
  }
  block_.load_times_.measuring = chooser_.measuring();
  block_.load_times_.kernels += Clock::now() - begin - chooser_.measuring();
  return absl::OkStatus();
}

void DeviceBlock::Loader::DropUnreadWeights() {
  for (size_t i = 0; i < block_.layers_.size(); ++i) {
    LayerData& data = block_.layers_[i].data;
    if (!splits_[i]) data.split_weight.reset();
    if (!plains_[i]) data.weight.reset();
  }
}

// The plan's rows, and the scratch memory of the chosen kernels alone.
void DeviceBlock::Loader::SizeLane() {
  block_.lane_ = scratch_;
  for (const Buffer buffer : {Buffer::kWireInput, Buffer::kInput, Buffer::kBetweenEven,
                              Buffer::kBetweenOdd, Buffer::kWireOutput}) {
    block_.lane_[buffer] = plan_.lane[buffer];
  }
}

absl::StatusOr<std::shared_ptr<const DeviceBlock>> DeviceBlock::Load(
    const BlockSpec& block, BlockPlan plan, const DeviceBlockOptions& options, KernelStore& store) {
  MLPSERVE_RETURN_IF_ERROR(Use(store.device()));
  MLPSERVE_ASSIGN_OR_RETURN(const Stream stream, Stream::Create());
  std::shared_ptr<DeviceBlock> loaded(new DeviceBlock(std::move(plan), store.device()));
  Loader loader(block, options, *loaded, store, stream);
  MLPSERVE_RETURN_IF_ERROR(loader.CompileAndUpload());
  MLPSERVE_RETURN_IF_ERROR(loader.ChooseAll());
  loader.DropUnreadWeights();
  loader.SizeLane();
  // Nothing may be freed while the stream still works.
  MLPSERVE_RETURN_IF_ERROR(stream.Synchronize());
  return loaded;
}

int64_t DeviceBlock::shared_bytes() const {
  size_t bytes = 0;
  for (const Layer& layer : layers_) {
    for (const auto& weight : {layer.data.weight, layer.data.split_weight}) {
      if (weight != nullptr) bytes += weight->size();
    }
    for (const DeviceMemory& vectors : *layer.data.vectors) bytes += vectors.size();
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<std::vector<std::unique_ptr<BoundStep>>> DeviceBlock::Bind(
    size_t bucket, const LaneMemory& memory) const {
  std::vector<std::unique_ptr<BoundStep>> bound;
  if (convert_input_ != nullptr) {
    GemmArgs args;
    args.x = memory.at(plan_.wire_input);
    args.x_stride = plan_.wire_input.stride;
    args.y = memory.at(plan_.input);
    args.y_stride = plan_.input.stride;
    args.n = static_cast<int32_t>(plan_.input.features);
    bound.push_back(std::make_unique<ElementwisePass>(convert_input_, args));
  }
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    // One step for all buckets where rows must not depend on their batch.
    const Step& step = *layer.steps[std::min(bucket, layer.steps.size() - 1)];
    MLPSERVE_ASSIGN_OR_RETURN(
        auto one, step.Bind({.layer = plan_.layers[i], .data = layer.data, .memory = memory}));
    bound.push_back(std::move(one));
  }
  return bound;
}

}  // namespace mlpserve::cuda
