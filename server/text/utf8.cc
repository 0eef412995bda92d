#include "server/text/utf8.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_format.h"

namespace mlpserve {
namespace {

// Length of the sequence that `bytes` begins with; 0 if it is ill-formed. RFC 3629, section 4.
size_t SequenceLength(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(i < bytes.size() ? bytes[i] : 0); };
  const auto tail = [&](size_t i) { return (at(i) & 0xC0) == 0x80; };
  const uint8_t first = at(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4 || !tail(1)) return 0;
  if (first < 0xE0) return 2;
  if (!tail(2)) return 0;
  if (first < 0xF0) {
    const bool overlong = first == 0xE0 && at(1) < 0xA0;
    const bool surrogate = first == 0xED && at(1) > 0x9F;
    return overlong || surrogate ? 0 : 3;
  }
  const bool overlong = first == 0xF0 && at(1) < 0x90;
  const bool too_large = first == 0xF4 && at(1) > 0x8F;
  return overlong || too_large || !tail(3) ? 0 : 4;
}

}  // namespace

bool IsUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = SequenceLength(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string Printable(std::string_view bytes) {
  std::string printable;
  printable.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t length = SequenceLength(bytes);
    const auto first = static_cast<uint8_t>(bytes.front());
    if (length == 0 || first < 0x20 || first == 0x7F) {
      printable += absl::StrFormat("\\x%02x", first);
      bytes.remove_prefix(1);
    } else {
      printable += bytes.substr(0, length);
      bytes.remove_prefix(length);
    }
  }
  return printable;
}

std::string_view CutUtf8(std::string_view text, size_t most_bytes) {
  if (text.size() <= most_bytes) return text;
  size_t end = most_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

std::string QuotedShort(std::string_view text) {
  constexpr size_t kShownBytes = 64;
  const std::string_view shown = CutUtf8(text, kShownBytes);
  std::string quoted = "\"" + std::string(shown);
  if (shown.size() == text.size()) return quoted + "\"";
  return quoted + "...\" (" + std::to_string(text.size()) + " bytes)";
}

}  // namespace mlpserve
