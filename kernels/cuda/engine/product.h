// One product of a loaded block, y = epilogue(x·wᵀ), with the memory it is computed in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/engine/batch_norm_step.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/cuda/tiles/choose.h"
#include "kernels/spec/datatype.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

// Whether rows of y start at multiples of 16 bytes.
inline bool HasAlignedY(const GemmArgs& args, DataType y) {
  return args.y_stride * static_cast<int64_t>(ByteSize(y)) % 16 == 0;
}

struct Product {
  GemmArgs args;  // pointers, strides, n and k; what a launch decides is unset
  ComputeType compute = ComputeType::kBf16;
  DataType output = DataType::kBf16;
  EpilogueSpec epilogue;  // canonical and without batch norm; its columns lie in args.epilogue
  // What follows in kernels of their own, in order: batch norms with the batch's statistics.
  std::vector<std::shared_ptr<const Step>> passes;
  // The same for a kernel that does all of it, where that is a single norm.
  std::optional<BatchNormPass> norm;
  // args.w, and the same as halves (tf32_terms.cuh); null: w may not be split. A step keeps the one
  // that it reads.
  std::shared_ptr<const DeviceMemory> weight, weight_halves;
  // Whether FP32 products may be made of halves: what weight_halves says, without a device.
  bool has_halves = false;
  // What kernels take turns with: the halves of x, partial sums, their counters (which stay zero
  // between launches), unfinished results in FP32 [rows, n rounded up to 4], a library's workspace.
  std::shared_ptr<Scratch> halves, partials, arrivals, unfinished, workspace;

  bool y_aligned() const { return HasAlignedY(args, output); }
  bool norm_y_aligned() const { return HasAlignedY(norm->args, norm->types.y); }
  ChooseOptions Options(bool batch_invariant) const {
    ChooseOptions options{.columns = static_cast<int>(epilogue.columns.size()),
                          .y_aligned = y_aligned(),
                          .batch_invariant = batch_invariant,
                          .has_halves = has_halves};
    if (norm) {
      options.norm = {.before_columns = options.columns,
                      .columns = static_cast<int>(norm->epilogue.columns.size()),
                      .output = norm->types.y,
                      .y_aligned = norm_y_aligned()};
    }
    return options;
  }
  // As a kernel sees it that normalises: its epilogue begins with the norm, and nothing follows.
  Product Normalised() const {
    Product whole = *this;
    whole.passes.clear();
    whole.epilogue = norm->epilogue;
    whole.output = norm->types.y;
    whole.args.y = norm->args.y;
    whole.args.y_stride = norm->args.y_stride;
    whole.args.epilogue = norm->args.epilogue;
    whole.norm->statistics.before = args.epilogue.columns;
    return whole;
  }
};

inline absl::Status LaunchPasses(const Product& product, int32_t m, const Stream& stream) {
  for (const auto& pass : product.passes) {
    absl::Status status = pass->Launch(m, stream);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

inline int64_t RoundUp(int64_t value, int64_t multiple) {
  return CeilDivide(value, multiple) * multiple;
}

// Elements from row to row, so that each row starts at a multiple of 16 bytes.
inline int64_t AlignedStride(int64_t columns, DataType type) {
  return RoundUp(columns, 16 / static_cast<int64_t>(ByteSize(type)));
}

}  // namespace mlpserve::cuda
