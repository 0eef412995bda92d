// The kernels beside the products, as source: changes of format, batch norms, splitting.
// Errors are EmitEpilogue's.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/jit/kernel_text.h"
#include "kernels/spec/datatype.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

inline constexpr char kElementwiseKernel[] = "mlpserve_elementwise";
inline constexpr char kBatchNormKernel[] = "mlpserve_batch_norm";
inline constexpr char kGatherKernel[] = "mlpserve_column_parts";
inline constexpr char kFinishKernel[] = "mlpserve_column_finish";
inline constexpr char kSplitKernel[] = "mlpserve_split_tf32";
inline constexpr char kFetchRowsKernel[] = "mlpserve_fetch_rows";
inline constexpr char kSendRowsKernel[] = "mlpserve_send_rows";

// The formats of the rows that a pass reads and writes, and of the block's input that it adds.
struct PassTypes {
  DataType x = DataType::kFp32;
  DataType y = DataType::kFp32;
  DataType block_input = DataType::kFp32;
};

// y = epilogue(x) value by value (elementwise.cuh).
absl::StatusOr<KernelText> ElementwiseText(const EpilogueSpec& canonical, const PassTypes& types);
// A norm and what follows it, in the variant of that index (norm_launch.h; batch_norm.cuh).
absl::StatusOr<KernelText> BatchNormText(const EpilogueSpec& epilogue, const PassTypes& types,
                                         size_t variant);
// The statistics of whole columns, in two steps of one source (column_statistics.cuh).
KernelText GatherText();
KernelText FinishText();
// A batch's rows from the host's memory and to it, two kernels of one source (host_rows.cuh).
KernelText FetchRowsText();
KernelText SendRowsText();
// Splits each number of FP32 rows into two parts (tf32_split.cuh).
KernelText SplitText();

}  // namespace mlpserve::cuda
