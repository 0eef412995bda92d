// A block on one device: weights in the format of its products, buffers for its activations, and
// for every layer and bucket the kernel that computes it. All of it is made at load.
//
//   wire rows -> [input format] -> layer 0 -> ... -> last layer, straight to the wire's format
//
// A layer is one kernel; with batch statistics, where no kernel does the norm as well
// (wgmma_batch_norm.cuh), it is a product in FP32 and, for each batch norm, one pass that takes the
// statistics and normalises (batch_norm_step.h). Rows of x, w and of
// activations start at multiples of 16 bytes, so that any number of features will do: padding holds
// zeros and is never computed with.
//
// A kernel is told the batch's own number of rows. A bucket is only the number of rows that it was
// chosen for: powers of two up to max_rows, unless the block names its own.
//
// Threads: Run, one call at a time. Memory on the device: the weights; for max_rows rows the input,
// two of the widest activations and the output; for batch statistics, or where the library computes
// a layer, also one product in FP32. FP32 products that are made of halves (tf32_terms.cuh) take
// twice the widest input and the weights as halves, which is twice their memory; the weights as
// they are stay beside them only where another kernel reads these. While kernels are chosen, all
// of it is there.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/layer_chooser.h"
#include "kernels/cuda/plan/plan.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

struct CudaBlockOptions {
  int64_t max_rows = 4096;
  std::vector<int64_t> buckets;  // ascending; empty: powers of two
  KernelChoice choice = KernelChoice::kMeasured;
  std::string tuning_directory;             // empty: measurements are not kept
  std::shared_ptr<const CublasLt> library;  // may be null
};

// How long a run's three parts took on the device.
struct RunTimes {
  std::chrono::nanoseconds copy_in{};
  std::chrono::nanoseconds compute{};
  std::chrono::nanoseconds copy_out{};
};

// What a load took, apart from reading the block.
struct LoadTimes {
  std::chrono::nanoseconds weights{};    // copied and converted
  std::chrono::nanoseconds kernels{};    // compiled, or read from the cache, and loaded
  std::chrono::nanoseconds measuring{};  // candidates timed
};

class CudaBlock {
 public:
  // `block` has passed Validate; nothing of it is kept. The store must outlive the result.
  // Errors: RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE, the device is lost; those of compiling.
  static absl::StatusOr<std::unique_ptr<CudaBlock>> Load(const BlockSpec& block,
                                                         const CudaBlockOptions& options,
                                                         KernelStore& store);
  ~CudaBlock();
  CudaBlock(const CudaBlock&) = delete;
  CudaBlock& operator=(const CudaBlock&) = delete;

  // `input` is [rows, input features], `output` [rows, output features], in the wire's formats, on
  // the host and page-locked. 1 <= rows <= max_rows. Waits until the output is complete. Batch
  // statistics are over all the rows.
  absl::StatusOr<RunTimes> Run(const std::byte* input, std::byte* output, int64_t rows);

  int64_t Bucket(int64_t rows) const;  // the smallest that holds them
  const std::vector<PlanRow>& plan() const;
  const LoadTimes& load_times() const;

 private:
  class State;
  explicit CudaBlock(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace mlpserve::cuda
