// A kernel of ours on a GPU, apart from the engine: compiled, launched, its scratch memory watched.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/norm/statistics_args.cuh"
#include "kernels/cuda/driver/loaded_kernel.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/tiles/config.h"
#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

// Why tests on a GPU cannot run here; empty: they can.
std::string WhyNoGpu();
// Whether the current device has what the tile's main loop needs.
bool RunsHere(const Tile& tile);

// Kernels with checks (kernels/cuda/device/ptx/checks.cuh).
struct CheckBuild {
  bool is_checked = false;
  int shared_offset = 0;  // bytes by which the block's shared memory is not where it should be
};

class GpuKernel {
 public:
  // `before`: what a kernel that normalises does first.
  static absl::StatusOr<GpuKernel> Make(const EpilogueSpec& epilogue, const KernelConfig& config,
                                        const CheckBuild& build = {},
                                        const EpilogueSpec& before = {});

  // `times` launches one after the other: each finds the counters that the one before has left, and
  // the first finds every byte of them as `counters`.
  // INTERNAL where counters are not zero afterwards, or memory behind the scratch was touched.
  // `statistics`: of a kernel that normalises.
  absl::Status Run(const GemmArgs& args, int times = 1, uint8_t counters = 0,
                   StatisticsArgs statistics = {}) const;

 private:
  struct Shape;
  GpuKernel(const KernelConfig& config, int columns, const CheckBuild& build, LoadedKernel kernel,
            Stream stream);
  absl::StatusOr<Shape> ShapeOf(const GemmArgs& args) const;

  KernelConfig config_;
  int columns_;
  CheckBuild build_;
  LoadedKernel kernel_;
  Stream stream_;
};

}  // namespace mlpserve::cuda
