#include "server/text/strict_json.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

constexpr size_t kMaxDepth = 100;
constexpr size_t kMaxQuotedBytes = 200;

using Json = nlohmann::json;

// Checks what nlohmann's parser does not, and passes the rest on.
class StrictSax : public nlohmann::json_sax<Json> {
 public:
  explicit StrictSax(const JsonHandler& on_event) : on_event_(on_event) {}

  const absl::Status& status() const { return status_; }

  bool null() override {
    if (!open_.empty() && open_.back().is_array) {
      CountElement();
      return Fail("expected a value in a list, found null");
    }
    return Scalar(JsonKind::kNull);
  }
  bool boolean(bool) override { return Scalar(JsonKind::kBool); }
  bool number_integer(number_integer_t) override { return Scalar(JsonKind::kNumber); }
  bool number_unsigned(number_unsigned_t value) override {
    return Scalar(JsonKind::kInteger, {}, value);
  }
  bool number_float(number_float_t, const string_t&) override { return Scalar(JsonKind::kNumber); }
  bool string(string_t& text) override { return Scalar(JsonKind::kString, text); }
  bool binary(binary_t&) override { return Fail("binary values are not JSON"); }

  bool start_object(size_t) override { return Begin(JsonKind::kBeginObject); }
  bool end_object() override { return End(JsonKind::kEndObject); }
  bool start_array(size_t) override { return Begin(JsonKind::kBeginArray); }
  bool end_array() override { return End(JsonKind::kEndArray); }

  bool key(string_t& text) override {
    if (!open_.back().keys.insert(text).second) {
      return Fail(absl::StrCat("duplicate key ", Quoted(text)));
    }
    open_.back().key = text;
    return Emit(JsonKind::kKey, text);
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string_view what = error.what();
    what.remove_prefix(std::min(what.find(']') + 2, what.size()));
    status_ = absl::InvalidArgumentError(Printable(what.substr(0, kMaxQuotedBytes)));
    return false;
  }

 private:
  struct Open {
    bool is_array;
    int64_t index = -1;  // of the element at hand
    std::string key;     // of the member at hand
    std::unordered_set<std::string> keys = {};
  };

  bool Emit(JsonKind kind, const std::string& text, uint64_t integer = 0) {
    status_ = on_event_({kind, static_cast<int>(open_.size()), text, integer});
    return status_.ok();
  }

  bool Fail(const std::string& message) {
    const std::string path = Path();
    status_ =
        absl::InvalidArgumentError(path.empty() ? message : absl::StrCat(path, ": ", message));
    return false;
  }

  void CountElement() {
    if (!open_.empty() && open_.back().is_array) ++open_.back().index;
  }

  bool Scalar(JsonKind kind, const std::string& text = {}, uint64_t integer = 0) {
    CountElement();
    return Emit(kind, text, integer);
  }

  bool Begin(JsonKind kind) {
    CountElement();
    if (open_.size() == kMaxDepth) {
      return Fail(absl::StrCat("expected at most ", kMaxDepth, " levels, found more"));
    }
    if (!Emit(kind, {})) return false;
    open_.push_back({.is_array = kind == JsonKind::kBeginArray, .key = {}});
    return true;
  }

  bool End(JsonKind kind) {
    open_.pop_back();
    return Emit(kind, {});
  }

  // Of the value at hand: "layers[0].epilogue". A duplicate key has the path of its object.
  std::string Path() const {
    std::string path;
    for (const Open& open : open_) {
      if (open.is_array) {
        absl::StrAppend(&path, "[", open.index, "]");
      } else if (&open != &open_.back()) {
        absl::StrAppend(&path, path.empty() ? "" : ".", open.key);
      }
    }
    return Printable(path.substr(0, kMaxQuotedBytes));
  }

  const JsonHandler& on_event_;
  std::vector<Open> open_;
  absl::Status status_;
};

}  // namespace

std::string_view Name(JsonKind kind) {
  switch (kind) {
    case JsonKind::kBeginObject:
    case JsonKind::kEndObject:
      return "an object";
    case JsonKind::kKey:
      return "a key";
    case JsonKind::kBeginArray:
    case JsonKind::kEndArray:
      return "an array";
    case JsonKind::kString:
      return "a string";
    case JsonKind::kInteger:
      return "an integer";
    case JsonKind::kNumber:
      return "a number";
    case JsonKind::kBool:
      return "a boolean";
    case JsonKind::kNull:
      return "null";
  }
  return "an unknown value";
}

absl::Status ParseStrictJson(std::string_view text, const JsonHandler& on_event) {
  // nlohmann's parser takes NUL for the end, and skips a byte order mark.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected JSON, found a NUL byte at byte ", nul));
  }
  if (text.substr(0, 3) == "\xEF\xBB\xBF") {
    return absl::InvalidArgumentError("expected JSON, found a byte order mark");
  }
  StrictSax sax(on_event);
  Json::sax_parse(text.begin(), text.end(), &sax);
  return sax.status();
}

std::string Quoted(std::string_view text) {
  const std::string shown(text.substr(0, kMaxQuotedBytes));
  return absl::StrCat("\"", Printable(absl::Utf8SafeCEscape(shown)),
                      text.size() > kMaxQuotedBytes ? "..." : "", "\"");
}

}  // namespace mlpserve
