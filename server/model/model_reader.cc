#include "server/model/model_reader.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/model/file_signature.h"
#include "server/model/finite_weights.h"
#include "server/model/model_json.h"
#include "server/safetensors/file_tensor.h"
#include "server/safetensors/other_format.h"
#include "server/safetensors/reader.h"
#include "server/text/strict_json.h"

namespace mlpserve {
namespace {

constexpr uint64_t kMaxModelJsonBytes = uint64_t{16} << 20;

absl::Status Prefixed(const std::string& prefix, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(prefix, ": ", status.message()));
}

bool EndsWithPart(const std::string& name, const std::string& end) {
  return name.size() > end.size() && absl::EndsWith(name, absl::StrCat(".", end));
}

// For who looks for a tensor that is not there: often a wrapper (torch.compile, DataParallel, a
// training framework) has put something before every name, or it was left out.
std::string WhatIsThereInstead(const SafetensorsHeader& header, const std::string& name) {
  constexpr size_t kShownNames = 8;
  for (const TensorInfo& tensor : header.tensors) {
    if (EndsWithPart(tensor.name, name)) {
      return absl::StrCat(Quoted(tensor.name), ", the same with the prefix ",
                          Quoted(tensor.name.substr(0, tensor.name.size() - name.size())));
    }
    if (EndsWithPart(name, tensor.name)) {
      return absl::StrCat(Quoted(tensor.name), ", the same without the prefix ",
                          Quoted(name.substr(0, name.size() - tensor.name.size())));
    }
  }
  std::string names;
  for (size_t i = 0; i < std::min(header.tensors.size(), kShownNames); ++i) {
    absl::StrAppend(&names, i == 0 ? "" : ", ", Quoted(header.tensors[i].name));
  }
  if (header.tensors.size() > kShownNames) {
    absl::StrAppend(&names, ", ... (", header.tensors.size(), " in all)");
  }
  return names.empty() ? "no tensor at all" : absl::StrCat("none of that name, but ", names);
}

// "[2, 0]": where the number lies in the tensor, which is row-major.
std::string IndexString(const TensorInfo& tensor, int64_t index) {
  std::vector<int64_t> at(tensor.shape.size());
  for (size_t i = at.size(); i-- > 0;) {
    at[i] = index % tensor.shape[i];
    index /= tensor.shape[i];
  }
  return ShapeString(at);
}

// Reads one version's layers from its weights file.
class LayerReader {
 public:
  LayerReader(const BlockConfig& config, const ReadOptions& options,
              std::shared_ptr<const SafetensorsReader> file)
      : config_(config), options_(options), file_(std::move(file)) {}

  // Shapes only: a mistake is found before gigabytes are read. Fills in inputs and outputs.
  absl::Status ReadShapes(std::vector<LayerSpec>& layers) const {
    int64_t inputs = config_.input.features;
    for (size_t i = 0; i < config_.layers.size(); ++i) {
      MLPSERVE_ASSIGN_OR_RETURN(const int64_t outputs, LayerOutputs(i, inputs));
      layers.push_back({.name = config_.layers[i].name, .inputs = inputs, .outputs = outputs});
      inputs = outputs;
    }
    return absl::OkStatus();
  }

  // Reads bias and columns. The weight's numbers stay in the file until a backend reads them.
  absl::Status ReadData(size_t index, LayerSpec& layer) const {
    const LayerConfig& source = config_.layers[index];
    const std::string path = absl::StrCat("layers[", index, "]");
    MLPSERVE_ASSIGN_OR_RETURN(layer.weight, FileTensor(file_, source.weight));
    if (!options_.allow_non_finite) {
      layer.weight =
          CheckedTensor(std::move(layer.weight), config_.compute,
                        NonFinite(source, source.weight, path + ".weight", config_.compute));
    }
    if (!source.bias.empty()) {
      MLPSERVE_ASSIGN_OR_RETURN(layer.bias, ReadColumn(source, source.bias, path + ".bias"));
    }
    layer.epilogue.ops = source.epilogue.ops;
    for (const ColumnSource& column : source.columns) {
      MLPSERVE_ASSIGN_OR_RETURN(std::vector<float> values,
                                ReadColumn(source, column.tensor, column.path));
      values.resize(static_cast<size_t>(layer.outputs), values.front());  // spreads a [1]
      layer.epilogue.columns.push_back(std::move(values));
    }
    return absl::OkStatus();
  }

 private:
  // Bias and columns are FP32 whatever the block computes in.
  absl::StatusOr<std::vector<float>> ReadColumn(const LayerConfig& layer, const std::string& name,
                                                const std::string& path) const {
    MLPSERVE_ASSIGN_OR_RETURN(std::vector<float> values, file_->ReadFloats(name));
    if (options_.allow_non_finite) return values;
    const auto found = FindNonFinite(values, ComputeType::kFp32);
    if (!found.has_value()) return values;
    return NonFinite(layer, name, path, ComputeType::kFp32)(*found);
  }

  // The weight may be checked when this reader is gone.
  NonFiniteError NonFinite(const LayerConfig& layer, const std::string& name,
                           const std::string& path, ComputeType compute) const {
    return [file = file_, name, place = Place(layer, name, path), compute](int64_t index) {
      const TensorInfo& tensor = *file->Find(name);
      const absl::StatusOr<double> value = file->ReadDouble(tensor, index);
      return absl::InvalidArgumentError(
          absl::StrCat(place, ": expected numbers that are finite in ", std::string(Name(compute)),
                       ", found ", value.ok() ? absl::StrCat(*value) : "another", " at ",
                       IndexString(tensor, index), " (--allow-non-finite takes them)"));
    };
  }

  // Checks the shapes of a layer's tensors and returns N.
  absl::StatusOr<int64_t> LayerOutputs(size_t index, int64_t inputs) const {
    const LayerConfig& layer = config_.layers[index];
    const std::string path = absl::StrCat("layers[", index, "]");
    const bool last = index + 1 == config_.layers.size();
    MLPSERVE_ASSIGN_OR_RETURN(const TensorInfo* weight,
                              Find(layer, layer.weight, absl::StrCat(path, ".weight")));
    const std::vector<int64_t>& shape = weight->shape;
    const bool fits = shape.size() == 2 && shape[1] == inputs && shape[0] >= 1 &&
                      shape[0] <= kMaxBlockFeatures &&
                      (!last || shape[0] == config_.output.features);
    if (!fits) {
      const std::string outputs = last ? absl::StrCat(config_.output.features) : "N";
      return ShapeError(layer, *weight, absl::StrCat(path, ".weight"),
                        absl::StrCat("[", outputs, ", ", inputs, "]"));
    }
    const int64_t outputs = shape[0];
    if (!layer.bias.empty()) {
      MLPSERVE_RETURN_IF_ERROR(
          CheckVector(layer, layer.bias, absl::StrCat(path, ".bias"), outputs, /*or_one=*/false));
    }
    for (const ColumnSource& column : layer.columns) {
      MLPSERVE_RETURN_IF_ERROR(
          CheckVector(layer, column.tensor, column.path, outputs, /*or_one=*/true));
    }
    return outputs;
  }

  absl::Status CheckVector(const LayerConfig& layer, const std::string& name,
                           const std::string& path, int64_t size, bool or_one) const {
    MLPSERVE_ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(layer, name, path));
    const std::vector<int64_t> scalar{1};
    const std::vector<int64_t>& shape = tensor->shape.empty() ? scalar : tensor->shape;
    if (shape.size() == 1 && (shape[0] == size || (or_one && shape[0] == 1))) {
      return absl::OkStatus();
    }
    return ShapeError(layer, *tensor, path,
                      absl::StrCat("[", size, "]", or_one && size != 1 ? " or [1]" : ""));
  }

  absl::StatusOr<const TensorInfo*> Find(const LayerConfig& layer, const std::string& name,
                                         const std::string& path) const {
    const TensorInfo* tensor = file_->Find(name);
    const std::string place = Place(layer, name, path);
    if (tensor == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(place, ": expected in the file, found ",
                                                     WhatIsThereInstead(file_->header(), name)));
    }
    if (IsFloat(tensor->type)) return tensor;
    return absl::InvalidArgumentError(absl::StrCat(
        place, ": expected F64, F32, F16 or BF16, found ", std::string(Name(tensor->type))));
  }

  absl::Status ShapeError(const LayerConfig& layer, const TensorInfo& tensor,
                          const std::string& path, const std::string& expected) const {
    return absl::InvalidArgumentError(absl::StrCat(Place(layer, tensor.name, path),
                                                   ": expected shape ", expected, ", found ",
                                                   ShapeString(tensor.shape)));
  }

  std::string Place(const LayerConfig& layer, const std::string& tensor,
                    const std::string& path) const {
    return absl::StrCat(file_->path(), ": layer ", Quoted(layer.name), ": tensor ", Quoted(tensor),
                        " (", path, ")");
  }

  const BlockConfig& config_;
  const ReadOptions& options_;
  const std::shared_ptr<const SafetensorsReader> file_;
};

}  // namespace

absl::StatusOr<BlockConfig> ReadConfig(const std::string& directory) {
  // A path that ends with a slash has no file name.
  const std::filesystem::path path = std::filesystem::path(directory + "/").parent_path();
  const std::string file = (path / "model.json").string();
  MLPSERVE_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(file, kMaxModelJsonBytes));
  const std::string_view other = NameOtherFormat(json);
  if (!other.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": expected JSON, found ", std::string(other)));
  }
  absl::StatusOr<BlockConfig> config = ParseModelJson(json, path.filename().string());
  if (!config.ok()) return Prefixed(file, config.status());
  config->directory = path.string();
  return config;
}

absl::StatusOr<BlockSpec> ReadBlock(const BlockConfig& config, int64_t version,
                                    const ReadOptions& options) {
  const std::string path = WeightsPath(config.directory, version);
  MLPSERVE_ASSIGN_OR_RETURN(SafetensorsReader file, SafetensorsReader::Open(path));
  BlockSpec block{.name = config.name,
                  .input_type = config.input.datatype,
                  .output_type = config.output.datatype,
                  .compute = config.compute,
                  .batch_invariant = config.batching.batch_invariant};
  const LayerReader reader(config, options,
                           std::make_shared<const SafetensorsReader>(std::move(file)));
  MLPSERVE_RETURN_IF_ERROR(reader.ReadShapes(block.layers));
  for (size_t i = 0; i < block.layers.size(); ++i) {
    MLPSERVE_RETURN_IF_ERROR(reader.ReadData(i, block.layers[i]));
  }
  const absl::Status status = Validate(block);
  if (!status.ok()) return Prefixed(absl::StrCat(config.directory, " version ", version), status);
  return block;
}

absl::StatusOr<BlockSpec> ReadBlock(const std::string& directory, int64_t version) {
  MLPSERVE_ASSIGN_OR_RETURN(const BlockConfig config, ReadConfig(directory));
  return ReadBlock(config, version);
}

}  // namespace mlpserve
