#include "kernels/cuda/engine/elementwise_step.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/tiles/ceil_divide.h"

namespace mlpserve::cuda {
namespace {

// As elementwise.cuh has them.
constexpr int kThreads = 256;
constexpr int kColumnsAtOnce = 256;
constexpr int kRowsAtOnce = 8;
constexpr int kMostGridY = 65535;

std::string TypeConstant(const char* name, DataType type) {
  const char* format = type == DataType::kFp32   ? "kFp32"
                       : type == DataType::kFp16 ? "kFp16"
                                                 : "kBf16";
  return absl::StrCat("  static constexpr Type ", name, " = Type::", format, ";\n");
}

}  // namespace

absl::StatusOr<std::string> PassSource(const EpilogueSpec& canonical, const ElementwiseTypes& types,
                                       const std::string& constants, const std::string& file) {
  const std::string config =
      absl::StrCat("struct Config {\n", TypeConstant("kIn", types.block_input),
                   TypeConstant("kOut", types.y), TypeConstant("kX", types.x), constants) +
      "};\n";
  return KernelSource(canonical, config, file);
}

absl::StatusOr<std::string> ElementwiseSource(const EpilogueSpec& canonical,
                                              const ElementwiseTypes& types) {
  return PassSource(canonical, types, "", "kernels/cuda/device/mma/elementwise.cuh");
}

absl::StatusOr<std::unique_ptr<ElementwiseStep>> ElementwiseStep::Make(
    const EpilogueSpec& canonical, const ElementwiseTypes& types, const GemmArgs& args,
    KernelStore& store) {
  const absl::StatusOr<std::string> source = ElementwiseSource(canonical, types);
  if (!source.ok()) return source.status();
  absl::StatusOr<SharedKernel> kernel = store.Get(*source, kElementwiseKernel, 0);
  if (!kernel.ok()) return kernel.status();
  return std::unique_ptr<ElementwiseStep>(new ElementwiseStep(args, *std::move(kernel)));
}

absl::Status ElementwiseStep::Launch(int32_t m, const Stream& stream) const {
  GemmArgs args = args_;
  args.m = m;
  void* arguments[] = {&args};
  const LaunchShape shape{.grid_x = CeilDivide(args.n, kColumnsAtOnce),
                          .grid_y = std::min(CeilDivide(m, kRowsAtOnce), kMostGridY),
                          .threads = kThreads};
  return kernel_->Launch(shape, arguments, stream);
}

}  // namespace mlpserve::cuda
