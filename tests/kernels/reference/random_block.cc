#include "tests/kernels/reference/random_block.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "kernels/spec/rounding.h"

namespace mlpserve {
namespace {

class RandomEpilogue {
 public:
  RandomEpilogue(const RandomBlockOptions& options, LayerSpec& layer, bool add_input,
                 std::mt19937_64& random)
      : options_(options), layer_(layer), add_input_(add_input), random_(random) {}

  std::vector<Op> Ops(int least, int depth) {
    std::vector<Op> ops;
    const int count = Pick(least, std::max(least, options_.max_ops >> depth));
    ops.reserve(count);
    for (int i = 0; i < count; ++i) ops.push_back(NextOp(depth));
    return ops;
  }

 private:
  int Pick(int first, int last) { return std::uniform_int_distribution<int>(first, last)(random_); }
  float Normal(float mean, float deviation) {
    return std::normal_distribution<float>(mean, deviation)(random_);
  }

  // A constant, or a new or an earlier column around the same mean.
  Operand RandomOperand(float mean, float deviation) {
    const int kind = Pick(0, 2);
    if (kind == 0) return {.value = Normal(mean, deviation)};
    std::vector<float> column(layer_.outputs);
    for (float& value : column) value = Normal(mean, deviation);
    layer_.epilogue.columns.push_back(std::move(column));
    return {.column = static_cast<int>(layer_.epilogue.columns.size()) - 1};
  }

  Operand RandomVariance() {
    const Operand operand = RandomOperand(1, 0.3f);
    if (!operand.is_column()) return {.value = std::fabs(operand.value)};
    for (float& value : layer_.epilogue.columns[operand.column]) value = std::fabs(value);
    return operand;
  }

  Op NextOp(int depth) {
    const bool may_nest = depth < options_.max_depth;
    switch (Pick(0, 9)) {
      case 0:
        return {MultiplyAdd{.scale = RandomOperand(1, 0.5f)}};
      case 1:
        return {MultiplyAdd{.shift = RandomOperand(0, 0.5f)}};
      case 2: {
        const double low = Normal(-1.5f, 0.5f);
        const double high = low + std::fabs(Normal(2, 1));
        const int sides = Pick(0, 2);
        if (sides == 0) return {Clamp{.min = low}};
        if (sides == 1) return {Clamp{.max = high}};
        return {Clamp{.min = low, .max = high}};
      }
      case 3:
        if (may_nest) return {Residual{Ops(1, depth + 1)}};
        break;
      case 4:
        if (may_nest) return {Gate{Ops(1, depth + 1)}};
        break;
      case 5:
        if (add_input_) return {AddInput{}};
        break;
      case 6: {
        RunningBatchNorm norm;
        norm.weight = RandomOperand(1, 0.3f);
        norm.bias = RandomOperand(0, 0.3f);
        norm.mean = RandomOperand(0, 0.3f);
        norm.variance = RandomVariance();
        return {norm};
      }
      case 7:
        if (options_.batch_statistics && depth == 0) {
          BatchNorm norm;
          norm.weight = RandomOperand(1, 0.3f);
          norm.bias = RandomOperand(0, 0.3f);
          return {norm};
        }
        break;
      default:
        break;
    }
    const FunctionInfo& info =
        kFunctions[static_cast<size_t>(Pick(0, static_cast<int>(kFunctions.size()) - 1))];
    return {Pointwise{.function = info.function, .parameter = info.default_parameter}};
  }

  const RandomBlockOptions& options_;
  LayerSpec& layer_;
  const bool add_input_;
  std::mt19937_64& random_;
};

class BytesInMemory final : public TensorSource {
 public:
  explicit BytesInMemory(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  absl::Status Read(int64_t offset, std::span<std::byte> to) const override {
    std::copy_n(bytes_.begin() + offset, to.size(), to.begin());
    return absl::OkStatus();
  }

 private:
  const std::vector<std::byte> bytes_;
};

}  // namespace

LayerSpec RandomLayer(int64_t inputs, int64_t outputs, bool bias, std::mt19937_64& random) {
  std::normal_distribution<float> weight(0, 1 / std::sqrt(static_cast<float>(inputs)));
  LayerSpec layer{
      .name = absl::StrCat("fc", inputs, "x", outputs), .inputs = inputs, .outputs = outputs};
  std::vector<float> values(inputs * outputs);
  for (float& value : values) value = weight(random);
  layer.weight = std::move(values);
  if (bias) layer.bias.resize(outputs);
  std::normal_distribution<float> shift(0, 0.2f);
  for (float& value : layer.bias) value = shift(random);
  return layer;
}

BlockSpec RandomBlock(const RandomBlockOptions& options, uint64_t seed) {
  std::mt19937_64 random(seed);
  BlockSpec block{.name = absl::StrCat("random", seed)};
  for (size_t i = 0; i + 1 < options.features.size(); ++i) {
    const bool bias = random() % 2 == 0;
    block.layers.push_back(RandomLayer(options.features[i], options.features[i + 1], bias, random));
    LayerSpec& layer = block.layers.back();
    const bool add_input = layer.outputs == options.features.front();
    layer.epilogue.ops = RandomEpilogue(options, layer, add_input, random).Ops(0, 0);
  }
  return block;
}

std::vector<float> RandomRows(int64_t rows, int64_t features, DataType type,
                              std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(rows * features);
  for (float& value : x) {
    std::byte element[4];
    WriteElement(type, normal(random), element);
    value = ReadElement(type, element);
  }
  return x;
}

Tensor StoredAs(DataType type, const std::vector<float>& values) {
  const size_t size = ByteSize(type);
  std::vector<std::byte> bytes(values.size() * size);
  for (size_t i = 0; i < values.size(); ++i) WriteElement(type, values[i], &bytes[i * size]);
  return Tensor(type, static_cast<int64_t>(values.size()),
                std::make_shared<BytesInMemory>(std::move(bytes)));
}

std::string Describe(const BlockSpec& block) {
  std::string text = absl::StrCat("block ", block.name, ", compute ",
                                  absl::string_view(Name(block.compute).data()), ", ",
                                  absl::string_view(Name(block.input_type).data()), " to ",
                                  absl::string_view(Name(block.output_type).data()));
  for (const LayerSpec& layer : block.layers) {
    absl::StrAppend(&text, "\n  ", layer.name, layer.bias.empty() ? "" : " + bias", ": ",
                    ToString(layer.epilogue));
  }
  return text;
}

}  // namespace mlpserve
