#include "kernels/spec/datatype.h"

namespace mlpserve {

size_t ByteSize(DataType type) { return type == DataType::kFp32 ? 4 : 2; }

DataType StorageType(ComputeType type) {
  switch (type) {
    case ComputeType::kFp16:
      return DataType::kFp16;
    case ComputeType::kBf16:
      return DataType::kBf16;
    case ComputeType::kFp32:
    case ComputeType::kTf32:
      break;
  }
  return DataType::kFp32;
}

std::string_view Name(DataType type) {
  switch (type) {
    case DataType::kFp32:
      return "FP32";
    case DataType::kFp16:
      return "FP16";
    case DataType::kBf16:
      return "BF16";
  }
  return "unknown datatype";
}

std::string_view Name(ComputeType type) {
  switch (type) {
    case ComputeType::kFp32:
      return "FP32";
    case ComputeType::kTf32:
      return "TF32";
    case ComputeType::kFp16:
      return "FP16";
    case ComputeType::kBf16:
      return "BF16";
  }
  return "unknown compute type";
}

std::optional<DataType> ParseDataType(std::string_view name) {
  for (DataType type : {DataType::kFp32, DataType::kFp16, DataType::kBf16}) {
    if (name == Name(type)) return type;
  }
  return std::nullopt;
}

}  // namespace mlpserve
