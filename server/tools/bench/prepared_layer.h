// A problem's memory on a GPU: rows, results, the layer with as many copies of its weights as keep
// them cold, and, for a chain, its layers. Which kernel computes a product is the caller's.
// Threads: one.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/layer_builder.h"
#include "kernels/cuda/engine/step.h"
#include "kernels/spec/block.h"
#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

class PreparedLayer {
 public:
  // The store and the stream must outlive it.
  PreparedLayer(const Problem& problem, cuda::KernelStore& store, const cuda::Stream& stream)
      : problem_(problem), stream_(stream), builder_(problem.m, store) {}

  // x is [m, k]. Once.
  absl::Status Upload(const LayerSpec& layer, std::span<const float> x);

  const Problem& problem() const { return problem_; }
  const cuda::Activation& y() const { return y_; }
  // y = layer(x), each with weights of its own.
  const std::vector<cuda::Product>& copies() const { return copies_; }
  // Each reads what the one before has written: layer i writes between()[i % 2].
  const std::vector<cuda::Product>& chain() const { return chain_; }
  const std::array<cuda::Activation, 2>& between() const { return between_; }

  absl::Status Launch(const cuda::Step& layer) const {
    return layer.Launch(static_cast<int32_t>(problem_.m), stream_);
  }
  absl::Status Launch(const cuda::Step& layer, int64_t rows) const {
    return layer.Launch(static_cast<int32_t>(rows), stream_);
  }
  // Poison in y, around it and between its rows: NaN in every format.
  void PoisonY() const;
  // What is asked of y or of a buffer of the chain is of launches that are complete. Columns
  // [first, first + count) of the first `rows` rows, without what lies between them.
  std::vector<std::byte> Download(const cuda::Activation& from, int64_t rows, int64_t first,
                                  int64_t count) const;
  std::vector<std::byte> Download(const cuda::Activation& from) const {
    return Download(from, problem_.m, 0, from.features);
  }
  // Bytes beside y, or between its rows, that no longer hold the poison. A tensor store writes
  // whole 16 bytes: the rest of a row's last 16 may change.
  int64_t CountTrespasses() const;

 private:
  absl::Status AllocateY();
  absl::Status UploadRows(std::span<const float> x);
  absl::Status BuildChain(const LayerSpec& layer);

  const Problem problem_;
  const cuda::Stream& stream_;
  cuda::LayerBuilder builder_;
  cuda::Activation x_, y_;
  cuda::DeviceMemory y_memory_;  // y_ with a guard before and behind it, which nothing may write
  std::array<cuda::Activation, 2> between_;
  std::vector<cuda::Product> copies_, chain_;
};

}  // namespace mlpserve::tools
