#include "kernels/cuda/engine/cublas_lt.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/shared_library.h"

namespace mlpserve::cuda {
namespace {

void Resolve(SharedLibrary& library, CublasLt::Functions& f) {
  library.Resolve(f.create, "cublasLtCreate");
  library.Resolve(f.destroy, "cublasLtDestroy");
  library.Resolve(f.version, "cublasLtGetVersion");
  library.Resolve(f.matmul, "cublasLtMatmul");
  library.Resolve(f.desc_create, "cublasLtMatmulDescCreate");
  library.Resolve(f.desc_destroy, "cublasLtMatmulDescDestroy");
  library.Resolve(f.desc_set, "cublasLtMatmulDescSetAttribute");
  library.Resolve(f.layout_create, "cublasLtMatrixLayoutCreate");
  library.Resolve(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
  library.Resolve(f.preference_create, "cublasLtMatmulPreferenceCreate");
  library.Resolve(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  library.Resolve(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  library.Resolve(f.heuristic, "cublasLtMatmulAlgoGetHeuristic");
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CublasLt>> CublasLt::Open(const std::string& library) {
  std::vector<std::string> names = {"libcublasLt.so.13", "libcublasLt.so.12"};
  if (!library.empty()) names = {library};
  Functions functions;
  const absl::Status opened =
      OpenFirst("cuBLASLt", names, [&](SharedLibrary& found) { Resolve(found, functions); });
  if (!opened.ok()) return opened;
  cublasLtHandle_t handle = nullptr;
  const absl::Status created = StatusOf(functions.create(&handle), "cublasLtCreate");
  if (!created.ok()) return created;
  return std::shared_ptr<const CublasLt>(new CublasLt(functions, handle));
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
