#include "server/safetensors/tensor_type.h"

#include <array>
#include <cstddef>

namespace mlpserve {
namespace {

enum class Kind : uint8_t { kInteger, kFloat, kOther };

struct Row {
  std::string_view name;
  int bits;
  Kind kind;
};

// In the order of TensorType.
constexpr std::array kRows = {
    Row{"BOOL", 8, Kind::kInteger},  Row{"U8", 8, Kind::kInteger},
    Row{"I8", 8, Kind::kInteger},    Row{"U16", 16, Kind::kInteger},
    Row{"I16", 16, Kind::kInteger},  Row{"U32", 32, Kind::kInteger},
    Row{"I32", 32, Kind::kInteger},  Row{"U64", 64, Kind::kInteger},
    Row{"I64", 64, Kind::kInteger},  Row{"F16", 16, Kind::kFloat},
    Row{"BF16", 16, Kind::kFloat},   Row{"F32", 32, Kind::kFloat},
    Row{"F64", 64, Kind::kFloat},    Row{"C64", 64, Kind::kOther},
    Row{"F8_E5M2", 8, Kind::kOther}, Row{"F8_E4M3", 8, Kind::kOther},
    Row{"F8_E8M0", 8, Kind::kOther}, Row{"F6_E2M3", 6, Kind::kOther},
    Row{"F6_E3M2", 6, Kind::kOther}, Row{"F4", 4, Kind::kOther},
};
static_assert(kRows.size() == static_cast<size_t>(TensorType::kF4) + 1, "a row for each type");

const Row& RowOf(TensorType type) { return kRows[static_cast<size_t>(type)]; }

}  // namespace

int BitSize(TensorType type) { return RowOf(type).bits; }

bool IsFloat(TensorType type) { return RowOf(type).kind == Kind::kFloat; }

bool IsInteger(TensorType type) { return RowOf(type).kind == Kind::kInteger; }

std::string_view Name(TensorType type) { return RowOf(type).name; }

std::optional<TensorType> ParseTensorType(std::string_view name) {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<TensorType>(i);
  }
  return std::nullopt;
}

}  // namespace mlpserve
