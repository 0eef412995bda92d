// A product as one kernel of ours, epilogue included, and the passes behind it, but for a kernel
// that normalises by itself.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/product.h"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

// The code of the config for this product.
KernelStore::GemmRequest RequestFor(const Product& product, const KernelConfig& config);

// What a launch of the config takes, for a product of m rows.
struct FusedLaunch {
  LaunchShape shape;
  int cluster = 1;
  int x_box_rows = 0, w_box_rows = 0, y_box_rows = 0;  // 0: no tensor maps
  int64_t partials_bytes = 0;
  int64_t arrivals = 0;
};
// `clusters`: how many the device runs at a time.
FusedLaunch LaunchOf(const KernelConfig& config, const Product& product, int64_t m, int clusters);

class FusedGemm final : public Step {
 public:
  // For up to `rows` rows; reserves its part of the product's scratch memory.
  static absl::StatusOr<std::unique_ptr<FusedGemm>> Make(const Product& product,
                                                         const KernelConfig& config, int64_t rows,
                                                         KernelStore& store);

  absl::Status Launch(int32_t m, const Stream& stream) const override;
  const KernelResources& resources() const { return kernel_->resources(); }

 private:
  struct Maps;

  FusedGemm(const Product& product, const KernelConfig& config, SharedKernel kernel);
  absl::Status EncodeMaps(const FusedLaunch& launch, int64_t rows);

  const Product product_;
  const KernelConfig config_;
  const SharedKernel kernel_;
  std::unique_ptr<const Step> split_;  // of the rows of x; null: the kernel reads them as they are
  int clusters_ = 1;
  std::shared_ptr<Maps> maps_;  // null: the kernel takes none
};

}  // namespace mlpserve::cuda
