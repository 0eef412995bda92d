#include "kernels/cuda/engine/library_gemm.h"

#include <optional>
#include <variant>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/engine/elementwise_pass.h"
#include "kernels/cuda/engine/product_args.h"
#include "kernels/cuda/plan/layer_texts.h"
#include "kernels/cuda/plan/scratch.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// Shallower TF32 products it may compute without rounding their operands, which is not what a block
// asks for.
constexpr int kLeastTf32Depth = 32;

using Layout = cublasLtMatrixLayout_t;

cudaDataType_t TypeOf(DataType type) {
  return type == DataType::kFp32 ? CUDA_R_32F : type == DataType::kFp16 ? CUDA_R_16F : CUDA_R_16BF;
}

// Where the library stores: y, or FP32 rows that a pass finishes.
RowsPlan StoredRows(const LayerPlan& layer) {
  if (LibraryEpilogueOf(layer) != LibraryEpilogue::kPass) return layer.y;
  return {.buffer = Buffer::kUnfinished,
          .features = layer.outputs,
          .stride = AlignedStride(layer.outputs, DataType::kFp32)};
}

// The column vector that the library adds; null where it adds none.
const float* BiasOf(const LayerPlan& layer, const LayerData& data) {
  if (LibraryEpilogueOf(layer) != LibraryEpilogue::kBias) return nullptr;
  const auto& op = std::get<MultiplyAdd>(layer.epilogue.ops.front().value);
  return data.columns.columns + op.shift.column * data.columns.columns_stride;
}

// A product as the library is told of it. Column-major to the library: yᵀ [n, m] = w [n, k] xᵀ.
class Problem {
 public:
  explicit Problem(std::shared_ptr<const CublasLt> library) : library_(std::move(library)) {}
  ~Problem() {
    const CublasLt::Functions& f = library_->call();
    if (operation_ != nullptr) (void)f.desc_destroy(operation_);
    for (Layout layout : {w_, x_, y_}) {
      if (layout != nullptr) (void)f.layout_destroy(layout);
    }
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  absl::Status Describe(const LayerPlan& layer, const LayerData& data, int64_t rows);
  absl::StatusOr<std::vector<cublasLtMatmulHeuristicResult_t>> Algorithms(int most) const;
  absl::Status Multiply(const cublasLtMatmulAlgo_t& algorithm, const void* w, const void* x,
                        void* y, void* workspace, const Stream& stream) const;

 private:
  absl::Status Set(cublasLtMatmulDescAttributes_t attribute, const void* value, size_t bytes) {
    return StatusOf(library_->call().desc_set(operation_, attribute, value, bytes),
                    "cublasLtMatmulDescSetAttribute");
  }
  absl::Status AddBias(const float* bias);
  absl::Status DescribeMatrix(DataType type, int64_t rows, int64_t columns, int64_t stride,
                              Layout& layout) {
    return StatusOf(
        library_->call().layout_create(&layout, TypeOf(type), static_cast<uint64_t>(rows),
                                       static_cast<uint64_t>(columns), stride),
        "cublasLtMatrixLayoutCreate");
  }

  const std::shared_ptr<const CublasLt> library_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  Layout w_ = nullptr, x_ = nullptr, y_ = nullptr;
};

absl::Status Problem::AddBias(const float* bias) {
  const cublasLtEpilogue_t kind = CUBLASLT_EPILOGUE_BIAS;
  MLPSERVE_RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_EPILOGUE, &kind, sizeof(kind)));
  return Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias));
}

absl::Status Problem::Describe(const LayerPlan& layer, const LayerData& data, int64_t rows) {
  const cublasComputeType_t compute =
      layer.compute == ComputeType::kTf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  MLPSERVE_RETURN_IF_ERROR(StatusOf(library_->call().desc_create(&operation_, compute, CUDA_R_32F),
                                    "cublasLtMatmulDescCreate"));
  const cublasOperation_t transpose = CUBLAS_OP_T;
  MLPSERVE_RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof(transpose)));
  const float* bias = BiasOf(layer, data);
  if (bias != nullptr) MLPSERVE_RETURN_IF_ERROR(AddBias(bias));
  const DataType in = layer.stored();
  const RowsPlan stored = StoredRows(layer);
  MLPSERVE_RETURN_IF_ERROR(
      DescribeMatrix(in, layer.inputs, layer.outputs, layer.weight_stride(), w_));
  MLPSERVE_RETURN_IF_ERROR(DescribeMatrix(in, layer.inputs, rows, layer.x.stride, x_));
  return DescribeMatrix(stored.type, layer.outputs, rows, stored.stride, y_);
}

absl::StatusOr<std::vector<cublasLtMatmulHeuristicResult_t>> Problem::Algorithms(int most) const {
  const CublasLt::Functions& f = library_->call();
  const auto bytes = static_cast<size_t>(kWorkspaceBytes);
  cublasLtMatmulPreference_t preference = nullptr;
  MLPSERVE_RETURN_IF_ERROR(
      StatusOf(f.preference_create(&preference), "cublasLtMatmulPreferenceCreate"));
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<size_t>(most));
  int count = 0;
  cublasStatus_t status =
      f.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof(bytes));
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = f.heuristic(library_->handle(), operation_, w_, x_, y_, y_, preference, most,
                         found.data(), &count);
  }
  (void)f.preference_destroy(preference);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) {
    count = 0;
  } else {
    MLPSERVE_RETURN_IF_ERROR(StatusOf(status, "cublasLtMatmulAlgoGetHeuristic"));
  }
  found.resize(static_cast<size_t>(count));
  return found;
}

absl::Status Problem::Multiply(const cublasLtMatmulAlgo_t& algorithm, const void* w, const void* x,
                               void* y, void* workspace, const Stream& stream) const {
  const float one = 1;
  const float zero = 0;
  return StatusOf(library_->call().matmul(library_->handle(), operation_, &one, w, w_, x, x_, &zero,
                                          y, y_, y, y_, &algorithm, workspace,
                                          static_cast<size_t>(kWorkspaceBytes), stream.get()),
                  "cublasLtMatmul");
}

class BoundLibraryGemm final : public BoundStep {
 public:
  BoundLibraryGemm(std::shared_ptr<const CublasLt> library, const cublasLtMatmulAlgo_t& algorithm,
                   const Place& place)
      : problem_(std::move(library)),
        algorithm_(algorithm),
        w_(place.data.weight->get()),
        x_(place.memory.at(place.layer.x)),
        y_(place.memory.at(StoredRows(place.layer))),
        workspace_(place.memory.at(Buffer::kWorkspace)) {}

  absl::Status Describe(const Place& place, int64_t rows) {
    return problem_.Describe(place.layer, place.data, rows);
  }

  void SetRows(int32_t) override {}  // every run computes all the rows
  absl::Status Launch(const Stream& stream) override {
    return problem_.Multiply(algorithm_, w_, x_, y_, workspace_, stream);
  }

 private:
  Problem problem_;
  const cublasLtMatmulAlgo_t algorithm_;
  const void* const w_;
  const void* const x_;
  void* const y_;
  void* const workspace_;
};

}  // namespace

absl::StatusOr<std::vector<std::shared_ptr<const LibraryGemm>>> LibraryGemm::Make(
    const LayerPlan& layer, const LayerData& data, int64_t rows,
    std::shared_ptr<const CublasLt> library, int most) {
  std::vector<std::shared_ptr<const LibraryGemm>> gemms;
  if (layer.compute == ComputeType::kTf32 && layer.inputs < kLeastTf32Depth) return gemms;
  Problem problem(library);
  MLPSERVE_RETURN_IF_ERROR(problem.Describe(layer, data, rows));
  MLPSERVE_ASSIGN_OR_RETURN(const auto algorithms, problem.Algorithms(most));
  for (const cublasLtMatmulHeuristicResult_t& found : algorithms) {
    gemms.push_back(std::shared_ptr<const LibraryGemm>(new LibraryGemm(library, rows, found.algo)));
  }
  return gemms;
}

absl::StatusOr<std::unique_ptr<BoundStep>> LibraryGemm::Bind(const Place& place) const {
  auto bound = std::make_unique<BoundLibraryGemm>(library_, algorithm_, place);
  MLPSERVE_RETURN_IF_ERROR(bound->Describe(place, rows_));
  return bound;
}

std::string LibraryName(const LayerPlan& layer, size_t algorithm) {
  const LibraryEpilogue epilogue = LibraryEpilogueOf(layer);
  return absl::StrCat("cublaslt.", algorithm,
                      epilogue == LibraryEpilogue::kBias   ? ".bias"
                      : epilogue == LibraryEpilogue::kPass ? "+epilogue"
                                                           : "");
}

absl::StatusOr<std::shared_ptr<const Step>> LibraryPass::Make(const LayerPlan& layer,
                                                              Kernels& kernels) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::optional<KernelText> text, LibraryPassText(layer));
  if (!text) return nullptr;
  MLPSERVE_ASSIGN_OR_RETURN(SharedKernel kernel, kernels.Get(*text, 0));
  return std::shared_ptr<const Step>(new LibraryPass(std::move(kernel)));
}

absl::StatusOr<std::unique_ptr<BoundStep>> LibraryPass::Bind(const Place& place) const {
  const RowsPlan z = StoredRows(place.layer);
  GemmArgs args = ProductArgs(place);
  args.x = place.memory.at(z);
  args.x_stride = z.stride;
  return std::make_unique<ElementwisePass>(kernel_, args);
}

}  // namespace mlpserve::cuda
