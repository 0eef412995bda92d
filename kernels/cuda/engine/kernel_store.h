// The kernels of all blocks on one device: compiled (or read from the cache) once and shared by
// everything that launches the same code. A kernel is unloaded with its last user.
//
// Threads: all methods from any thread; two that ask for one kernel at once both load it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/engine/kernels.h"
#include "kernels/cuda/jit/kernel_compiler.h"

namespace mlpserve::cuda {

class KernelStore final : public Kernels {
 public:
  KernelStore(KernelCompiler compiler, Device device)
      : compiler_(std::move(compiler)), device_(std::move(device)) {}

  const DeviceLimits& limits() const override { return device_.limits; }
  absl::StatusOr<SharedKernel> Get(const KernelText& text, int shared_bytes) override;
  absl::StatusOr<int> ActiveClusters(const LoadedKernel& kernel, const LaunchShape& shape,
                                     int cluster) override {
    return kernel.ActiveClusters(shape, cluster);
  }

  // Compiles what is not in the cache, on as many threads as there are processors (at most 16), and
  // keeps it until the next call: without a cache on disk, Get would compile it again. What does
  // not compile is left to Get to report. Ends early, within one kernel's time, where `stop` asks.
  void CompileAhead(const std::vector<KernelText>& texts, const std::stop_token& stop = {});

  const Device& device() const { return device_; }

 private:
  absl::StatusOr<CompiledKernel> Compiled(const KernelText& text);

  const KernelCompiler compiler_;
  const Device device_;
  std::mutex mutex_;
  // Under mutex_:
  std::map<std::string, std::weak_ptr<const LoadedKernel>> loaded_;  // by digest
  std::map<std::string, CompiledKernel> ahead_;                      // by source
};

}  // namespace mlpserve::cuda
