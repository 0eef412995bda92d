#include "server/tools/bench/problem.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"
#include "server/model/model_json.h"
#include "server/text/strict_json.h"
#include "server/tools/bench/parallel.h"

namespace mlpserve::tools {
namespace {

struct Named {
  const char* name;
  const char* op;  // as other benchmarks of these blocks call them
  const char* ops;
};

constexpr std::array kNamed = {
    Named{"linear", "linear", "[]"},
    Named{"gelu", "scale_hardtanh_gelu",
          R"([{"scale": {"value": 0.5}}, {"hardtanh": {"min": -2, "max": 2}},
              {"gelu": {"approximate": "TANH"}}])"},
    Named{"sigmoid", "sigmoid_scale_residual",
          R"([{"residual": {"ops": [{"sigmoid": {}}, {"scale": {"value": 2}}]}}])"},
    Named{"batch_norm", "scale_batchnorm_eval",
          R"([{"scale": {"tensor": "scale"}},
              {"batch_norm": {"weight": "weight", "bias": "bias", "running_mean": "running_mean",
                              "running_var": "running_var"}}])"},
    Named{"batch_norm_train", "scale_batchnorm_train",
          R"([{"scale": {"tensor": "scale"}},
              {"batch_norm": {"weight": "weight", "bias": "bias", "statistics": "BATCH"}}])"},
};

absl::Status Error(const std::string& where, const std::string& expected,
                   const std::string& found) {
  return absl::InvalidArgumentError(
      absl::StrCat(where, ": expected ", expected, ", found ", found));
}

// The first event of the parser tells whether the text is a list.
absl::Status ExpectList(std::string_view json) {
  bool first = true;
  return ParseStrictJson(json, [&first](const JsonEvent& event) -> absl::Status {
    if (!std::exchange(first, false) || event.kind == JsonKind::kBeginArray) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("expected a list of ops, found ", std::string(Name(event.kind))));
  });
}

// Makes a uniform number in (0, 1] from each half of a mixed counter, and a normal number from the
// two (Box and Muller, 1958).
float NormalAt(uint64_t index, uint32_t seed) {
  uint64_t z = (index + 1) * 0x9E3779B97F4A7C15ull + seed * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  const double radius = (static_cast<double>(z >> 32) + 1) * 0x1p-32;
  const double angle = static_cast<double>(z & 0xFFFFFFFFu) * 0x1p-32;
  return static_cast<float>(std::sqrt(-2 * std::log(radius)) *
                            std::cos(2 * std::numbers::pi * angle));
}

std::vector<float> ColumnOf(const ColumnSource& source, int64_t n, uint32_t seed) {
  std::vector<float> column = NormalNumbers(n, seed, 1);
  const bool positive = absl::EndsWith(source.path, ".running_var") ||
                        absl::EndsWith(source.path, ".batch_norm.weight");
  if (!positive) return column;
  for (float& v : column) v = 1.0f + 0.5f * std::tanh(v);  // 0.5 to 1.5
  return column;
}

LayerSpec MakeShape(const Problem& problem, int64_t inputs, int64_t outputs) {
  LayerSpec layer{.name = problem.epilogue.op, .inputs = inputs, .outputs = outputs};
  layer.epilogue = problem.epilogue.layer.epilogue;
  layer.bias = NormalNumbers(outputs, 40, 1);
  const std::vector<ColumnSource>& columns = problem.epilogue.layer.columns;
  for (size_t i = 0; i < columns.size(); ++i) {
    layer.epilogue.columns.push_back(ColumnOf(columns[i], outputs, 50 + static_cast<uint32_t>(i)));
  }
  return layer;
}

}  // namespace

std::vector<std::string> EpilogueNames() {
  std::vector<std::string> names;
  for (const Named& named : kNamed) names.emplace_back(named.name);
  return names;
}

absl::StatusOr<Epilogue> NamedEpilogue(std::string_view name) {
  for (const Named& named : kNamed) {
    if (name != named.name) continue;
    MLPSERVE_ASSIGN_OR_RETURN(Epilogue epilogue, ParseOps(named.ops));
    epilogue.op = named.op;
    epilogue.is_named = true;
    return epilogue;
  }
  return Error("--epilogue", absl::StrJoin(EpilogueNames(), ", "), Quoted(name));
}

absl::StatusOr<Epilogue> ParseOps(std::string_view json) {
  const absl::Status list = ExpectList(json);
  if (!list.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--ops: ", std::string(list.message())));
  }
  const std::string model = absl::StrCat(
      R"({"input": {"name": "x", "features": 1}, "output": {"name": "y", "features": 1},)",
      R"("layers": [{"name": "layer", "weight": "weight", "bias": "bias", "epilogue": )",
      std::string(json), "}]}");
  const absl::StatusOr<BlockConfig> config = ParseModelJson(model, "bench");
  if (!config.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--ops: ", std::string(config.status().message())));
  }
  return Epilogue{.op = "custom", .layer = config->layers.front()};
}

std::string DtypeName(ComputeType type) { return absl::AsciiStrToLower(std::string(Name(type))); }

std::string Describe(const Problem& p) {
  return absl::StrCat(DtypeName(p.compute), " ", p.epilogue.op, " ", p.m, " x ", p.n, " x ", p.k,
                      p.padding < 0 ? "" : absl::StrCat(" + ", p.padding));
}

absl::Status Validate(const Problem& p) {
  const auto in_range = [](const char* flag, int64_t value, int64_t most) {
    if (value >= 1 && value <= most) return absl::OkStatus();
    return Error(flag, absl::StrCat("1 to ", most), absl::StrCat(value));
  };
  absl::Status status = in_range("--m", p.m, kMostRows);
  status.Update(in_range("--n", p.n, kMaxBlockFeatures));
  status.Update(in_range("--k", p.k, kMaxBlockFeatures));
  status.Update(in_range("--layers", p.layers, kMostLayers));
  MLPSERVE_RETURN_IF_ERROR(status);
  const EpilogueSpec& epilogue = p.epilogue.layer.epilogue;
  const std::string sizes = absl::StrCat("n = ", p.n, " and k = ", p.k);
  if (p.layers > 1 && p.n != p.k) return Error("--layers", "n = k in a chain", sizes);
  if (UsesInput(epilogue) && p.n != p.k) return Error("--ops", "n = k for add_input", sizes);
  if (UsesBatchStatistics(epilogue) && p.m < 2) {
    return Error("--m", "at least 2 rows for batch statistics", absl::StrCat(p.m));
  }
  // A block of the same shape, of one weight or two.
  const int64_t outputs = p.n == p.k ? 1 : 2;
  LayerSpec layer = MakeShape(p, 1, outputs);
  layer.weight = std::vector<float>(static_cast<size_t>(outputs), 1);
  status = mlpserve::Validate(BlockSpec{.name = "bench", .compute = p.compute, .layers = {layer}});
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("--ops: ", std::string(status.message())));
}

std::vector<float> NormalNumbers(int64_t count, uint32_t seed, float scale) {
  std::vector<float> numbers(static_cast<size_t>(count));
  InParallel(count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      numbers[static_cast<size_t>(i)] = scale * NormalAt(static_cast<uint64_t>(i), seed);
    }
  });
  return numbers;
}

std::vector<float> MakeRows(const Problem& p) {
  std::vector<float> rows = NormalNumbers(p.m * p.k, 9, 1);
  // TF32 values are stored as FP32; the kernel that reads them rounds.
  const ComputeType stored = p.compute == ComputeType::kTf32 ? ComputeType::kFp32 : p.compute;
  for (float& v : rows) v = RoundTo(stored, v);
  return rows;
}

std::vector<float> MakeWeight(int64_t n, int64_t k) {
  return NormalNumbers(n * k, 1, 1 / std::sqrt(static_cast<float>(k)));
}

LayerSpec MakeLayer(const Problem& p, Tensor weight) {
  LayerSpec layer = MakeShape(p, p.k, p.n);
  layer.weight = std::move(weight);
  return layer;
}

}  // namespace mlpserve::tools
