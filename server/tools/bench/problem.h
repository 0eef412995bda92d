// One layer to measure, y = epilogue(x·Wᵀ + bias), by its sizes, its format and its epilogue, and
// the random numbers it is measured with.
//
// Threads: free functions without state. Errors are INVALID_ARGUMENT, one line, with what was
// expected and what was found.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/spec/block.h"
#include "kernels/spec/datatype.h"
#include "server/model/block_config.h"

namespace mlpserve::tools {

struct Epilogue {
  std::string op;  // as records name it: "scale_hardtanh_gelu"
  bool is_named = false;
  LayerConfig layer;  // its ops, and the tensors that they name
};

// The epilogues that have a name: "gelu", "sigmoid", "batch_norm", ...
std::vector<std::string> EpilogueNames();
absl::StatusOr<Epilogue> NamedEpilogue(std::string_view name);
// Makes an epilogue from a JSON list of ops as in model.json. Its op is "custom".
absl::StatusOr<Epilogue> ParseOps(std::string_view json);

struct Problem {
  int64_t m = 1, n = 1, k = 1;  // rows, outputs, inputs
  ComputeType compute = ComputeType::kBf16;
  Epilogue epilogue;
  int layers = 1;  // of the chain; over 1: timed as a chain, too
  // Elements of padding after each row of y, and at least as many after each row of x; -1: the
  // padding that the service uses.
  int64_t padding = -1;

  DataType stored() const { return StorageType(compute); }  // x, w and y
  int64_t weight_bytes() const { return n * k * static_cast<int64_t>(ByteSize(stored())); }
};

inline constexpr int64_t kMostRows = int64_t{1} << 20;
inline constexpr int64_t kMostLayers = 256;
inline constexpr int64_t kMostPadding = 4096;

// Whether the layer exists: sizes in range, equal where a chain or AddInput asks for it, rows
// enough for batch statistics, and what kernels/spec/block.h's Validate demands.
absl::Status Validate(const Problem& problem);

// "bf16".
std::string DtypeName(ComputeType type);
// "bf16 scale_hardtanh_gelu 16 x 8192 x 8192", with " + 8" for padded rows.
std::string Describe(const Problem& problem);

// `count` numbers of N(0, scale²), on all processors; equal seeds give equal numbers.
std::vector<float> NormalNumbers(int64_t count, uint32_t seed, float scale);
// x [rows, features], N(0, 1), rounded to the format in which it is stored.
std::vector<float> MakeRows(const Problem& problem);
// [n, k], N(0, 1 / k).
std::vector<float> MakeWeight(int64_t n, int64_t k);
// N(0, 1) for bias and vectors; variances and the weights of a norm in [0.5, 1.5).
LayerSpec MakeLayer(const Problem& problem, Tensor weight);

}  // namespace mlpserve::tools
