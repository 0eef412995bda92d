// Any text as CSV: refused in words, or numbers that are written and read again the same.
#include "client/tensor/csv.h"
#include "tests/fuzz/require.h"

namespace mlpserve::client {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<Tensor> tensor = ParseCsv({reinterpret_cast<const char*>(data), size});
  if (!tensor.ok()) {
    REQUIRE(absl::IsInvalidArgument(tensor.status()));
    return 0;
  }
  REQUIRE(tensor->shape.size() == 2);
  const absl::StatusOr<Tensor> again = ParseCsv(FormatCsv(*tensor));
  REQUIRE(again.ok());
  REQUIRE(again->shape == tensor->shape);
  const std::vector<float> expected = ToFloats(*tensor);
  const std::vector<float> found = ToFloats(*again);
  for (size_t i = 0; i < expected.size(); ++i) {
    // NaN stays NaN, whichever.
    REQUIRE(found[i] == expected[i] || (found[i] != found[i] && expected[i] != expected[i]));
  }
  return 0;
}

}  // namespace mlpserve::client
