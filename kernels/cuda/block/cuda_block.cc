#include "kernels/cuda/block/cuda_block.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/block/batch_norm_step.h"
#include "kernels/cuda/block/buckets.h"
#include "kernels/cuda/block/elementwise_step.h"
#include "kernels/cuda/block/epilogue_parts.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/spec/canonical.h"

namespace mlpserve::cuda {
namespace {

struct Activation {  // [rows, features] on the device
  void* data = nullptr;
  int64_t features = 0;
  int64_t stride = 0;
  DataType type = DataType::kFp32;
};

struct Layer {
  std::vector<std::shared_ptr<const Step>> product;  // for each bucket
  std::vector<std::shared_ptr<const Step>> passes;   // after it
};

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
                 store, options.library) {}

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

 private:
  absl::Status CreateStream();
  absl::StatusOr<void*> Allocate(size_t bytes);
  absl::StatusOr<Activation> AllocateActivation(int64_t features, int64_t stride, DataType type);
  absl::Status AddInput(const BlockSpec& block);
  absl::Status ReserveUnfinished(const BlockSpec& block);
  absl::StatusOr<Product> MakeProduct(const LayerSpec& layer, ComputeType compute,
                                      const Activation& x, const EpilogueSpec& epilogue);
  absl::Status UploadWeight(const LayerSpec& layer, ComputeType compute, Product& product);
  absl::StatusOr<EpilogueArgs> UploadColumns(const std::vector<std::vector<float>>& columns,
                                             int64_t outputs);
  absl::Status AddLayer(const BlockSpec& block, const LayerSpec& spec, const Activation& x,
                        const Activation& y);
  absl::Status AddProduct(const std::string& name, const Product& product, Layer& layer);
  absl::Status AddNorm(const EpiloguePart& part, const EpilogueSpec& whole, const Product& product,
                       const Activation& z, const Activation& to, Layer& layer);
  absl::Status LaunchAll(int64_t rows) const;

  const CudaBlockOptions options_;
  KernelStore& store_;
  const std::vector<int64_t> buckets_;
  const bool batch_invariant_;
  const LayerChooser chooser_;

  Stream stream_;
  std::array<Event, 4> marks_;  // begin, copied in, computed, copied out
  std::vector<DeviceMemory> memory_;
  std::shared_ptr<Scratch> partials_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> arrivals_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> unfinished_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> workspace_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> moments_ = std::make_shared<Scratch>();

  Activation wire_input_, x_, wire_output_;
  std::shared_ptr<const Step> convert_input_;  // null: the wire's rows are the first layer's
  std::vector<Layer> layers_;
  std::vector<PlanRow> plan_;
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

absl::StatusOr<void*> CudaBlock::State::Allocate(size_t bytes) {
  absl::StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(bytes);
  if (!memory.ok()) return memory.status();
  memory_.push_back(*std::move(memory));
  return memory_.back().get();
}

absl::StatusOr<Activation> CudaBlock::State::AllocateActivation(int64_t features, int64_t stride,
                                                                DataType type) {
  const absl::StatusOr<void*> data =
      Allocate(static_cast<size_t>(options_.max_rows * stride) * ByteSize(type));
  if (!data.ok()) return data.status();
  return Activation{.data = *data, .features = features, .stride = stride, .type = type};
}

// The rows as they come, and as the first layer reads them: one buffer where these are the same.
absl::Status CudaBlock::State::AddInput(const BlockSpec& block) {
  const int64_t features = block.input_features();
  const DataType type = StorageType(block.compute);
  absl::StatusOr<Activation> wire = AllocateActivation(features, features, block.input_type);
  if (!wire.ok()) return wire.status();
  wire_input_ = x_ = *wire;
  const int64_t stride = AlignedStride(features, type);
  if (block.input_type == type && stride == features) return absl::OkStatus();
  const absl::StatusOr<Activation> x = AllocateActivation(features, stride, type);
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

// What a pass of its own finishes: products before batch statistics, and the library's.
absl::Status CudaBlock::State::ReserveUnfinished(const BlockSpec& block) {
  int64_t widest = 0;
  for (const LayerSpec& layer : block.layers) {
    if (options_.library != nullptr || UsesBatchStatistics(layer.epilogue)) {
      widest = std::max(widest, AlignedStride(layer.outputs, DataType::kFp32));
    }
  }
  return unfinished_->Reserve(static_cast<size_t>(options_.max_rows * widest) * sizeof(float));
}

absl::Status CudaBlock::State::Load(const BlockSpec& block) {
  MLPSERVE_RETURN_IF_ERROR(CreateStream());
  MLPSERVE_RETURN_IF_ERROR(AddInput(block));
  MLPSERVE_RETURN_IF_ERROR(ReserveUnfinished(block));
  const DataType type = StorageType(block.compute);
  const int64_t outputs = block.output_features();
  const absl::StatusOr<Activation> last = AllocateActivation(outputs, outputs, block.output_type);
  if (!last.ok()) return last.status();
  wire_output_ = *last;
  int64_t widest = 0;
  for (size_t i = 0; i + 1 < block.layers.size(); ++i) {
    widest = std::max(widest, AlignedStride(block.layers[i].outputs, type));
  }
  std::array<void*, 2> between{};
  for (void*& buffer : between) {
    const absl::StatusOr<Activation> activation = AllocateActivation(widest, widest, type);
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
  // The first launch of a kernel loads it.
  for (const int64_t rows : buckets_) MLPSERVE_RETURN_IF_ERROR(LaunchAll(rows));
  return stream_.Synchronize();
}

absl::Status CudaBlock::State::UploadWeight(const LayerSpec& layer, ComputeType compute,
                                            Product& product) {
  const DataType type = StorageType(compute);
  const int64_t stride = AlignedStride(layer.inputs, type);
  const absl::StatusOr<void*> weight =
      Allocate(static_cast<size_t>(layer.outputs * stride) * ByteSize(type));
  if (!weight.ok()) return weight.status();
  product.args.w = *weight;
  product.args.w_stride = stride;
  const size_t bytes = layer.weight.size() * sizeof(float);
  if (type == DataType::kFp32 && stride == layer.inputs) {
    return CopyToDevice(*weight, layer.weight.data(), bytes);
  }
  const absl::StatusOr<DeviceMemory> as_given = DeviceMemory::Allocate(bytes);
  if (!as_given.ok()) return as_given.status();
  MLPSERVE_RETURN_IF_ERROR(CopyToDevice(as_given->get(), layer.weight.data(), bytes));
  GemmArgs args;
  args.x = as_given->get();
  args.x_stride = layer.inputs;
  args.y = *weight;
  args.y_stride = stride;
  args.n = static_cast<int32_t>(layer.inputs);
  const auto convert = ElementwiseStep::Make({}, {.y = type}, args, store_);
  if (!convert.ok()) return convert.status();
  MLPSERVE_RETURN_IF_ERROR((*convert)->Launch(static_cast<int32_t>(layer.outputs), stream_));
  return stream_.Synchronize();
}

absl::StatusOr<EpilogueArgs> CudaBlock::State::UploadColumns(
    const std::vector<std::vector<float>>& columns, int64_t outputs) {
  const int64_t stride = RoundUp(outputs, 8);
  std::vector<float> padded(std::max<size_t>(columns.size(), 1) * static_cast<size_t>(stride));
  for (size_t i = 0; i < columns.size(); ++i) {
    std::ranges::copy(columns[i], padded.begin() + static_cast<int64_t>(i) * stride);
  }
  const absl::StatusOr<void*> data = Allocate(padded.size() * sizeof(float));
  if (!data.ok()) return data.status();
  MLPSERVE_RETURN_IF_ERROR(CopyToDevice(*data, padded.data(), padded.size() * sizeof(float)));
  return EpilogueArgs{.columns = static_cast<const float*>(*data), .columns_stride = stride};
}

absl::StatusOr<Product> CudaBlock::State::MakeProduct(const LayerSpec& layer, ComputeType compute,
                                                      const Activation& x,
                                                      const EpilogueSpec& epilogue) {
  Product product{.compute = compute,
                  .epilogue = epilogue,
                  .partials = partials_,
                  .arrivals = arrivals_,
                  .unfinished = unfinished_,
                  .workspace = workspace_};
  product.args.x = x.data;
  product.args.x_stride = x.stride;
  product.args.block_input = x_.data;
  product.args.block_input_stride = x_.stride;
  product.args.n = static_cast<int32_t>(layer.outputs);
  product.args.k = static_cast<int32_t>(layer.inputs);
  MLPSERVE_RETURN_IF_ERROR(UploadWeight(layer, compute, product));
  const absl::StatusOr<EpilogueArgs> columns = UploadColumns(epilogue.columns, layer.outputs);
  if (!columns.ok()) return columns.status();
  product.args.epilogue = *columns;
  return product;
}

absl::Status CudaBlock::State::AddProduct(const std::string& name, const Product& product,
                                          Layer& layer) {
  std::shared_ptr<const Step> same;
  chooser_.CompileAhead(product, buckets_);
  for (const int64_t bucket : buckets_) {
    if (same == nullptr) {
      // A batch-invariant layer's one kernel must take every batch.
      absl::StatusOr<ChosenKernel> chosen =
          chooser_.Choose(product, batch_invariant_ ? options_.max_rows : bucket, stream_);
      if (!chosen.ok()) return chosen.status();
      chosen->plan.layer = name;
      plan_.push_back(chosen->plan);
      layer.product.push_back(chosen->step);
      if (batch_invariant_) same = chosen->step;
    } else {
      plan_.push_back(plan_.back());
      layer.product.push_back(same);
    }
    plan_.back().bucket = bucket;
  }
  return absl::OkStatus();
}

absl::Status CudaBlock::State::AddNorm(const EpiloguePart& part, const EpilogueSpec& whole,
                                       const Product& product, const Activation& z,
                                       const Activation& to, Layer& layer) {
  const absl::StatusOr<EpilogueArgs> columns = UploadColumns(part.epilogue.columns, product.args.n);
  if (!columns.ok()) return columns.status();
  BatchNormPass pass{.epilogue = part.epilogue,
                     .types = {.x = z.type, .y = to.type, .block_input = x_.type},
                     .args = product.args,
                     .rows = options_.max_rows};
  pass.args.x = z.data;
  pass.args.x_stride = z.stride;
  pass.args.y = to.data;
  pass.args.y_stride = to.stride;
  pass.args.epilogue = *columns;
  StatisticsArgs& statistics = pass.statistics;
  float* vectors = const_cast<float*>(columns->columns);
  statistics.eps = part.norm->eps;
  statistics.shift0 = vectors;
  statistics.scale = vectors + columns->columns_stride;
  statistics.shift1 = vectors + 2 * columns->columns_stride;
  const auto bind = [&](const Operand& operand, const float*& column,
                        float& value) -> absl::Status {
    value = static_cast<float>(operand.value);
    if (!operand.is_column()) return absl::OkStatus();
    const absl::StatusOr<EpilogueArgs> uploaded =
        UploadColumns({whole.columns[static_cast<size_t>(operand.column)]}, product.args.n);
    if (!uploaded.ok()) return uploaded.status();
    column = uploaded->columns;
    return absl::OkStatus();
  };
  MLPSERVE_RETURN_IF_ERROR(bind(part.norm->weight, statistics.weight_column, statistics.weight));
  MLPSERVE_RETURN_IF_ERROR(bind(part.norm->bias, statistics.bias_column, statistics.bias));
  auto step = BatchNormStep::Make(pass, moments_, store_);
  if (!step.ok()) return step.status();
  layer.passes.push_back(*std::move(step));
  return absl::OkStatus();
}

absl::Status CudaBlock::State::AddLayer(const BlockSpec& block, const LayerSpec& spec,
                                        const Activation& x, const Activation& y) {
  const EpilogueSpec canonical = Canonicalize(spec);
  const std::vector<EpiloguePart> parts = CutAtBatchNorms(canonical);
  absl::StatusOr<Product> product = MakeProduct(spec, block.compute, x, parts.front().epilogue);
  if (!product.ok()) return product.status();
  const Activation z{.data = unfinished_->get(),
                     .features = spec.outputs,
                     .stride = AlignedStride(spec.outputs, DataType::kFp32)};
  const Activation& first = parts.size() > 1 ? z : y;
  product->args.y = first.data;
  product->args.y_stride = first.stride;
  product->output = first.type;
  Layer layer;
  MLPSERVE_RETURN_IF_ERROR(AddProduct(spec.name, *product, layer));
  for (size_t i = 1; i < parts.size(); ++i) {
    const Activation& to = i + 1 < parts.size() ? z : y;
    MLPSERVE_RETURN_IF_ERROR(AddNorm(parts[i], canonical, *product, z, to, layer));
  }
  layers_.push_back(std::move(layer));
  return absl::OkStatus();
}

absl::Status CudaBlock::State::LaunchAll(int64_t rows) const {
  const int32_t m = static_cast<int32_t>(rows);
  const size_t bucket = BucketIndex(rows);
  if (convert_input_ != nullptr) MLPSERVE_RETURN_IF_ERROR(convert_input_->Launch(m, stream_));
  for (const Layer& layer : layers_) {
    MLPSERVE_RETURN_IF_ERROR(layer.product[bucket]->Launch(m, stream_));
    for (const auto& pass : layer.passes) MLPSERVE_RETURN_IF_ERROR(pass->Launch(m, stream_));
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

}  // namespace mlpserve::cuda
