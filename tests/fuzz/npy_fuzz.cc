// Any bytes as an .npy file: refused in words, or an array that is written and read again the same.
#include "client/tensor/npy.h"
#include "tests/fuzz/require.h"

namespace mlpserve::client {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<Tensor> tensor = ParseNpy({reinterpret_cast<const char*>(data), size});
  if (!tensor.ok()) {
    REQUIRE(absl::IsInvalidArgument(tensor.status()));
    return 0;
  }
  const absl::StatusOr<std::string> file = FormatNpy(*tensor);
  if (!file.ok()) return 0;  // thousands of dimensions
  const absl::StatusOr<Tensor> again = ParseNpy(*file);
  REQUIRE(again.ok());
  REQUIRE(again->type == tensor->type && again->shape == tensor->shape);
  REQUIRE(again->bytes == tensor->bytes);
  REQUIRE(ToFloats(*tensor).size() * ByteSize(tensor->type) == tensor->bytes.size());
  return 0;
}

}  // namespace mlpserve::client
