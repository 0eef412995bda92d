#include "kernels/cuda/jit/sha256.h"

#include <openssl/sha.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mlpserve::cuda {

std::string Sha256Hex(std::initializer_list<std::string_view> fields) {
  std::string text;
  for (const std::string_view field : fields) {
    absl::StrAppend(&text, field.size(), ":");
    text.append(field);
  }
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

}  // namespace mlpserve::cuda
