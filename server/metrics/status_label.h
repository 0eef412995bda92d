// gRPC's status codes as an index and as the value of the label `code`.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"

namespace mlpserve {

inline constexpr size_t kStatusCodes = 17;  // 0 (OK) .. 16 (UNAUTHENTICATED)

// A code that gRPC does not have counts as UNKNOWN; so does OK, which is no failure.
inline size_t StatusIndex(absl::StatusCode code) {
  const int index = static_cast<int>(code);
  return static_cast<size_t>(index > 0 && index < static_cast<int>(kStatusCodes)
                                 ? index
                                 : static_cast<int>(absl::StatusCode::kUnknown));
}

inline std::string StatusLabel(size_t index) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(index));
}

// Whether the code's counter is shown before it has counted anything: a rate over the first failure
// needs the zero before it. These are the codes that the server answers with.
inline bool IsShownAtZero(size_t index) {
  switch (static_cast<absl::StatusCode>(index)) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kInternal:
      return true;
    default:
      return false;
  }
}

}  // namespace mlpserve
