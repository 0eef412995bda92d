// A block on one device: what all of its lanes share and nobody changes after load. Weights in the
// format of their products, the epilogues' vectors, compiled kernels, and which of them computes
// each layer at each bucket. Lanes (lane.h) run batches on it.
//
// Threads: Load on one; everything else from any.
//
// Memory on the device: BlockPlan::shared_bytes, without those forms of a weight that no chosen
// kernel reads. While kernels are measured, also a lane's buffers and copies of one weight (about
// 300 MiB, or the weight once more).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/engine/cublas_lt.h"
#include "kernels/cuda/engine/host_rows_transfer.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/layer_data.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/plan/block_plan.h"
#include "kernels/cuda/plan/kernel_table.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

struct DeviceBlockOptions {
  std::string tuning_directory;             // empty: measurements are not kept
  std::shared_ptr<const CublasLt> library;  // may be null
  // False: nothing is measured; kernels are those measured before, or of the best estimate.
  bool may_measure = true;
  std::stop_token stop;  // once asked for, Load ends soon, with CANCELLED
  // Layers done and in all, of a step: "copying weights", "choosing kernels". May be empty.
  std::function<void(const char* step, int64_t done, int64_t total)> progress;
};

// What a load took, apart from reading the block. Weights are copied while kernels compile.
struct LoadTimes {
  std::chrono::nanoseconds weights{};    // copied and converted
  std::chrono::nanoseconds kernels{};    // compiled, or read from the cache, and loaded
  std::chrono::nanoseconds measuring{};  // candidates timed
};

class DeviceBlock {
 public:
  // `block` is what `plan` was made of; nothing of it is kept. The store must outlive the result.
  // Errors: RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE, the device is lost; CANCELLED; those of
  // compiling.
  static absl::StatusOr<std::shared_ptr<const DeviceBlock>> Load(const BlockSpec& block,
                                                                 BlockPlan plan,
                                                                 const DeviceBlockOptions& options,
                                                                 KernelStore& store);

  const BlockPlan& plan() const { return plan_; }
  const Device& device() const { return device_; }
  // For each layer and bucket, the kernel that was chosen.
  const std::vector<KernelRow>& kernels() const { return table_; }
  // Of the plan's HostRowsTexts.
  const HostRowsKernels& host_rows_kernels() const { return host_rows_kernels_; }
  const LoadTimes& load_times() const { return load_times_; }
  // Bytes of the device's memory: weights and vectors, and what each lane needs.
  int64_t shared_bytes() const;
  const BufferBytes& lane() const { return lane_; }

  // The steps of a batch in that bucket, bound to a lane's memory, in their order.
  absl::StatusOr<std::vector<std::unique_ptr<BoundStep>>> Bind(size_t bucket,
                                                               const LaneMemory& memory) const;

 private:
  struct Layer {
    LayerData data;
    std::vector<std::shared_ptr<const Step>> steps;  // for each of LayerPlan::buckets
  };
  class Loader;

  DeviceBlock(BlockPlan plan, Device device) : plan_(std::move(plan)), device_(std::move(device)) {}

  const BlockPlan plan_;
  const Device device_;
  SharedKernel convert_input_;  // null: the wire's rows are the first layer's
  HostRowsKernels host_rows_kernels_;
  std::vector<Layer> layers_;
  std::vector<KernelRow> table_;
  BufferBytes lane_;
  LoadTimes load_times_;
};

}  // namespace mlpserve::cuda
