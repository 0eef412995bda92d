#include "server/transport/utf8.h"

#include <cstddef>
#include <cstdint>

namespace mlpserve {
namespace {

uint8_t At(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// Bytes of the character at `i`, or 0 if there is no valid one. RFC 3629, section 4.
size_t CharacterLength(std::string_view text, size_t i) {
  const uint8_t lead = At(text, i);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() - i < length) return 0;
  // The second byte is what excludes overlong forms, surrogates and what lies above U+10FFFF.
  const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (At(text, i + 1) < low || At(text, i + 1) > high) return 0;
  for (size_t k = 2; k < length; ++k) {
    if ((At(text, i + k) & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = CharacterLength(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

}  // namespace mlpserve
