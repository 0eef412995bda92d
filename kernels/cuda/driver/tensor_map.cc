#include "kernels/cuda/driver/tensor_map.h"

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/driver_function.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr int kRowBytes = 128;

CUtensorMapDataType DataTypeOf(MapType type) {
  switch (type) {
    case MapType::kFp32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case MapType::kTf32:
      return CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
    case MapType::kFp16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case MapType::kBf16:
      break;
  }
  return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

}  // namespace

absl::StatusOr<CUtensorMap> EncodeTensorMap(MapType type, const void* data, int64_t rows,
                                            int64_t columns, int64_t stride, int box_rows) {
  MLPSERVE_ASSIGN_OR_RETURN(const auto encode, DriverFunction<decltype(&cuTensorMapEncodeTiled)>(
                                                   "cuTensorMapEncodeTiled"));
  const int64_t bytes = type == MapType::kFp32 || type == MapType::kTf32 ? 4 : 2;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride * bytes)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(kRowBytes / bytes),
                            static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  CUtensorMap map{};
  const CUresult result =
      encode(&map, DataTypeOf(type), 2, const_cast<void*>(data), sizes, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    return absl::InternalError(absl::StrCat("cuTensorMapEncodeTiled: error ", result, " for ", rows,
                                            " x ", columns, ", stride ", stride, ", boxes of ",
                                            box_rows, " rows"));
  }
  return map;
}

}  // namespace mlpserve::cuda
