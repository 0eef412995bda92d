// Whether bytes are UTF-8, by RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <string_view>

namespace mlpserve {

bool IsUtf8(std::string_view text);

}  // namespace mlpserve
