#include "client/load/row_source.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::load {
namespace {

using client::ElementType;

bool IsNarrowFloat(ElementType type) {
  return type == ElementType::kFp32 || type == ElementType::kFp16 || type == ElementType::kBf16;
}

bool IsFloat(ElementType type) { return IsNarrowFloat(type) || type == ElementType::kFp64; }

size_t RowBytes(const InputSpec& input) {
  size_t bytes = client::ByteSize(input.type);
  for (const int64_t size : input.shape) bytes *= static_cast<size_t>(size);
  return bytes;
}

// `values` doubles as bytes.
std::string RandomDoubles(size_t values, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::string bytes(values * sizeof(double), '\0');
  for (size_t i = 0; i < values; ++i) {
    const double value = normal(random);
    std::memcpy(bytes.data() + i * sizeof(double), &value, sizeof(double));
  }
  return bytes;
}

std::string RandomIntegers(size_t values, size_t width, int most, std::mt19937_64& random) {
  std::uniform_int_distribution<int> uniform(0, most);
  std::string bytes(values * width, '\0');
  for (size_t i = 0; i < values; ++i) bytes[i * width] = static_cast<char>(uniform(random));
  return bytes;
}

std::string RandomFloats(size_t values, ElementType type, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> floats(values);
  for (float& value : floats) value = normal(random);
  return client::FromFloats(floats, {static_cast<int64_t>(values)}, type).bytes;
}

std::string Shown(const client::TensorPath& path) {
  return path.tensor.empty() ? path.file : absl::StrCat(path.file, ":", path.tensor);
}

// Whether `shape` is the input's: with rows before it, or one row of it.
bool Fits(const std::vector<int64_t>& shape, const InputSpec& input) {
  if (shape == input.shape) return true;
  return shape.size() == input.shape.size() + 1 &&
         std::equal(input.shape.begin(), input.shape.end(), shape.begin() + 1);
}

}  // namespace

std::string Rows::Take(int64_t first, int64_t rows) const {
  std::string taken;
  taken.reserve(static_cast<size_t>(rows) * row_bytes);
  for (int64_t at = first % count; rows > 0; at = 0) {
    const int64_t run = std::min(rows, count - at);
    taken.append(bytes, static_cast<size_t>(at) * row_bytes, static_cast<size_t>(run) * row_bytes);
    rows -= run;
  }
  return taken;
}

Rows RandomRows(const InputSpec& input, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  Rows rows{count, RowBytes(input), {}};
  const size_t width = client::ByteSize(input.type);
  const size_t values = static_cast<size_t>(count) * rows.row_bytes / width;
  if (input.type == ElementType::kFp64) {
    rows.bytes = RandomDoubles(values, random);
  } else if (IsFloat(input.type)) {
    rows.bytes = RandomFloats(values, input.type, random);
  } else {
    rows.bytes = RandomIntegers(values, width, input.type == ElementType::kBool ? 1 : 99, random);
  }
  return rows;
}

absl::StatusOr<Rows> ReadRows(const client::TensorPath& path, const InputSpec& input) {
  MLPSERVE_ASSIGN_OR_RETURN(client::Tensor tensor, client::ReadTensor(path, input.name));
  const bool rounded = IsFloat(tensor.type) && IsNarrowFloat(input.type);
  if (!Fits(tensor.shape, input) || tensor.bytes.empty() ||
      (tensor.type != input.type && !rounded)) {
    std::vector<int64_t> expected = input.shape;
    expected.insert(expected.begin(), -1);
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(path), ": expected rows of ", client::Describe(input.type, expected),
                     " for '", input.name, "', found ", client::Describe(tensor)));
  }
  if (tensor.type != input.type) {
    tensor = client::FromFloats(client::ToFloats(tensor), tensor.shape, input.type);
  }
  const size_t row_bytes = RowBytes(input);
  const auto count = static_cast<int64_t>(tensor.bytes.size() / row_bytes);
  return Rows{count, row_bytes, std::move(tensor.bytes)};
}

}  // namespace mlpserve::load
