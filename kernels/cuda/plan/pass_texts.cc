#include "kernels/cuda/plan/pass_texts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/device_sources.h"
#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/plan/norm_launch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

std::string TypeConstant(const char* name, DataType type) {
  const char* format = type == DataType::kFp32   ? "kFp32"
                       : type == DataType::kFp16 ? "kFp16"
                                                 : "kBf16";
  return absl::StrCat("  static constexpr Type ", name, " = Type::", format, ";\n");
}

// The source of `file`, preceded by an epilogue and by a Config that holds the formats (kIn, kOut,
// kX) and `constants`.
absl::StatusOr<KernelText> PassText(const EpilogueSpec& canonical, const PassTypes& types,
                                    const std::string& constants, const std::string& file,
                                    const char* kernel) {
  const std::string config =
      absl::StrCat("struct Config {\n", TypeConstant("kIn", types.block_input),
                   TypeConstant("kOut", types.y), TypeConstant("kX", types.x), constants) +
      "};\n";
  MLPSERVE_ASSIGN_OR_RETURN(std::string source, KernelSource(canonical, config, file));
  return KernelText{.source = std::move(source), .kernel = kernel, .label = kernel};
}

KernelText TextOf(const char* file, const char* kernel) {
  SourceJoiner source;
  source.Add(file);
  return {.source = std::move(source).Take(), .kernel = kernel, .label = kernel};
}

}  // namespace

absl::StatusOr<KernelText> ElementwiseText(const EpilogueSpec& canonical, const PassTypes& types) {
  return PassText(canonical, types, "", "kernels/cuda/device/mma/elementwise.cuh",
                  kElementwiseKernel);
}

absl::StatusOr<KernelText> BatchNormText(const EpilogueSpec& epilogue, const PassTypes& types,
                                         size_t variant) {
  return PassText(
      epilogue, types,
      absl::StrCat("  static constexpr int kCtaColumns = ", kHeldColumns[variant], ";\n"),
      "kernels/cuda/device/norm/batch_norm.cuh", kBatchNormKernel);
}

KernelText GatherText() {
  return TextOf("kernels/cuda/device/norm/column_statistics.cuh", kGatherKernel);
}

KernelText FinishText() {
  return TextOf("kernels/cuda/device/norm/column_statistics.cuh", kFinishKernel);
}

KernelText FetchRowsText() {
  return TextOf("kernels/cuda/device/rows/host_rows.cuh", kFetchRowsKernel);
}

KernelText SendRowsText() {
  return TextOf("kernels/cuda/device/rows/host_rows.cuh", kSendRowsKernel);
}

KernelText SplitText() { return TextOf("kernels/cuda/device/tf32/tf32_split.cuh", kSplitKernel); }

}  // namespace mlpserve::cuda
