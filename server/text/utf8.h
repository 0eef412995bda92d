// UTF-8 (RFC 3629): what a protobuf string, and so every name and reason on the wire, must be.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mlpserve {

bool IsUtf8(std::string_view bytes);

// The longest beginning of `text`, which is UTF-8, that has at most so many bytes and ends with a
// whole character.
std::string_view CutUtf8(std::string_view text, size_t most_bytes);

// What a client named, for a message to it: in quotes, and cut where it is long.
std::string QuotedShort(std::string_view text);

// `bytes` with "\xNN" for each byte that is a control character (ASCII) or no UTF-8: one line that
// a log and a protobuf string can hold, of text that nobody has checked. Not reversible.
std::string Printable(std::string_view bytes);

}  // namespace mlpserve
