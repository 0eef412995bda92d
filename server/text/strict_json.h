// Walks JSON text that is held to the letter: RFC 8259 in UTF-8, no byte order mark, no key twice
// in an object, no null in an array, at most 100 levels. What a lenient parser would let pass or
// silently drop is an error here. Memory: the keys of the objects that are open; nothing is built.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace mlpserve {

enum class JsonKind : uint8_t {
  kBeginObject,
  kKey,
  kEndObject,
  kBeginArray,
  kEndArray,
  kString,
  kInteger,  // not negative, less than 2^64, written without fraction and exponent
  kNumber,   // any other number
  kBool,
  kNull,
};

// "a string", as in error messages.
std::string_view Name(JsonKind kind);

struct JsonEvent {
  JsonKind kind;
  int depth;                // objects and arrays that enclose it, without itself
  const std::string& text;  // kKey, kString
  uint64_t integer = 0;     // kInteger
};

// An error stops the walk and is what ParseStrictJson returns.
using JsonHandler = std::function<absl::Status(const JsonEvent&)>;

// Errors of its own are INVALID_ARGUMENT and say where: by line and column, or by path
// ("layers[0].epilogue").
absl::Status ParseStrictJson(std::string_view text, const JsonHandler& on_event);

// `text` between double quotes, what cannot be printed as an escape, shortened to 200 bytes: for
// messages about text that nobody has checked.
std::string Quoted(std::string_view text);

}  // namespace mlpserve
