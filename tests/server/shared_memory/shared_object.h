// A POSIX shared memory object of a test, gone when the test is.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace mlpserve {

class SharedObject {
 public:
  // `bytes` long, all 0.
  explicit SharedObject(const std::string& name, size_t bytes)
      : key_("/mlpserve_test_" + std::to_string(getpid()) + name),
        descriptor_(shm_open(key_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600)) {
    EXPECT_GE(descriptor_, 0) << key_;
    Resize(bytes);
  }
  ~SharedObject() {
    close(descriptor_);
    shm_unlink(key_.c_str());
  }
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;

  const std::string& key() const { return key_; }
  void Resize(size_t bytes) const {
    EXPECT_EQ(ftruncate(descriptor_, static_cast<off_t>(bytes)), 0);
  }
  void Write(size_t offset, const std::string& bytes) const {
    EXPECT_EQ(pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
  }
  // As many of them as there are.
  std::string Read(size_t offset, size_t bytes) const {
    std::string read(bytes, '\0');
    const ssize_t count = pread(descriptor_, read.data(), bytes, static_cast<off_t>(offset));
    EXPECT_GE(count, 0);
    read.resize(static_cast<size_t>(count));
    return read;
  }

 private:
  const std::string key_;
  const int descriptor_;
};

}  // namespace mlpserve
