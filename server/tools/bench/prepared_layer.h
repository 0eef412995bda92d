// A problem's memory on a GPU: rows, results, the layer with as many copies of its weight as keep
// it cold, and, for a chain, its layers. Which kernel computes a product is the caller's.
// Threads: one.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/lane_memory.h"
#include "kernels/cuda/engine/layer_data.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/cuda/plan/layer_plan.h"
#include "kernels/spec/block.h"
#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

// Where a problem's rows and results lie.
struct ProblemRows {
  cuda::RowsPlan x, y;
};
ProblemRows RowsOf(const Problem& problem);

class PreparedLayer {
 public:
  // The store and the stream must outlive it.
  PreparedLayer(const Problem& problem, cuda::KernelStore& store, const cuda::Stream& stream)
      : problem_(problem), store_(store), stream_(stream) {}

  // x is [m, k]. Call it once.
  absl::Status Upload(const LayerSpec& layer, std::span<const float> x);

  const Problem& problem() const { return problem_; }
  const cuda::LayerPlan& layer() const { return layer_; }  // y = layer(x)
  const cuda::LayerPlan& plain() const { return plain_; }  // the product alone, stored as y is
  const cuda::RowsPlan& y() const { return y_; }
  // Copies of the layer, each with a weight of its own.
  const std::vector<cuda::LayerData>& copies() const { return copies_; }
  // The chain's layers. Each reads what the one before has written; two buffers alternate.
  size_t chain_layers() const { return chain_.size(); }
  const cuda::RowsPlan& chain_rows(size_t i) const { return chain_[i].rows; }

  // Makes room for the scratch memory of steps. Call it before the first step is bound.
  absl::Status Reserve(const cuda::BufferBytes& bytes) { return memory_.Grow(bytes); }
  // Where to bind steps of `layer` (this layer or the plain one), and of the chain's.
  cuda::Place PlaceOf(const cuda::LayerPlan& layer, size_t copy) const {
    return {.layer = layer, .data = copies_[copy], .memory = memory_};
  }
  cuda::Place ChainPlace(size_t i) const {
    return {.layer = chain_[i].plan, .data = chain_[i].data, .memory = memory_};
  }

  // Poison in y, around it and between its rows: NaN in every format.
  void PoisonY() const;
  void Poison(const cuda::RowsPlan& rows) const;
  // Columns [first, first + count) of the first `rows` rows of y or of a chain's buffer, without
  // the gaps between rows. All launches must be complete.
  std::vector<std::byte> Download(const cuda::RowsPlan& from, int64_t rows, int64_t first,
                                  int64_t count) const;
  std::vector<std::byte> Download(const cuda::RowsPlan& from) const {
    return Download(from, problem_.m, 0, from.features);
  }
  // Bytes beside y, or between its rows, that no longer hold the poison. A tensor store writes
  // whole 16 bytes: the rest of a row's last 16 may change.
  int64_t CountTrespasses() const;

 private:
  struct ChainLayer {
    cuda::LayerPlan plan;
    cuda::LayerData data;
    cuda::RowsPlan rows;  // that it writes
  };

  cuda::RowsPlan Rows(cuda::Buffer buffer, int64_t features, int64_t stride) const;
  cuda::LayerPlan Plan(const LayerSpec& layer, const cuda::RowsPlan& x,
                       const cuda::RowsPlan& y) const;
  absl::Status AllocateY();
  absl::Status UploadRows(std::span<const float> x);
  absl::Status BuildChain(const LayerSpec& layer);

  const Problem problem_;
  cuda::KernelStore& store_;
  const cuda::Stream& stream_;
  cuda::TensorCopier copier_;
  cuda::RowsPlan x_, y_;
  cuda::LayerPlan layer_, plain_;
  cuda::DeviceMemory y_memory_;  // y_ with a guard before and behind it, which nothing may write
  cuda::LaneMemory memory_;
  std::vector<cuda::LayerData> copies_;
  std::vector<ChainLayer> chain_;
};

}  // namespace mlpserve::tools
