#include "kernels/cuda/block/cublas_lt.h"

#include <dlfcn.h>

#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mlpserve::cuda {
namespace {

// Returns the name of the first function that is missing, or null.
const char* Resolve(void* library, CublasLt::Functions& f) {
  const char* missing = nullptr;
  const auto resolve = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr && missing == nullptr) missing = name;
  };
  resolve(f.create, "cublasLtCreate");
  resolve(f.destroy, "cublasLtDestroy");
  resolve(f.version, "cublasLtGetVersion");
  resolve(f.matmul, "cublasLtMatmul");
  resolve(f.desc_create, "cublasLtMatmulDescCreate");
  resolve(f.desc_destroy, "cublasLtMatmulDescDestroy");
  resolve(f.desc_set, "cublasLtMatmulDescSetAttribute");
  resolve(f.layout_create, "cublasLtMatrixLayoutCreate");
  resolve(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
  resolve(f.preference_create, "cublasLtMatmulPreferenceCreate");
  resolve(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  resolve(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  resolve(f.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  return missing;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CublasLt>> CublasLt::Open(const std::string& library) {
  std::vector<std::string> names = {"libcublasLt.so.13", "libcublasLt.so.12"};
  if (!library.empty()) names = {library};
  std::string tried;
  for (const std::string& name : names) {
    absl::StrAppend(&tried, tried.empty() ? "" : "; ");
    // Never closed: it leaves threads and handlers behind.
    void* opened = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (opened == nullptr) {
      absl::StrAppend(&tried, dlerror());
      continue;
    }
    Functions functions;
    if (const char* missing = Resolve(opened, functions); missing != nullptr) {
      absl::StrAppend(&tried, name, " has no function ", missing);
      continue;
    }
    cublasLtHandle_t handle = nullptr;
    const absl::Status created = StatusOf(functions.create(&handle), "cublasLtCreate");
    if (!created.ok()) return created;
    return std::shared_ptr<const CublasLt>(new CublasLt(functions, handle));
  }
  return absl::UnavailableError(absl::StrCat("no cuBLASLt: ", tried));
}

CublasLt::~CublasLt() { (void)functions_.destroy(handle_); }

std::string CublasLt::version() const { return absl::StrCat(functions_.version()); }

absl::Status StatusOf(cublasStatus_t status, const char* call) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return absl::OkStatus();
    case CUBLAS_STATUS_ALLOC_FAILED:
      return absl::ResourceExhaustedError(absl::StrCat(call, ": out of memory"));
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return absl::UnavailableError(absl::StrCat(call, ": the device failed"));
    default:
      return absl::InternalError(absl::StrCat(call, ": cuBLAS status ", static_cast<int>(status)));
  }
}

}  // namespace mlpserve::cuda
