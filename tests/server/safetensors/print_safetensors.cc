// Prints a safetensors file for a test in another language, one line of JSON for each tensor:
//   {"name": "x", "dtype": "F16", "shape": [2], "values": [0.5, NaN]}
// Values are exact; NaN and Infinity are written as Python's json module reads them. A tensor of a
// type that is not converted has "values": null.
// usage: print_safetensors FILE; exit code 1 and a line on standard error if it cannot be read
#include <cmath>
#include <cstdio>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/safetensors/reader.h"

namespace mlpserve {
namespace {

std::string JsonString(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&json, "\\u%04x", static_cast<unsigned>(c));
    } else {
      json += c;
    }
  }
  return json + "\"";
}

std::string JsonNumber(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  const std::string digits = absl::StrFormat("%.17g", value);
  // With a point, Python reads a float, which keeps the sign of zero.
  return digits.find_first_of(".e") == std::string::npos ? digits + ".0" : digits;
}

absl::StatusOr<std::string> JsonValues(const SafetensorsReader& reader, const TensorInfo& tensor) {
  if (IsFloat(tensor.type)) {
    const auto values = reader.ReadDoubles(tensor.name);
    if (!values.ok()) return values.status();
    const auto append = [](std::string* out, double value) { out->append(JsonNumber(value)); };
    return absl::StrCat("[", absl::StrJoin(*values, ", ", append), "]");
  }
  if (!IsInteger(tensor.type)) return "null";
  const auto values = reader.ReadInts(tensor.name);
  if (!values.ok()) return values.status();
  return absl::StrCat("[", absl::StrJoin(*values, ", "), "]");
}

absl::Status Print(const std::string& path) {
  const absl::StatusOr<SafetensorsReader> reader = SafetensorsReader::Open(path);
  if (!reader.ok()) return reader.status();
  for (const TensorInfo& tensor : reader->header().tensors) {
    const absl::StatusOr<std::string> values = JsonValues(*reader, tensor);
    if (!values.ok()) return values.status();
    absl::PrintF("{\"name\": %s, \"dtype\": \"%s\", \"shape\": %s, \"values\": %s}\n",
                 JsonString(tensor.name), std::string(Name(tensor.type)), ShapeString(tensor.shape),
                 *values);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace mlpserve

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: print_safetensors FILE\n", stderr);
    return 2;
  }
  const absl::Status status = mlpserve::Print(argv[1]);
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "%s\n", std::string(status.message()));
  return 1;
}
