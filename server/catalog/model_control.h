// Loading and unloading while the server runs, at a client's wish: what the transport asks of who
// loads blocks.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace mlpserve {

// Thread-safe.
class ModelControl {
 public:
  struct LoadRequest {
    std::string name;
    std::optional<std::string> config;  // the text of a model.json, instead of the repository's
    // By their path in the block's folder: files instead of the repository's, all of them.
    std::map<std::string, std::string> files;
  };
  // Called once, on any thread, perhaps before the function returns. OK: the block serves, or has
  // left; else nothing has changed, and the message says why.
  using Done = std::function<void(const absl::Status&)>;

  virtual ~ModelControl() = default;

  // Loads the block, or loads it again, beside what serves.
  virtual void Load(LoadRequest request, Done done) = 0;
  // Takes every version of the block out of service.
  virtual void Unload(const std::string& name, Done done) = 0;
};

}  // namespace mlpserve
