#include "kernels/cuda/engine/cuda_block.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/cuda/engine/elementwise_step.h"
#include "kernels/cuda/engine/layer_builder.h"
#include "kernels/cuda/plan/buckets.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

using Layer = std::vector<std::shared_ptr<const Step>>;  // for each bucket

}  // namespace

class CudaBlock::State {
 public:
  State(const CudaBlockOptions& options, KernelStore& store, bool batch_invariant)
      : options_(options),
        store_(store),
        buckets_(Buckets(options.max_rows, options.buckets)),
        batch_invariant_(batch_invariant),
        chooser_({.choice = options.choice,
                  .batch_invariant = batch_invariant,
                  .tuning_directory = options.tuning_directory},
                 store, options.library),
        builder_(options.max_rows, store) {}

  // Nothing may be freed while it runs.
  ~State() {
    if (stream_.get() != nullptr) (void)stream_.Synchronize();
  }

  absl::Status Load(const BlockSpec& block);
  absl::StatusOr<RunTimes> Run(const std::byte* input, std::byte* output, int64_t rows);

  size_t BucketIndex(int64_t rows) const {
    return static_cast<size_t>(std::ranges::lower_bound(buckets_, rows) - buckets_.begin());
  }
  int64_t bucket(size_t index) const { return buckets_[index]; }
  const std::vector<PlanRow>& plan() const { return plan_; }
  const LoadTimes& load_times() const { return load_times_; }

 private:
  absl::Status CreateStream();
  absl::Status AddInput(const BlockSpec& block);
  absl::Status ReserveScratch(const BlockSpec& block);
  void ReleaseUnused(const BlockSpec& block);
  absl::Status AddLayer(const BlockSpec& block, const LayerSpec& spec, const Activation& x,
                        const Activation& y);
  absl::Status AddProduct(const std::string& name, const Product& product, Layer& layer);
  absl::Status LaunchAll(int64_t rows) const;

  const CudaBlockOptions options_;
  KernelStore& store_;
  const std::vector<int64_t> buckets_;
  const bool batch_invariant_;
  LayerChooser chooser_;

  Stream stream_;
  std::array<Event, 4> marks_;  // begin, copied in, computed, copied out
  LayerBuilder builder_;

  Activation wire_input_, x_, wire_output_;
  std::shared_ptr<const Step> convert_input_;  // null: the wire's rows are the first layer's
  std::vector<Layer> layers_;
  std::vector<PlanRow> plan_;
  LoadTimes load_times_;
};

absl::Status CudaBlock::State::CreateStream() {
  absl::StatusOr<Stream> stream = Stream::Create();
  if (!stream.ok()) return stream.status();
  stream_ = *std::move(stream);
  for (Event& mark : marks_) {
    absl::StatusOr<Event> event = Event::Create();
    if (!event.ok()) return event.status();
    mark = *std::move(event);
  }
  return absl::OkStatus();
}

// The rows as they come, and as the first layer reads them: one buffer where these are the same.
absl::Status CudaBlock::State::AddInput(const BlockSpec& block) {
  const int64_t features = block.input_features();
  const DataType type = StorageType(block.compute);
  absl::StatusOr<Activation> wire =
      builder_.AllocateActivation(features, features, block.input_type);
  if (!wire.ok()) return wire.status();
  wire_input_ = x_ = *wire;
  const int64_t stride = AlignedStride(features, type);
  if (block.input_type == type && stride == features) return absl::OkStatus();
  const absl::StatusOr<Activation> x = builder_.AllocateActivation(features, stride, type);
  if (!x.ok()) return x.status();
  x_ = *x;
  GemmArgs args;
  args.x = wire_input_.data;
  args.x_stride = wire_input_.stride;
  args.y = x_.data;
  args.y_stride = x_.stride;
  args.n = static_cast<int32_t>(features);
  auto convert = ElementwiseStep::Make({}, {.x = block.input_type, .y = type}, args, store_);
  if (!convert.ok()) return convert.status();
  convert_input_ = *std::move(convert);
  return absl::OkStatus();
}

// What a pass of its own finishes: products before batch statistics, and the library's. What one
// begins: FP32 products that are made of halves.
absl::Status CudaBlock::State::ReserveScratch(const BlockSpec& block) {
  int64_t widest = 0;
  int64_t widest_split = 0;
  for (const LayerSpec& layer : block.layers) {
    if (options_.library != nullptr || UsesBatchStatistics(layer.epilogue)) {
      widest = std::max(widest, layer.outputs);
    }
    if (block.compute == ComputeType::kFp32 && layer.inputs >= kLeastHalvesDepth) {
      widest_split = std::max(widest_split, layer.inputs);
    }
  }
  if (widest_split > 0) MLPSERVE_RETURN_IF_ERROR(builder_.ReserveHalves(widest_split));
  return builder_.ReserveUnfinished(widest);
}

// The library, and products that are made of halves, were measured and may have been chosen
// nowhere.
void CudaBlock::State::ReleaseUnused(const BlockSpec& block) {
  if (std::ranges::none_of(plan_, &PlanRow::reads_halves)) builder_.ReleaseHalves();
  if (std::ranges::any_of(plan_, &PlanRow::by_library)) return;
  builder_.ReleaseWorkspace();
  const bool finishes = std::ranges::any_of(
      block.layers, [](const LayerSpec& layer) { return UsesBatchStatistics(layer.epilogue); });
  if (!finishes) builder_.ReleaseUnfinished();
}

absl::Status CudaBlock::State::Load(const BlockSpec& block) {
  MLPSERVE_RETURN_IF_ERROR(CreateStream());
  MLPSERVE_RETURN_IF_ERROR(AddInput(block));
  MLPSERVE_RETURN_IF_ERROR(ReserveScratch(block));
  const DataType type = StorageType(block.compute);
  const int64_t outputs = block.output_features();
  const absl::StatusOr<Activation> last =
      builder_.AllocateActivation(outputs, outputs, block.output_type);
  if (!last.ok()) return last.status();
  wire_output_ = *last;
  int64_t widest = 0;
  for (size_t i = 0; i + 1 < block.layers.size(); ++i) {
    widest = std::max(widest, AlignedStride(block.layers[i].outputs, type));
  }
  std::array<void*, 2> between{};
  for (void*& buffer : between) {
    const absl::StatusOr<Activation> activation = builder_.AllocateActivation(widest, widest, type);
    if (!activation.ok()) return activation.status();
    buffer = activation->data;
  }
  Activation x = x_;
  for (size_t i = 0; i < block.layers.size(); ++i) {
    const LayerSpec& layer = block.layers[i];
    Activation y = wire_output_;
    if (i + 1 < block.layers.size()) {
      y = {.data = between[i % 2],
           .features = layer.outputs,
           .stride = AlignedStride(layer.outputs, type),
           .type = type};
    }
    MLPSERVE_RETURN_IF_ERROR(AddLayer(block, layer, x, y));
    x = y;
  }
  ReleaseUnused(block);
  // The first launch of a kernel loads it.
  for (const int64_t rows : buckets_) MLPSERVE_RETURN_IF_ERROR(LaunchAll(rows));
  return stream_.Synchronize();
}

absl::Status CudaBlock::State::AddProduct(const std::string& name, const Product& product,
                                          Layer& layer) {
  const auto begin = std::chrono::steady_clock::now();
  std::chrono::nanoseconds measuring{};
  std::shared_ptr<const Step> same;
  chooser_.CompileAhead(product, buckets_);
  for (const int64_t bucket : buckets_) {
    if (same == nullptr) {
      // A batch-invariant layer's one kernel must take every batch.
      absl::StatusOr<ChosenKernel> chosen =
          chooser_.Choose(product, batch_invariant_ ? options_.max_rows : bucket, stream_);
      if (!chosen.ok()) return chosen.status();
      measuring += chosen->measuring;
      chosen->plan.layer = name;
      plan_.push_back(chosen->plan);
      layer.push_back(chosen->step);
      if (batch_invariant_) same = chosen->step;
    } else {
      plan_.push_back(plan_.back());
      layer.push_back(same);
    }
    plan_.back().bucket = bucket;
  }
  load_times_.measuring += measuring;
  load_times_.kernels += std::chrono::steady_clock::now() - begin - measuring;
  return absl::OkStatus();
}

absl::Status CudaBlock::State::AddLayer(const BlockSpec& block, const LayerSpec& spec,
                                        const Activation& x, const Activation& y) {
  const auto begin = std::chrono::steady_clock::now();
  const absl::StatusOr<Product> product = builder_.Build(spec, block.compute, x, x_, y, stream_);
  if (!product.ok()) return product.status();
  load_times_.weights += std::chrono::steady_clock::now() - begin;
  Layer layer;
  MLPSERVE_RETURN_IF_ERROR(AddProduct(spec.name, *product, layer));
  layers_.push_back(std::move(layer));
  return absl::OkStatus();
}

absl::Status CudaBlock::State::LaunchAll(int64_t rows) const {
  const int32_t m = static_cast<int32_t>(rows);
  const size_t bucket = BucketIndex(rows);
  if (convert_input_ != nullptr) MLPSERVE_RETURN_IF_ERROR(convert_input_->Launch(m, stream_));
  for (const Layer& layer : layers_) {
    MLPSERVE_RETURN_IF_ERROR(layer[bucket]->Launch(m, stream_));
  }
  return absl::OkStatus();
}

absl::StatusOr<RunTimes> CudaBlock::State::Run(const std::byte* input, std::byte* output,
                                               int64_t rows) {
  MLPSERVE_RETURN_IF_ERROR(Use(store_.device()));
  const auto bytes = [rows](const Activation& a) {
    return static_cast<size_t>(rows * a.features) * ByteSize(a.type);
  };
  MLPSERVE_RETURN_IF_ERROR(marks_[0].Record(stream_));
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(wire_input_.data, input, bytes(wire_input_),
                                                cudaMemcpyHostToDevice, stream_.get()));
  MLPSERVE_RETURN_IF_ERROR(marks_[1].Record(stream_));
  MLPSERVE_RETURN_IF_ERROR(LaunchAll(rows));
  MLPSERVE_RETURN_IF_ERROR(marks_[2].Record(stream_));
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(output, wire_output_.data, bytes(wire_output_),
                                                cudaMemcpyDeviceToHost, stream_.get()));
  MLPSERVE_RETURN_IF_ERROR(marks_[3].Record(stream_));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  std::array<std::chrono::nanoseconds, 3> took{};
  for (size_t i = 0; i < took.size(); ++i) {
    const absl::StatusOr<float> ms = MillisecondsBetween(marks_[i], marks_[i + 1]);
    if (!ms.ok()) return ms.status();
    took[i] = std::chrono::nanoseconds(static_cast<int64_t>(1e6 * *ms));
  }
  return RunTimes{.copy_in = took[0], .compute = took[1], .copy_out = took[2]};
}

CudaBlock::CudaBlock(std::unique_ptr<State> state) : state_(std::move(state)) {}
CudaBlock::~CudaBlock() = default;

absl::StatusOr<std::unique_ptr<CudaBlock>> CudaBlock::Load(const BlockSpec& block,
                                                           const CudaBlockOptions& options,
                                                           KernelStore& store) {
  MLPSERVE_RETURN_IF_ERROR(Use(store.device()));
  auto state = std::make_unique<State>(options, store, block.batch_invariant);
  MLPSERVE_RETURN_IF_ERROR(state->Load(block));
  return std::unique_ptr<CudaBlock>(new CudaBlock(std::move(state)));
}

absl::StatusOr<RunTimes> CudaBlock::Run(const std::byte* input, std::byte* output, int64_t rows) {
  return state_->Run(input, output, rows);
}

int64_t CudaBlock::Bucket(int64_t rows) const { return state_->bucket(state_->BucketIndex(rows)); }

const std::vector<PlanRow>& CudaBlock::plan() const { return state_->plan(); }

const LoadTimes& CudaBlock::load_times() const { return state_->load_times(); }

}  // namespace mlpserve::cuda
