#include "client/tensor/csv.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::client {
namespace {

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::optional<float> ParseNumber(std::string_view field) {
  if (field.substr(0, 1) == "+" && field.substr(1, 1) != "-") field.remove_prefix(1);
  const char* const end = field.data() + field.size();
  float value = 0;
  std::from_chars_result result = std::from_chars(field.data(), end, value);
  if (result.ec == std::errc::result_out_of_range) {  // too large, or so small that it rounds to 0
    double wide = 0;
    result = std::from_chars(field.data(), end, wide);
    if (std::abs(wide) > 1) return std::nullopt;
    value = static_cast<float>(wide);
  }
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

// Takes the text up to `separator`, or all of it, off the front of `rest`.
std::string_view TakeUntil(char separator, std::string_view& rest) {
  const size_t end = rest.find(separator);
  const std::string_view taken = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return taken;
}

bool IsHeading(std::string_view line) {
  while (!line.empty()) {
    const std::string_view field = Trim(TakeUntil(',', line));
    if (ParseNumber(field) || field.find_first_of("0123456789") <= 1) return false;
  }
  return true;
}

class Reader {
 public:
  absl::Status AddLine(std::string_view line, int64_t number) {
    int64_t columns = 0;
    bool more = true;
    while (more) {
      more = line.find(',') != std::string_view::npos;
      const std::string_view field = Trim(TakeUntil(',', line));
      ++columns;
      const std::optional<float> value = ParseNumber(field);
      if (!value) {
        return absl::InvalidArgumentError(absl::StrCat("csv: line ", number, ", column ", columns,
                                                       ": expected an FP32 number, found '",
                                                       std::string(field.substr(0, 40)), "'"));
      }
      values_.push_back(*value);
    }
    if (rows_ == 0) columns_ = columns;
    if (columns != columns_) {
      return absl::InvalidArgumentError(
          absl::StrCat("csv: line ", number, ": expected ", columns_, " columns, found ", columns));
    }
    ++rows_;
    return absl::OkStatus();
  }

  int64_t rows() const { return rows_; }
  Tensor Finish() const { return FromFloats(values_, {rows_, columns_}, ElementType::kFp32); }

 private:
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  std::vector<float> values_;
};

template <class Value>
void AppendLines(const std::vector<Value>& values, size_t columns, std::string& text) {
  char buffer[64];
  for (size_t i = 0; i < values.size(); ++i) {
    const auto result = std::to_chars(std::begin(buffer), std::end(buffer), values[i]);
    text.append(buffer, result.ptr);
    text.push_back((i + 1) % columns == 0 ? '\n' : ',');
  }
}

template <class Value>
std::vector<Value> Elements(const Tensor& tensor) {
  std::vector<Value> values(tensor.bytes.size() / sizeof(Value));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

}  // namespace

absl::StatusOr<Tensor> ParseCsv(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    text.remove_prefix(kByteOrderMark.size());
  }
  Reader reader;
  bool first = true;
  for (int64_t number = 1; !text.empty(); ++number) {
    const std::string_view line = Trim(TakeUntil('\n', text));
    if (line.empty()) continue;
    const bool skip = first && IsHeading(line);
    first = false;
    if (skip) continue;
    MLPSERVE_RETURN_IF_ERROR(reader.AddLine(line, number));
  }
  if (reader.rows() == 0) {
    return absl::InvalidArgumentError("csv: expected at least one line of numbers, found none");
  }
  return reader.Finish();
}

std::string FormatCsv(const Tensor& tensor) {
  size_t columns = 1;
  for (size_t i = 1; i < tensor.shape.size(); ++i) {
    columns *= static_cast<size_t>(tensor.shape[i]);
  }
  std::string text;
  if (tensor.type == ElementType::kFp64) {
    AppendLines(Elements<double>(tensor), columns, text);
  } else if (tensor.type == ElementType::kUint64) {
    AppendLines(Elements<uint64_t>(tensor), columns, text);
  } else if (IsInteger(tensor.type)) {
    AppendLines(*ToIntegers(tensor), columns, text);
  } else {
    AppendLines(ToFloats(tensor), columns, text);
  }
  return text;
}

}  // namespace mlpserve::client
