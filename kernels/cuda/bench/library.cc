#include "kernels/cuda/bench/library.h"

#include <algorithm>

#include "kernels/cuda/bench/check.h"

namespace mlpserve::bench {

Launch BestOfLibrary(cublasLtHandle_t lt, const Problem& p, const void* x, void* y,
                     const std::vector<void*>& weights) {
  static const float one = 1, zero = 0;
  constexpr size_t kWorkspaceBytes = 64 << 20;
  static void* workspace = [] {
    void* memory;
    BENCH_CHECK(cudaMalloc(&memory, kWorkspaceBytes));
    return memory;
  }();
  const cudaDataType_t type = p.compute == Compute::kBf16   ? CUDA_R_16BF
                              : p.compute == Compute::kFp16 ? CUDA_R_16F
                                                            : CUDA_R_32F;
  cublasLtMatmulDesc_t op;
  BENCH_CHECK(cublasLtMatmulDescCreate(
      &op, p.compute == Compute::kTf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
      CUDA_R_32F));
  const cublasOperation_t transpose = CUBLAS_OP_T;
  BENCH_CHECK(cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                             sizeof transpose));
  cublasLtMatrixLayout_t a, b, c;  // column major: y^T[n,m] = w[n,k] x^T[k,m]
  BENCH_CHECK(cublasLtMatrixLayoutCreate(&a, type, p.k, p.n, p.x_stride()));
  BENCH_CHECK(cublasLtMatrixLayoutCreate(&b, type, p.k, p.m, p.x_stride()));
  BENCH_CHECK(cublasLtMatrixLayoutCreate(&c, type, p.n, p.m, p.y_stride()));
  cublasLtMatmulPreference_t preference;
  BENCH_CHECK(cublasLtMatmulPreferenceCreate(&preference));
  BENCH_CHECK(cublasLtMatmulPreferenceSetAttribute(preference,
                                                   CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                   &kWorkspaceBytes, sizeof kWorkspaceBytes));
  cublasLtMatmulHeuristicResult_t found[32];
  int count = 0;
  BENCH_CHECK(cublasLtMatmulAlgoGetHeuristic(lt, op, a, b, c, c, preference, 32, found, &count));
  std::vector<Launch> algorithms;
  for (int i = 0; i < count; i++) {
    const cublasLtMatmulAlgo_t algorithm = found[i].algo;
    const auto run = [=](int turn, cudaStream_t stream) {
      return cublasLtMatmul(lt, op, &one, weights[turn % weights.size()], a, x, b, &zero, y, c, y,
                            c, &algorithm, workspace, kWorkspaceBytes, stream);
    };
    if (run(0, nullptr) != CUBLAS_STATUS_SUCCESS) continue;
    algorithms.push_back([run](int turn, cudaStream_t stream) { BENCH_CHECK(run(turn, stream)); });
  }
  const std::vector<double> times = BurstMs(algorithms, 9);
  return algorithms[std::min_element(times.begin(), times.end()) - times.begin()];
}

}  // namespace mlpserve::bench
