// Which kernels are worth timing for a layer: a handful out of the tuning space, by arithmetic
// alone. No GPU is asked; the same inputs always give the same answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/cuda/tiles/wgmma_cost.h"
#include "kernels/spec/datatype.h"

namespace mlpserve::cuda {

// Stands for every m where rows must not depend on it.
inline constexpr int64_t kInvariantRows = 128;

// A batch norm with the batch's statistics behind the product, which a kernel may do itself.
struct NormOptions {
  int before_columns = 0;  // column vectors of the epilogue before it
  int columns = 3;         // and of the one that begins with it
  DataType output = DataType::kBf16;
  bool y_aligned = true;
};

// Of a shorter sum FP32's own products err by less (1.8e-8·√k) than three of TF32, whose tensor
// cores cut off what lies below the sum (3.3e-7 at any k).
inline constexpr int64_t kLeastHalvesDepth = 256;

struct ChooseOptions {
  int columns = 2;        // Epilogue::kColumns
  bool y_aligned = true;  // rows of y start at multiples of 16 bytes
  // Rows must have the same bits whatever m is. The answer then does not depend on m, and all
  // buckets must use the same one of its configs.
  bool batch_invariant = false;
  int most = 6;  // proposals, at least 1, without those that normalise
  std::optional<NormOptions> norm;
  // FP32: w may be split into halves (tf32_terms.cuh). Otherwise nothing that reads them is
  // proposed.
  bool has_halves = false;
};

struct Proposal {
  KernelConfig config;
  int64_t ctas = 0;        // that compute: tiles of y, times the CTAs that share each
  int64_t slots = 0;       // CTAs that the device runs at a time
  double estimate_us = 0;  // for ranking only

  int64_t waves() const { return CeilDivide(ctas, slots); }
  // Share of all waves' slots that have a CTA.
  double fill() const { return static_cast<double>(ctas) / static_cast<double>(waves() * slots); }
};

// The baseline first: the best-looking kernel of the plainest kind (no split, no clusters). Then
// those that normalise, then the others by estimate, best first. Every one fits the device and
// covers y.
std::vector<Proposal> ChooseConfigs(const GemmShape& shape, ComputeType compute, DataType output,
                                    const ChooseOptions& options, const DeviceLimits& limits);

// "mma.128x128x32...: 512 CTAs, 2 waves 100% full, 130 us".
std::string ToString(const Proposal& proposal);

}  // namespace mlpserve::cuda
