// A folder that is removed when its owner is destroyed. Movable.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

namespace mlpserve::tools {

class TemporaryDirectory {
 public:
  // The path is empty where no folder was wanted or none could be made.
  explicit TemporaryDirectory(bool wanted) {
    if (!wanted) return;
    std::string path = std::filesystem::temp_directory_path() / "mlpserve-bench-XXXXXX";
    if (mkdtemp(path.data()) != nullptr) path_ = path;
  }
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace mlpserve::tools
