// y = epilogue(x) value by value, as a kernel of its own (elementwise.cuh): changes of format,
// batch norm's second half, what follows a library's product.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/spec/datatype.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

inline constexpr char kElementwiseKernel[] = "mlpserve_elementwise";

struct ElementwiseTypes {
  DataType x = DataType::kFp32;
  DataType y = DataType::kFp32;
  DataType block_input = DataType::kFp32;
};

// The source of a pass over finished values: `file` behind an epilogue and a Config that holds the
// formats (kIn, kOut, kX) and `constants`. Errors are EmitEpilogue's.
absl::StatusOr<std::string> PassSource(const EpilogueSpec& canonical, const ElementwiseTypes& types,
                                       const std::string& constants, const std::string& file);
// Of elementwise.cuh.
absl::StatusOr<std::string> ElementwiseSource(const EpilogueSpec& canonical,
                                              const ElementwiseTypes& types);

class ElementwiseStep final : public Step {
 public:
  // Of `args`: x [m, n], y, block_input, their strides, n and the epilogue.
  static absl::StatusOr<std::unique_ptr<ElementwiseStep>> Make(const EpilogueSpec& canonical,
                                                               const ElementwiseTypes& types,
                                                               const GemmArgs& args,
                                                               KernelStore& store);

  absl::Status Launch(int32_t m, const Stream& stream) const override;

 private:
  ElementwiseStep(const GemmArgs& args, SharedKernel kernel)
      : args_(args), kernel_(std::move(kernel)) {}

  const GemmArgs args_;
  const SharedKernel kernel_;
};

}  // namespace mlpserve::cuda
