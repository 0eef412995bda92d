// write_chains OUTPUT: writes a C++ file with the emitted text of every random chain.
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "kernels/cuda/jit/emit.h"
#include "tests/kernels/cuda/jit/random_chain.h"

namespace {

constexpr char kHead[] = R"(#include "tests/kernels/cuda/jit/emitted_chains.h"
#include "tests/kernels/cuda/device/host_primitives.h"
#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/math.cuh"

namespace mlpserve::cuda {
namespace {

)";
constexpr char kRun[] = R"(
template <typename Epilogue>
float Run(float z, const float* columns, int64_t stride, int column, float x) {
  return Epilogue::Apply(z, Epilogue::Load(EpilogueArgs{columns, stride}, column), x);
}

constexpr EmittedChain kChains[] = {
)";
constexpr char kTail[] = R"(};

}  // namespace

std::span<const EmittedChain> EmittedChains() { return kChains; }

}  // namespace mlpserve::cuda
)";

}  // namespace

int main(int argc, char** argv) {
  using mlpserve::cuda::EmitEpilogue;
  if (argc != 2) return EXIT_FAILURE;
  std::ofstream out(argv[1]);
  out << kHead;
  for (int i = 0; i < mlpserve::cuda::kChains; ++i) {
    const auto text = EmitEpilogue(mlpserve::cuda::RandomChain(i), "Chain" + std::to_string(i));
    if (!text.ok()) {
      std::cerr << "chain " << i << ": " << text.status() << "\n";
      return EXIT_FAILURE;
    }
    out << *text << "\n";
  }
  out << kRun;
  for (int i = 0; i < mlpserve::cuda::kChains; ++i) out << "    &Run<Chain" << i << ">,\n";
  out << kTail;
  return out.good() ? EXIT_SUCCESS : EXIT_FAILURE;
}
