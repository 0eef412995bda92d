// The number formats of a block: what travels on the wire, and what its products are computed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mlpserve {

// Format of the input and output tensors.
enum class DataType : uint8_t { kFp32, kFp16, kBf16 };

// Format that the operands of a product are rounded to (to nearest, ties to even). FP16 and BF16
// activations are stored in that format; FP32 and TF32 ones are stored in FP32, and a TF32 layer
// rounds what it reads. Accumulation and epilogue are FP32 whatever this is.
enum class ComputeType : uint8_t { kFp32, kTf32, kFp16, kBf16 };

size_t ByteSize(DataType type);

// The format in which activations between layers are stored.
DataType StorageType(ComputeType type);

// The names of the Open Inference Protocol and of model.json: "FP32", "TF32", "FP16", "BF16".
std::string_view Name(DataType type);
std::string_view Name(ComputeType type);
std::optional<DataType> ParseDataType(std::string_view name);

}  // namespace mlpserve
