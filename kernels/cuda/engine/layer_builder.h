// Layers in a device's memory: weights in the format of their products, the epilogue's vectors, and
// the passes that batch statistics ask for. Which kernel computes a product is left open
// (layer_chooser.h).
//
// Threads: one at a time. Owns what it allocates, but for weights: layers and activations are good
// while it lives. Weights live as long as a product or a step that reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/product.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/plan/epilogue_parts.h"
#include "kernels/spec/block.h"

namespace mlpserve::cuda {

struct Activation {  // [rows, features] on the device
  void* data = nullptr;
  int64_t features = 0;
  int64_t stride = 0;  // elements from row to row
  DataType type = DataType::kFp32;
};

class LayerBuilder {
 public:
  // Batches have up to `max_rows` rows. The store must outlive what is built.
  LayerBuilder(int64_t max_rows, KernelStore& store) : max_rows_(max_rows), store_(store) {}

  absl::StatusOr<void*> Allocate(size_t bytes);
  absl::StatusOr<Activation> AllocateActivation(int64_t features, int64_t stride, DataType type);
  // Room for products of so many outputs that a pass of its own finishes: those before batch
  // statistics, and the library's. Before the first Build, for the widest of them.
  absl::Status ReserveUnfinished(int64_t outputs);
  // Gives that back, where no pass finishes anything, or the library's workspace, where none of its
  // kernels runs.
  void ReleaseUnfinished() { unfinished_->Release(); }
  void ReleaseWorkspace() { workspace_->Release(); }

  // Room for the rows of x as halves (tf32_terms.cuh), of layers of so many inputs: before the
  // first Build, for the widest in FP32. Without it, no product is made of halves.
  absl::Status ReserveHalves(int64_t inputs);
  void ReleaseHalves() { halves_->Release(); }

  // y = layer(x). `block_input` is what AddInput adds. Waits on the stream for what it uploads.
  absl::StatusOr<Product> Build(const LayerSpec& layer, ComputeType compute, const Activation& x,
                                const Activation& block_input, const Activation& y,
                                const Stream& stream);

 private:
  absl::Status AddWeight(const LayerSpec& layer, ComputeType compute, const Stream& stream,
                         Product& product);
  absl::StatusOr<EpilogueArgs> AddColumns(const std::vector<std::vector<float>>& columns,
                                          int64_t outputs);
  absl::StatusOr<Product> MakeProduct(const LayerSpec& layer, ComputeType compute,
                                      const Activation& x, const Activation& block_input,
                                      const EpilogueSpec& epilogue, const Stream& stream);
  absl::Status AddNorm(const EpiloguePart& part, const EpilogueSpec& whole,
                       const Activation& block_input, const Activation& z, const Activation& to,
                       Product& product);

  const int64_t max_rows_;
  KernelStore& store_;
  std::vector<DeviceMemory> memory_;
  // What the kernels of all layers take turns with.
  std::shared_ptr<Scratch> halves_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> partials_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> arrivals_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> unfinished_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> workspace_ = std::make_shared<Scratch>();
  std::shared_ptr<Scratch> moments_ = std::make_shared<Scratch>();
};

}  // namespace mlpserve::cuda
