// A product by cuBLASLt. Of epilogues it has only the bias, which is exact only where the result is
// FP32, and of formats of y only FP32 and that of x: everything else is a product in FP32 and one
// kernel of ours.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/product.h"
#include "kernels/cuda/engine/step.h"

namespace mlpserve::cuda {

class LibraryGemm final : public Step {
 public:
  static constexpr int kMostAlgorithms = 8;  // worth measuring at load

  // One for each algorithm that the library's heuristics name for `rows` rows, the likeliest first,
  // at most `most`; may be none. Every run computes all the rows.
  static absl::StatusOr<std::vector<std::unique_ptr<LibraryGemm>>> Make(
      const Product& product, int64_t rows, std::shared_ptr<const CublasLt> library,
      KernelStore& store, int most = kMostAlgorithms);
  ~LibraryGemm() override;

  // "cublaslt.0", "cublaslt.2.bias", "cublaslt.1+epilogue": by the heuristics' order.
  const std::string& name() const { return name_; }
  absl::Status Launch(int32_t m, const Stream& stream) const override;

 private:
  struct Problem;
  LibraryGemm(std::shared_ptr<const Problem> problem, const cublasLtMatmulAlgo_t& algorithm,
              std::string name);

  const std::shared_ptr<const Problem> problem_;
  const cublasLtMatmulAlgo_t algorithm_;
  const std::string name_;
};

}  // namespace mlpserve::cuda
