// The suite on a GPU, once for each kind of kernel. Without one it skips, and says why.
#include <cstdio>

#include "server/engine/cuda_backend.h"
#include "tests/conformance/conformance.h"

namespace mlpserve {
namespace {

using Kernels = cuda::KernelChoice;

template <Kernels kernels>
std::unique_ptr<Backend> Make() {
  auto backend = OpenCudaBackend(
      {.cache_directory = testing::TempDir() + "mlpserve-kernels", .kernels = kernels, .lanes = 2});
  if (backend.ok()) return std::move(backend->backend);
  std::fprintf(stderr, "%s\n", std::string(backend.status().message()).c_str());
  return nullptr;
}

INSTANTIATE_TEST_SUITE_P(
    Cuda, BackendConformance,
    testing::Values(
        ConformanceBackend{.name = "Mma", .make = Make<Kernels::kPlain>, .random_blocks = 40},
        ConformanceBackend{.name = "Wgmma", .make = Make<Kernels::kWgmma>, .random_blocks = 40},
        ConformanceBackend{
            .name = "CublasLt", .make = Make<Kernels::kLibrary>, .random_blocks = 20},
        ConformanceBackend{
            .name = "Measured", .make = Make<Kernels::kMeasured>, .random_blocks = 10}),
    BackendName);

}  // namespace
}  // namespace mlpserve
