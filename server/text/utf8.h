// UTF-8 (RFC 3629): what a protobuf string, and so every name and reason on the wire, must be.
#pragma once

#include <string>
#include <string_view>

namespace mlpserve {

bool IsUtf8(std::string_view bytes);

// `bytes` with "\xNN" for each byte that is a control character (ASCII) or no UTF-8: one line that
// a log and a protobuf string can hold, of text that nobody has checked. Not reversible.
std::string Printable(std::string_view bytes);

}  // namespace mlpserve
