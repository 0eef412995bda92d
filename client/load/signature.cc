#include "client/load/signature.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::load {
namespace {

// `remedy` says what to do where the metadata does not.
absl::StatusOr<InputSpec> SpecOf(const std::string& model, std::string_view kind,
                                 const client::TensorMetadata& tensor, std::string_view remedy) {
  const auto error = [&](std::string_view what) {
    return absl::FailedPreconditionError(
        absl::StrCat("model '", model, "', ", std::string(kind), " ", client::Describe({tensor}),
                     ": expected ", std::string(what), std::string(remedy)));
  };
  const std::optional<client::ElementType> type = client::ParseElementType(tensor.datatype);
  if (!type) return error("a datatype of fixed size");
  InputSpec input{tensor.name, *type, tensor.shape, false};
  if (!input.shape.empty() && input.shape[0] < 0) {
    input.has_rows = true;
    input.shape.erase(input.shape.begin());
  }
  if (std::any_of(input.shape.begin(), input.shape.end(), [](int64_t size) { return size < 0; })) {
    return error("no free dimension but the first");
  }
  return input;
}

}  // namespace

absl::StatusOr<InputSpec> ParseInputSpec(std::string_view text) {
  const auto error = [&](std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("expected NAME:DATATYPE:DIM,..., such as ",
                                                   "x:FP32:64, found '", std::string(text),
                                                   "': ", std::string(what)));
  };
  // From the end: a name may hold colons.
  const size_t second = text.rfind(':');
  const size_t first = second == 0 || second == std::string_view::npos
                           ? std::string_view::npos
                           : text.rfind(':', second - 1);
  if (first == std::string_view::npos) return error("not three parts");
  if (first == 0) return error("no name");
  const std::string_view datatype = text.substr(first + 1, second - first - 1);
  const std::optional<client::ElementType> type = client::ParseElementType(datatype);
  if (!type) return error("an unknown datatype, or one without a fixed size");
  InputSpec input{std::string(text.substr(0, first)), *type, {}, true};
  const std::string dims(text.substr(second + 1));
  const std::vector<std::string> sizes = absl::StrSplit(dims, ',', absl::SkipEmpty());
  for (const std::string& size : sizes) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(size, &value) || value < 1) return error("a dimension below 1");
    input.shape.push_back(value);
  }
  return input;
}

std::vector<int64_t> ShapeOf(const InputSpec& input, int64_t rows) {
  std::vector<int64_t> shape = input.shape;
  if (input.has_rows) shape.insert(shape.begin(), rows);
  return shape;
}

absl::StatusOr<std::vector<InputSpec>> InputsOf(const client::BlockMetadata& metadata) {
  if (metadata.inputs.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("model '", metadata.name,
                     "': expected inputs in its metadata, found none "
                     "(--input NAME:DATATYPE:DIM,... says them)"));
  }
  std::vector<InputSpec> inputs;
  for (const client::TensorMetadata& tensor : metadata.inputs) {
    const std::string remedy =
        absl::StrCat(" (--input ", tensor.name, ":DATATYPE:DIM,... says it)");
    MLPSERVE_ASSIGN_OR_RETURN(InputSpec input, SpecOf(metadata.name, "input", tensor, remedy));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

absl::StatusOr<std::vector<InputSpec>> OutputsOf(const client::BlockMetadata& metadata) {
  if (metadata.outputs.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("model '", metadata.name, "': expected outputs in its metadata, found none"));
  }
  std::vector<InputSpec> outputs;
  for (const client::TensorMetadata& tensor : metadata.outputs) {
    MLPSERVE_ASSIGN_OR_RETURN(InputSpec output, SpecOf(metadata.name, "output", tensor,
                                                       ", as --shared-memory needs its size"));
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace mlpserve::load
