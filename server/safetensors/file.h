// A regular file, open for reading by position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve {

// Move-only; reading is thread-safe. Error messages name the file.
class File {
 public:
  // Errors: NOT_FOUND, no such file; INVALID_ARGUMENT, no regular file (opening never waits for a
  // pipe's other end); UNAVAILABLE, it cannot be opened.
  static absl::StatusOr<File> Open(const std::string& path);

  File(File&& other) noexcept
      : path_(std::move(other.path_)),
        descriptor_(std::exchange(other.descriptor_, -1)),
        size_(other.size_) {}
  File& operator=(File&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~File();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // bytes, when it was opened

  // Fills all of `to` from `offset` on, or returns UNAVAILABLE: the file has become shorter, or
  // reading failed.
  absl::Status ReadAt(uint64_t offset, std::span<std::byte> to) const;

 private:
  File(std::string path, int descriptor, uint64_t size)
      : path_(std::move(path)), descriptor_(descriptor), size_(size) {}

  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// The whole of a file of at most `max_bytes`; INVALID_ARGUMENT if it is larger.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, uint64_t max_bytes);

}  // namespace mlpserve
