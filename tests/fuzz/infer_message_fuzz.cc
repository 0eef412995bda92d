// Any bytes, in pieces of any size, as a ModelInferRequest: our parser and protobuf's must agree.
//
// The first byte chooses the pieces: its two halves are the lengths of the even and the odd ones
// (0 and 0: all in one). The rest is the message.
#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "tests/fuzz/require.h"
#include "tests/server/transport/parser_comparison.h"

namespace mlpserve {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t lengths[] = {data[0] & size_t{15}, data[0] / size_t{16}};
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  std::vector<Bytes> pieces;
  Bytes rest = std::as_bytes(std::span<const char>(bytes));
  for (size_t i = 0; !rest.empty(); ++i) {
    const size_t length = data[0] == 0 ? rest.size() : std::min(lengths[i % 2], rest.size());
    pieces.push_back(rest.first(length));
    rest = rest.subspan(length);
  }
  static InferMessage message;  // used again and again, as calls do
  const ParserComparison comparison = CompareParsers(bytes, pieces, &message);
  std::fputs(comparison.difference.c_str(), stderr);
  REQUIRE(comparison.difference.empty());
  return 0;
}

}  // namespace mlpserve
