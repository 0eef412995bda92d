#include "kernels/cuda/jit/shared_library.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mlpserve::cuda {

SharedLibrary::SharedLibrary(const std::string& name)
    : handle_(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {}

void* SharedLibrary::Find(const char* name) {
  void* function = dlsym(handle_, name);
  if (function == nullptr && missing_ == nullptr) missing_ = name;
  return function;
}

absl::Status OpenFirst(std::string_view title, const std::vector<std::string>& names,
                       const std::function<void(SharedLibrary&)>& resolve) {
  std::vector<std::string> failures;
  for (const std::string& name : names) {
    SharedLibrary library(name);
    if (!library.is_open()) {
      failures.emplace_back(dlerror());
      continue;
    }
    resolve(library);
    if (library.missing() == nullptr) return absl::OkStatus();
    failures.push_back(absl::StrCat(name, " has no function ", library.missing()));
  }
  return absl::UnavailableError(
      absl::StrCat("no ", std::string(title), ": ", absl::StrJoin(failures, "; ")));
}

}  // namespace mlpserve::cuda
