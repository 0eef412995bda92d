// The kernels that a layer's plan asks for, as source. Whoever compiles ahead and whoever loads
// takes them from here. Errors are EmitEpilogue's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/jit/kernel_text.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/cuda/tiles/device_limits.h"

namespace mlpserve::cuda {

// The kernel of the product and its epilogue; one that normalises computes the norm as well.
absl::StatusOr<KernelText> GemmText(const LayerPlan& layer, const KernelConfig& config);

// The kernel that converts the weight from the host's format to the products'; nothing where the
// formats are equal.
absl::StatusOr<std::optional<KernelText>> WeightText(const LayerPlan& layer);

// The kernel that applies the epilogue to the library's product; nothing where the library applies
// it.
absl::StatusOr<std::optional<KernelText>> LibraryPassText(const LayerPlan& layer);

// A norm's pass for batches of up to the layer's rows.
struct NormTexts {
  std::vector<KernelText> held;  // by variant (norm_launch.h), up to the last that is used
  // For more rows than any variant holds: the kernels that gather, finish and normalise. Empty
  // where a variant holds all rows.
  std::vector<KernelText> in_parts;
};
absl::StatusOr<NormTexts> TextsOf(const LayerPlan& layer, const NormPlan& norm,
                                  const DeviceLimits& limits);

// All kernels that run beside the products: they convert the weight, split rows, and normalise.
absl::StatusOr<std::vector<KernelText>> PassTexts(const LayerPlan& layer,
                                                  const DeviceLimits& limits);

// A text that is equal for layers which the same kernels compute in the same time. The sources of
// the kernels are not part of it.
std::string KindOf(const LayerPlan& layer);

// What a measurement of the bucket's candidates depends on beside the device and the library: the
// kind, the rows, and every source that is compiled for it. A digest.
absl::StatusOr<std::string> MeasurementKey(const LayerPlan& layer, const BucketPlan& bucket,
                                           const DeviceLimits& limits);

}  // namespace mlpserve::cuda
