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

// The product, epilogue included; of a kernel that normalises, the norm too.
absl::StatusOr<KernelText> GemmText(const LayerPlan& layer, const KernelConfig& config);

// What brings the weight from the host's format to the products'; nothing where these are the same.
absl::StatusOr<std::optional<KernelText>> WeightText(const LayerPlan& layer);

// What finishes the library's product; nothing where the library does.
absl::StatusOr<std::optional<KernelText>> LibraryPassText(const LayerPlan& layer);

// A norm's pass for batches of up to the layer's rows.
struct NormTexts {
  std::vector<KernelText> held;  // by variant (norm_launch.h), as many as there is a use for
  // For more rows than any variant holds: gathers, finishes, normalises. Or empty.
  std::vector<KernelText> in_parts;
};
absl::StatusOr<NormTexts> TextsOf(const LayerPlan& layer, const NormPlan& norm,
                                  const DeviceLimits& limits);

// All of them that run beside the products: of the weight, of rows to split, of the norms.
absl::StatusOr<std::vector<KernelText>> PassTexts(const LayerPlan& layer,
                                                  const DeviceLimits& limits);

// Layers of equal kind are computed by the same kernels in the same time. Of what a kind is, plain
// text without the kernels' sources.
std::string KindOf(const LayerPlan& layer);

// What a measurement of the bucket's candidates depends on beside the device and the library: the
// kind, the rows, and every source that is compiled for it. A digest.
absl::StatusOr<std::string> MeasurementKey(const LayerPlan& layer, const BucketPlan& bucket,
                                           const DeviceLimits& limits);

}  // namespace mlpserve::cuda
