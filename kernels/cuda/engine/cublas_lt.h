// NVIDIA's cuBLASLt, found when the program runs: nothing links to it.
// Threads: any; a handle serves one device, the one that was current when it was opened.
#pragma once

#include <cublasLt.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve::cuda {

class CublasLt {
 public:
  struct Functions {
    decltype(&cublasLtCreate) create = nullptr;
    decltype(&cublasLtDestroy) destroy = nullptr;
    decltype(&cublasLtGetVersion) version = nullptr;
    decltype(&cublasLtMatmul) matmul = nullptr;
    decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
    decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
    decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
    decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
    decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
    decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
    decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
    decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
    decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  };

  // Tries libcublasLt.so.13 and .12 as the dynamic linker finds them; with `library`, that path.
  // Errors: UNAVAILABLE, with each name tried and why it failed.
  static absl::StatusOr<std::shared_ptr<const CublasLt>> Open(const std::string& library = "");
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  const Functions& call() const { return functions_; }
  cublasLtHandle_t handle() const { return handle_; }
  std::string version() const;

 private:
  CublasLt(const Functions& functions, cublasLtHandle_t handle)
      : functions_(functions), handle_(handle) {}

  const Functions functions_;
  const cublasLtHandle_t handle_;
};

// RESOURCE_EXHAUSTED, UNAVAILABLE (the device is lost) or INTERNAL, with the call's name.
absl::Status StatusOf(cublasStatus_t status, const char* call);

}  // namespace mlpserve::cuda
