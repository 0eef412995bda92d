// The kernels of all blocks on one device: compiled (or read from the cache) once and shared by
// everything that launches the same code. A kernel is unloaded with its last user.
//
// Threads: all methods from any thread; two that ask for one kernel at once both load it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/driver/loaded_kernel.h"
#include "kernels/cuda/jit/kernel_compiler.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

using SharedKernel = std::shared_ptr<const LoadedKernel>;

class KernelStore {
 public:
  KernelStore(KernelCompiler compiler, Device device)
      : compiler_(std::move(compiler)), device_(std::move(device)) {}

  struct GemmRequest {
    EpilogueSpec epilogue;
    KernelConfig config;
    EpilogueSpec before;  // where the kernel normalises in between
  };

  // `shared_bytes`: the most dynamic shared memory of a launch. Errors: those of the compiler.
  absl::StatusOr<SharedKernel> Gemm(const GemmRequest& request, int shared_bytes);
  // Of any source, by the name of the kernel in it.
  absl::StatusOr<SharedKernel> Get(const std::string& source, const std::string& kernel_name,
                                   int shared_bytes);
  // Compiles what is not in the cache, on as many threads as there are processors (at most 16), and
  // keeps it until the next call: without a cache on disk, Gemm would compile it again.
  // What does not compile is left to Gemm to report.
  void CompileAhead(const std::vector<GemmRequest>& requests);

  const Device& device() const { return device_; }

 private:
  absl::StatusOr<CompiledKernel> Compiled(const std::string& source,
                                          const std::string& kernel_name);

  const KernelCompiler compiler_;
  const Device device_;
  std::mutex mutex_;
  // Under mutex_:
  std::map<std::string, std::weak_ptr<const LoadedKernel>> loaded_;  // by digest
  std::map<std::string, CompiledKernel> ahead_;                      // by source
};

}  // namespace mlpserve::cuda
