// A block's layers as they are loaded: packed weights and flattened epilogues, and the arithmetic
// of one tile of a layer's values. Not here: which tiles, in which order and on which threads;
// chunk_runner.h and step_runner.h say that.
//
// Threads: immutable but for the scratch of each thread, so calls with different `thread` may run
// at once. Allocates at load only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/cpu/bf16_product.h"
#include "kernels/cpu/cpu_plan.h"
#include "kernels/cpu/epilogue_program.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/workspace.h"
#include "kernels/spec/block.h"

namespace mlpserve::cpu {

struct Batch {
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  int64_t rows = 0;
};

// Rows of a batch, and where a workspace holds them.
struct RowRange {
  int64_t in_batch = 0;
  int64_t in_workspace = 0;
  int64_t count = 0;
};

// A rectangle of one layer's values: some rows, some panels.
struct LayerTile {
  int layer = 0;
  RowRange rows;
  int64_t first_panel = 0;
  int64_t last_panel = 0;               // exclusive
  std::span<const std::byte> upcoming;  // weights that the thread probably reads next
  int thread = 0;
};

class PackedBlock {
 public:
  // `bf16_instructions`: where the processor has them. `threads` may run tiles at once. Errors: a
  // weight cannot be read (Tensor::Read), and what `before_layer` answers; it may be empty.
  static absl::StatusOr<PackedBlock> Create(
      const BlockSpec& block, bool bf16_instructions, int threads,
      const std::function<absl::Status(int layer)>& before_layer = {});

  const BlockShape& shape() const { return shape_; }
  int layers() const { return static_cast<int>(layers_.size()); }
  const Panels& weights(int layer) const { return layers_[layer].weights; }
  int normalizations(int layer) const {
    return static_cast<int>(layers_[layer].epilogue.normalizations().size());
  }
  bool uses_bf16_instructions(int layer) const { return layers_[layer].bf16_product != nullptr; }

  // Whether ReadInput has to run before the first layer. FP32 rows on the wire are read where they
  // are, unless they have to be rounded, or read in whole vectors, which would run past their end.
  bool copies_input() const { return copies_stored_ || copies_first_; }
  void ReadInput(const Batch& batch, const RowRange& rows, Workspace& workspace) const;

  // Reads the layer's input from `workspace`, multiplies, applies the epilogue up to its first
  // batch statistics, and stores: to the workspace, from the last layer to the wire.
  void RunTile(const Batch& batch, const LayerTile& tile, Workspace& workspace);

  // Normalises one panel over the whole batch, and applies what follows in the epilogue.
  void RunNormalization(const Batch& batch, const LayerTile& tile, int normalization,
                        Workspace& workspace);

 private:
  struct Layer {
    Panels weights;
    LayerEpilogue epilogue;
    std::unique_ptr<Bf16Product> bf16_product;  // null: `weights` are multiplied by Product alone
  };

  explicit PackedBlock(const BlockSpec& block);

  absl::Status AddLayer(const LayerSpec& layer, WeightFormat format, int threads);
  void AddScratch(int threads);
  Rows Stored(const Batch& batch, const RowRange& rows, Workspace& workspace) const;
  Rows LayerInput(const Batch& batch, const LayerTile& tile, Workspace& workspace) const;
  void RunProgram(const Batch& batch, const LayerTile& tile, int64_t panel, int program,
                  Workspace& workspace);
  int64_t ColumnsOf(const Layer& layer, int64_t panel) const;

  DataType input_type_;
  DataType output_type_;
  ComputeType compute_;
  int64_t features_;
  bool copies_stored_ = false;  // ReadInput copies the block's input to Workspace::input()
  bool copies_first_ = false;   // ReadInput copies it, rounded, to Workspace::layer(-1)
  BlockShape shape_;
  std::vector<Layer> layers_;
  std::vector<AlignedBuffer<float>> scratch_;  // for each thread
};

}  // namespace mlpserve::cpu
