// A block whose files a client has sent, written to a folder of its own so that it is read as any
// other; the folder goes with the object.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/catalog/model_control.h"

namespace mlpserve {

class SentBlock {
 public:
  // Errors: INVALID_ARGUMENT, a name, or a path other than "<version>/weights.safetensors";
  // UNAVAILABLE, it cannot be written.
  static absl::StatusOr<SentBlock> Write(const ModelControl::LoadRequest& request);

  SentBlock(SentBlock&& other) noexcept : folder_(std::exchange(other.folder_, "")) {}
  SentBlock& operator=(SentBlock&&) = delete;
  ~SentBlock();

  const std::string& repository() const { return folder_; }

 private:
  explicit SentBlock(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
};

}  // namespace mlpserve
