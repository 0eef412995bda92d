// Whether bytes are UTF-8 (RFC 3629): what a protobuf string, and so every name on the wire, must
// be.
#pragma once

#include <string_view>

namespace mlpserve {

bool IsUtf8(std::string_view bytes);

}  // namespace mlpserve
