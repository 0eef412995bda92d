// Rows of requests and of their answers in POSIX shared memory, for a server on the same machine.
//
// Not mapped: where /dev/shm is full a write to a mapping would end the process, and this one
// fails. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve::load {

class SharedRows {
 public:
  // A new object with memory behind all of it. RESOURCE_EXHAUSTED: there is not so much.
  static absl::StatusOr<std::unique_ptr<SharedRows>> Create(int64_t bytes);
  // Its name is free; the memory goes when the server lets go of it too.
  ~SharedRows();
  SharedRows(const SharedRows&) = delete;
  SharedRows& operator=(const SharedRows&) = delete;

  const std::string& key() const { return key_; }  // also the name that it is registered under
  int64_t bytes() const { return bytes_; }

  // Within its bytes. UNAVAILABLE: the system does not do it.
  absl::Status Write(int64_t offset, std::string_view bytes);
  absl::StatusOr<std::string> Read(int64_t offset, int64_t bytes) const;

 private:
  SharedRows(std::string key, int descriptor, int64_t bytes)
      : key_(std::move(key)), descriptor_(descriptor), bytes_(bytes) {}

  const std::string key_;
  const int descriptor_;
  const int64_t bytes_;
};

}  // namespace mlpserve::load
