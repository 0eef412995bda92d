// A library that nothing links to: it is found when the program runs, or it is missing.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace mlpserve::cuda {

// An open library's functions by name. It is never closed: NVIDIA's libraries leave threads and
// handlers behind.
class SharedLibrary {
 public:
  // Opens `name` as the dynamic linker finds it; is_open() is false where it does not.
  explicit SharedLibrary(const std::string& name);

  bool is_open() const { return handle_ != nullptr; }
  // Null, and remembered as missing, where the library has no such function.
  template <typename Function>
  void Resolve(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(Find(name));
  }
  // The first function that was not found; null: all were.
  const char* missing() const { return missing_; }

 private:
  void* Find(const char* name);

  void* handle_ = nullptr;
  const char* missing_ = nullptr;
};

// Opens the first of `names` that has everything which `resolve` looks up in it.
// Errors: UNAVAILABLE, "no `title`: " and each name tried with why it failed.
absl::Status OpenFirst(std::string_view title, const std::vector<std::string>& names,
                       const std::function<void(SharedLibrary&)>& resolve);

}  // namespace mlpserve::cuda
