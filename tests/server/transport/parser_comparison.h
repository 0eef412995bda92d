// ParseInferMessage held against protobuf's own parser: same bytes, same verdict, same values.
#pragma once

#include <span>
#include <string>

#include "server/transport/infer_message.h"

namespace mlpserve {

struct ParserComparison {
  bool valid = false;      // to protobuf
  std::string difference;  // in words, one line for each; empty: none
};

// Both parsers on the same bytes, of which ours sees `pieces` and fills `message`.
ParserComparison CompareParsers(const std::string& bytes, std::span<const Bytes> pieces,
                                InferMessage* message);

}  // namespace mlpserve
