// Names files that are often found where safetensors or JSON is expected.
#pragma once

#include <string_view>

namespace mlpserve {

// "a Git LFS pointer, ...", or empty if the first bytes of a file tell nothing.
std::string_view NameOtherFormat(std::string_view first_bytes);

// So many first bytes are enough.
inline constexpr size_t kOtherFormatBytes = 64;

}  // namespace mlpserve
