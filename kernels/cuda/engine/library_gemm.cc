#include "kernels/cuda/engine/library_gemm.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/cuda/engine/elementwise_step.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// Shallower TF32 products it may compute without rounding their operands, which is not what a block
// asks for.
constexpr int kLeastTf32Depth = 32;
constexpr size_t kWorkspaceBytes = size_t{32} << 20;

cudaDataType_t TypeOf(DataType type) {
  return type == DataType::kFp32 ? CUDA_R_32F : type == DataType::kFp16 ? CUDA_R_16F : CUDA_R_16BF;
}

// The column vector that a lone z + column adds; null for every other epilogue.
const float* LoneBias(const Product& product) {
  if (product.epilogue.ops.size() != 1) return nullptr;
  const auto* op = std::get_if<MultiplyAdd>(&product.epilogue.ops.front().value);
  if (op == nullptr || op->scale != Operand{.value = 1} || !op->shift.is_column()) return nullptr;
  return product.args.epilogue.columns + op->shift.column * product.args.epilogue.columns_stride;
}

// The library reads the weights as they are.
Product WithoutHalves(Product product) {
  product.weight_halves.reset();
  return product;
}

}  // namespace

// What all algorithms of one product share. Column-major to the library: yᵀ [n, m] = w [n, k] xᵀ.
struct LibraryGemm::Problem {
  explicit Problem(const Product& p, std::shared_ptr<const CublasLt> opened)
      : product(WithoutHalves(p)), library(std::move(opened)) {}
  ~Problem() {
    const CublasLt::Functions& f = library->call();
    if (operation != nullptr) (void)f.desc_destroy(operation);
    for (cublasLtMatrixLayout_t layout : {w, x, y}) {
      if (layout != nullptr) (void)f.layout_destroy(layout);
    }
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  absl::Status Describe(int64_t rows, KernelStore& store);
  absl::Status Set(cublasLtMatmulDescAttributes_t attribute, const void* value, size_t bytes) {
    return StatusOf(library->call().desc_set(operation, attribute, value, bytes),
                    "cublasLtMatmulDescSetAttribute");
  }
  absl::Status AddBias(const float* bias);
  absl::Status FinishApart(KernelStore& store);
  absl::StatusOr<std::vector<cublasLtMatmulHeuristicResult_t>> Algorithms(int most) const;

  const Product product;
  const std::shared_ptr<const CublasLt> library;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
  void* result = nullptr;                // where the library stores
  std::shared_ptr<const Step> epilogue;  // null: the result is finished
  std::string suffix;
};

absl::Status LibraryGemm::Problem::AddBias(const float* bias) {
  const cublasLtEpilogue_t kind = CUBLASLT_EPILOGUE_BIAS;
  MLPSERVE_RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_EPILOGUE, &kind, sizeof(kind)));
  suffix = ".bias";
  return Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias));
}

absl::Status LibraryGemm::Problem::FinishApart(KernelStore& store) {
  GemmArgs args = product.args;
  args.x = result = product.unfinished->get();
  args.x_stride = AlignedStride(args.n, DataType::kFp32);
  auto step = ElementwiseStep::Make(
      product.epilogue, {.y = product.output, .block_input = StorageType(product.compute)}, args,
      store);
  if (!step.ok()) return step.status();
  epilogue = *std::move(step);
  suffix = "+epilogue";
  return absl::OkStatus();
}

absl::Status LibraryGemm::Problem::Describe(int64_t rows, KernelStore& store) {
  const CublasLt::Functions& f = library->call();
  const GemmArgs& a = product.args;
  const cublasComputeType_t compute =
      product.compute == ComputeType::kTf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  MLPSERVE_RETURN_IF_ERROR(
      StatusOf(f.desc_create(&operation, compute, CUDA_R_32F), "cublasLtMatmulDescCreate"));
  const cublasOperation_t transpose = CUBLAS_OP_T;
  MLPSERVE_RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof(transpose)));
  DataType type = product.output;
  int64_t stride = a.y_stride;
  result = a.y;
  const float* bias = LoneBias(product);
  const DataType in = StorageType(product.compute);
  const bool has_format = type == DataType::kFp32 || type == in;
  if (bias != nullptr && type == DataType::kFp32) {
    MLPSERVE_RETURN_IF_ERROR(AddBias(bias));
  } else if (!has_format || !product.epilogue.ops.empty()) {
    MLPSERVE_RETURN_IF_ERROR(FinishApart(store));
    type = DataType::kFp32;
    stride = AlignedStride(a.n, type);
  }
  const auto layout = [&f](cublasLtMatrixLayout_t& to, DataType t, int64_t r, int64_t c,
                           int64_t ld) {
    return StatusOf(
        f.layout_create(&to, TypeOf(t), static_cast<uint64_t>(r), static_cast<uint64_t>(c), ld),
        "cublasLtMatrixLayoutCreate");
  };
  MLPSERVE_RETURN_IF_ERROR(layout(w, in, a.k, a.n, a.w_stride));
  MLPSERVE_RETURN_IF_ERROR(layout(x, in, a.k, rows, a.x_stride));
  MLPSERVE_RETURN_IF_ERROR(layout(y, type, a.n, rows, stride));
  return product.workspace->Reserve(kWorkspaceBytes);
}

absl::StatusOr<std::vector<cublasLtMatmulHeuristicResult_t>> LibraryGemm::Problem::Algorithms(
    int most) const {
  const CublasLt::Functions& f = library->call();
  cublasLtMatmulPreference_t preference = nullptr;
  MLPSERVE_RETURN_IF_ERROR(
      StatusOf(f.preference_create(&preference), "cublasLtMatmulPreferenceCreate"));
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(most));
  int count = 0;
  cublasStatus_t status = f.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                           &kWorkspaceBytes, sizeof(kWorkspaceBytes));
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = f.heuristic(library->handle(), operation, w, x, y, y, preference, most, found.data(),
                         &count);
  }
  (void)f.preference_destroy(preference);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED)
    count = 0;
  else
    MLPSERVE_RETURN_IF_ERROR(StatusOf(status, "cublasLtMatmulAlgoGetHeuristic"));
  found.resize(static_cast<size_t>(count));
  return found;
}

LibraryGemm::LibraryGemm(std::shared_ptr<const Problem> problem,
                         const cublasLtMatmulAlgo_t& algorithm, std::string name)
    : problem_(std::move(problem)), algorithm_(algorithm), name_(std::move(name)) {}

LibraryGemm::~LibraryGemm() = default;

absl::StatusOr<std::vector<std::unique_ptr<LibraryGemm>>> LibraryGemm::Make(
    const Product& product, int64_t rows, std::shared_ptr<const CublasLt> library,
    KernelStore& store, int most) {
  if (product.compute == ComputeType::kTf32 && product.args.k < kLeastTf32Depth) {
    return std::vector<std::unique_ptr<LibraryGemm>>{};
  }
  auto problem = std::make_shared<Problem>(product, std::move(library));
  MLPSERVE_RETURN_IF_ERROR(problem->Describe(rows, store));
  const auto algorithms = problem->Algorithms(most);
  if (!algorithms.ok()) return algorithms.status();
  std::vector<std::unique_ptr<LibraryGemm>> gemms;
  for (size_t i = 0; i < algorithms->size(); ++i) {
    gemms.push_back(std::unique_ptr<LibraryGemm>(new LibraryGemm(
        problem, (*algorithms)[i].algo, absl::StrCat("cublaslt.", i, problem->suffix))));
  }
  return gemms;
}

absl::Status LibraryGemm::Launch(int32_t m, const Stream& stream) const {
  const Problem& p = *problem_;
  const float one = 1;
  const float zero = 0;
  MLPSERVE_RETURN_IF_ERROR(
      StatusOf(p.library->call().matmul(p.library->handle(), p.operation, &one, p.product.args.w,
                                        p.w, p.product.args.x, p.x, &zero, p.result, p.y, p.result,
                                        p.y, &algorithm_, p.product.workspace->get(),
                                        p.product.workspace->size(), stream.get()),
               "cublasLtMatmul"));
  if (p.epilogue != nullptr) MLPSERVE_RETURN_IF_ERROR(p.epilogue->Launch(m, stream));
  return LaunchPasses(p.product, m, stream);
}

}  // namespace mlpserve::cuda
