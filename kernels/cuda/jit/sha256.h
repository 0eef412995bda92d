// SHA-256 (FIPS 180-4), as the names of cached kernels.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace mlpserve::cuda {

// 64 hexadecimal digits. Each field counts with its length, so that {"ab", "c"} and {"a", "bc"}
// differ.
std::string Sha256Hex(std::initializer_list<std::string_view> fields);

}  // namespace mlpserve::cuda
