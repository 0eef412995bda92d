#include "kernels/cpu/cpu_block.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hwy/cache_control.h"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/cpu/bf16_product.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/cpu_plan.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/epilogue_program.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/statistics.h"
#include "kernels/spec/canonical.h"

namespace mlpserve::cpu {
namespace {

struct Layer {
  Panels weights;
  LayerEpilogue epilogue;
  std::unique_ptr<Bf16Product> bf16_product;  // null: `weights` are multiplied by Product alone
};

bool UsesBf16Instructions(const BlockSpec& block, Bf16Instructions wanted) {
  if (block.compute != ComputeType::kBf16 || block.batch_invariant) return false;
  return wanted == Bf16Instructions::kIfPresent || Bf16Product::IsFaster();
}

// Rows of FP32 values with room for whole panels.
struct Rows {
  const float* values = nullptr;
  int64_t stride = 0;

  // Null where the rows are: nothing reads them then.
  const float* at(int64_t row, int64_t column) const {
    return values == nullptr ? nullptr : values + row * stride + column;
  }
};

// Buffers that a run of layers works in: the block's input, and two that layers write in turn.
class Workspace {
 public:
  Workspace(int64_t rows, int64_t widest)
      : stride_(Stride(widest)),
        input_(rows * stride_ + kPanelColumns),
        even_(rows * stride_ + kPanelColumns),
        odd_(rows * stride_ + kPanelColumns) {}

  static int64_t Stride(int64_t widest) {
    return (widest + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
  }

  int64_t stride() const { return stride_; }
  float* input() { return input_.get(); }
  // What layer `index` writes; layer 0 may read what layer -1 would have written.
  float* layer(int index) { return index % 2 == 0 ? even_.get() : odd_.get(); }

 private:
  int64_t stride_;
  AlignedBuffer<float> input_;
  AlignedBuffer<float> even_;
  AlignedBuffer<float> odd_;
};

// One step of the plan that goes layer after layer. All its tasks are done before the next begins.
struct LayerStep {
  enum class Kind : uint8_t { kReadInput, kTiles, kNormalize };
  Kind kind = Kind::kTiles;
  int layer = 0;
  int normalization = 0;
};

struct alignas(64) StepProgress {
  std::atomic<int64_t> next = 0;  // task to take
  std::atomic<int64_t> done = 0;  // tasks finished
};

struct Batch {
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  int64_t rows = 0;
  Plan plan;
};

}  // namespace

class CpuBlock::State {
 public:
  State(const BlockSpec& block, const CpuBlockOptions& options);

  void Run(const Batch& batch);
  const BlockShape& shape() const { return shape_; }
  int threads() const { return team_ == nullptr ? 1 : team_->threads(); }
  const Layer& layer(int index) const { return layers_[index]; }

 private:
  // A rectangle of one layer's values: some rows, some panels.
  struct Tile {
    int layer = 0;
    Rows x;              // the layer's input at the tile's first row
    Rows stored;         // the block's input at the tile's first row, as AddInput reads it
    float* z = nullptr;  // [rows, all columns of the layer]
    int64_t z_stride = 0;
    int64_t first_row = 0;  // in the batch
    int64_t rows = 0;
    int64_t first_panel = 0;
    int64_t last_panel = 0;
    int thread = 0;
  };

  void RunChunk(const Batch& batch, int64_t first_row, int64_t rows, int thread);
  void RunSteps(const Batch& batch, int thread);
  int64_t CountTasks(const Batch& batch, const LayerStep& step) const;
  int64_t PanelsPerTask(const Batch& batch, int layer) const;
  void RunTask(const Batch& batch, const LayerStep& step, int64_t task, int thread);
  void RunTilesTask(const Batch& batch, int layer, int64_t task, int thread);
  void RunNormalizeTask(const Batch& batch, const LayerStep& step, int64_t panel, int thread);

  void RunTile(const Batch& batch, const Tile& tile);
  void RunProgram(const Batch& batch, const Tile& tile, int64_t panel, size_t program);
  void ReadInput(const Batch& batch, int64_t first_row, int64_t rows, float* stored, float* first,
                 int64_t stride) const;

  bool reads_wire() const { return !copies_stored_ && !copies_first_; }
  Rows Stored(const Batch& batch, Workspace& workspace, int64_t first_row) const;
  Rows First(const Batch& batch, Workspace& workspace, int64_t first_row) const;
  int64_t ColumnsOf(int layer, int64_t panel) const {
    return std::min(kPanelColumns, layers_[layer].weights.outputs() - panel * kPanelColumns);
  }

  DataType input_type_;
  DataType output_type_;
  ComputeType compute_;
  int64_t features_;
  bool copies_stored_;  // the block's input is copied to Workspace::input()
  bool copies_first_;   // ... and what the first layer reads to Workspace::layer(-1)
  WorkerTeam* team_;
  BlockShape shape_;
  std::vector<Layer> layers_;
  std::vector<LayerStep> steps_;
  std::vector<Workspace> chunk_workspaces_;    // for each thread
  std::vector<Workspace> shared_workspace_;    // for the plan layer after layer; at most one
  std::vector<AlignedBuffer<float>> scratch_;  // for each thread
  std::unique_ptr<StepProgress[]> progress_;   // for each step
};

CpuBlock::State::State(const BlockSpec& block, const CpuBlockOptions& options)
    : input_type_(block.input_type),
      output_type_(block.output_type),
      compute_(block.compute),
      features_(block.input_features()),
      team_(options.team) {
  const bool bf16 = UsesBf16Instructions(block, options.bf16);
  const WeightFormat format = bf16 ? WeightFormat::kBf16 : WeightFormat::kFp32;
  bool uses_input = false;
  int64_t widest = features_;
  int levels = 1;
  for (const LayerSpec& layer : block.layers) {
    const EpilogueSpec canonical = Canonicalize(layer);
    uses_input |= UsesInput(canonical);
    widest = std::max(widest, layer.outputs);
    layers_.push_back({.weights = Panels(layer, compute_, format),
                       .epilogue = LayerEpilogue(canonical, layer.outputs),
                       .bf16_product = nullptr});
    shape_.weights += layer.inputs * layer.outputs;
    shape_.weight_bytes += layers_.back().weights.bytes();
    for (const EpilogueProgram& program : layers_.back().epilogue.programs()) {
      levels = std::max(levels, program.levels);
    }
  }
  shape_.widest = widest;
  shape_.batch_statistics = UsesBatchStatistics(block);

  // FP32 rows on the wire are read where they are, unless they have to be rounded, or read in whole
  // vectors, which would run past their end.
  const bool rounds = compute_ == ComputeType::kFp16 || compute_ == ComputeType::kBf16;
  const bool tf32 = compute_ == ComputeType::kTf32;
  copies_first_ = tf32;
  copies_stored_ = rounds || uses_input || (!tf32 && input_type_ != DataType::kFp32);

  if (!reads_wire()) steps_.push_back({.kind = LayerStep::Kind::kReadInput});
  for (int l = 0; l < static_cast<int>(layers_.size()); ++l) {
    steps_.push_back({.kind = LayerStep::Kind::kTiles, .layer = l});
    const int count = static_cast<int>(layers_[l].epilogue.normalizations().size());
    for (int n = 0; n < count; ++n) {
      steps_.push_back({.kind = LayerStep::Kind::kNormalize, .layer = l, .normalization = n});
    }
  }
  for (Layer& layer : layers_) {
    if (!bf16) break;
    layer.bf16_product = Bf16Product::Create(layer.weights, Workspace::Stride(widest), threads());
  }
  progress_ = std::make_unique<StepProgress[]>(steps_.size());

  const int64_t chunk = std::min(LargestChunk(shape_), options.max_rows);
  for (int thread = 0; thread < threads(); ++thread) {
    if (!shape_.batch_statistics) chunk_workspaces_.emplace_back(chunk, widest);
    scratch_.emplace_back(levels * kEpilogueScratchPerLevel);
  }
  const int64_t shared_rows = shape_.batch_statistics ? options.max_rows
                              : threads() > 1 ? std::min(options.max_rows, FewRows(threads()))
                                              : 0;
  if (shared_rows > 0) shared_workspace_.emplace_back(shared_rows, widest);
}

void CpuBlock::State::Run(const Batch& batch) {
  const auto share = [&](absl::FunctionRef<void(int)> work) {
    if (batch.plan.threads > 1) {
      team_->Run(work);
    } else {
      work(0);
    }
  };
  if (!batch.plan.by_chunks) {
    for (size_t i = 0; i < steps_.size(); ++i) {
      progress_[i].next.store(0, std::memory_order_relaxed);
      progress_[i].done.store(0, std::memory_order_relaxed);
    }
    share([&](int thread) { RunSteps(batch, thread); });
    return;
  }
  std::atomic<int64_t> next_row = 0;
  share([&](int thread) {
    while (true) {
      const int64_t row = next_row.fetch_add(batch.plan.chunk_rows, std::memory_order_relaxed);
      if (row >= batch.rows) return;
      RunChunk(batch, row, std::min(batch.plan.chunk_rows, batch.rows - row), thread);
    }
  });
}

Rows CpuBlock::State::Stored(const Batch& batch, Workspace& workspace, int64_t first_row) const {
  if (copies_stored_) return {workspace.input(), workspace.stride()};
  if (input_type_ != DataType::kFp32) return {};
  return {reinterpret_cast<const float*>(batch.input) + first_row * features_, features_};
}

Rows CpuBlock::State::First(const Batch& batch, Workspace& workspace, int64_t first_row) const {
  if (copies_first_) return {workspace.layer(-1), workspace.stride()};
  return Stored(batch, workspace, first_row);
}

void CpuBlock::State::ReadInput(const Batch& batch, int64_t first_row, int64_t rows, float* stored,
                                float* first, int64_t stride) const {
  const std::byte* wire =
      batch.input + first_row * features_ * static_cast<int64_t>(ByteSize(input_type_));
  if (copies_stored_) {
    ReadRows(input_type_, wire, rows, features_, stored, stride);
    if (compute_ != ComputeType::kFp32 && compute_ != ComputeType::kTf32) {
      RoundRows(compute_, stored, stride, rows, features_, stored, stride);
    }
  }
  if (copies_first_) {
    ReadRows(input_type_, wire, rows, features_, first, stride);
    RoundRows(compute_, first, stride, rows, features_, first, stride);
  }
}

void CpuBlock::State::RunChunk(const Batch& batch, int64_t first_row, int64_t rows, int thread) {
  Workspace& workspace = chunk_workspaces_[thread];
  const int64_t stride = workspace.stride();
  if (!reads_wire()) {
    ReadInput(batch, first_row, rows, workspace.input(), workspace.layer(-1), stride);
  }
  const Rows stored = Stored(batch, workspace, first_row);
  Rows x = First(batch, workspace, first_row);
  for (int l = 0; l < static_cast<int>(layers_.size()); ++l) {
    float* z = workspace.layer(l);
    RunTile(batch, {.layer = l,
                    .x = x,
                    .stored = stored,
                    .z = z,
                    .z_stride = stride,
                    .first_row = first_row,
                    .rows = rows,
                    .first_panel = 0,
                    .last_panel = layers_[l].weights.count(),
                    .thread = thread});
    x = {z, stride};
  }
}

void CpuBlock::State::RunSteps(const Batch& batch, int thread) {
  for (size_t i = 0; i < steps_.size(); ++i) {
    StepProgress& progress = progress_[i];
    const int64_t tasks = CountTasks(batch, steps_[i]);
    while (true) {
      const int64_t task = progress.next.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks) break;
      RunTask(batch, steps_[i], task, thread);
      progress.done.fetch_add(1, std::memory_order_release);
    }
    for (int spins = 0; progress.done.load(std::memory_order_acquire) < tasks; ++spins) {
      hwy::Pause();
      if (spins > 2000) std::this_thread::yield();
    }
  }
}

int64_t CpuBlock::State::PanelsPerTask(const Batch& batch, int layer) const {
  const int64_t panels = layers_[layer].weights.count();
  const int64_t row_tasks = (batch.rows + batch.plan.chunk_rows - 1) / batch.plan.chunk_rows;
  // A few tasks for each thread even out their speeds.
  const int64_t wanted = std::max<int64_t>(1, 4 * batch.plan.threads / row_tasks);
  return batch.plan.threads == 1 ? panels : std::max<int64_t>(1, panels / wanted);
}

int64_t CpuBlock::State::CountTasks(const Batch& batch, const LayerStep& step) const {
  const int64_t row_tasks = (batch.rows + batch.plan.chunk_rows - 1) / batch.plan.chunk_rows;
  const int64_t panels = layers_[step.layer].weights.count();
  switch (step.kind) {
    case LayerStep::Kind::kReadInput:
      return row_tasks;
    case LayerStep::Kind::kNormalize:
      return panels;
    case LayerStep::Kind::kTiles:
      break;
  }
  const int64_t group = PanelsPerTask(batch, step.layer);
  return row_tasks * ((panels + group - 1) / group);
}

void CpuBlock::State::RunTask(const Batch& batch, const LayerStep& step, int64_t task, int thread) {
  switch (step.kind) {
    case LayerStep::Kind::kReadInput: {
      Workspace& workspace = shared_workspace_.front();
      const int64_t row = task * batch.plan.chunk_rows;
      const int64_t offset = row * workspace.stride();
      return ReadInput(batch, row, std::min(batch.plan.chunk_rows, batch.rows - row),
                       workspace.input() + offset, workspace.layer(-1) + offset,
                       workspace.stride());
    }
    case LayerStep::Kind::kTiles:
      return RunTilesTask(batch, step.layer, task, thread);
    case LayerStep::Kind::kNormalize:
      return RunNormalizeTask(batch, step, task, thread);
  }
}

void CpuBlock::State::RunTilesTask(const Batch& batch, int layer, int64_t task, int thread) {
  Workspace& workspace = shared_workspace_.front();
  const int64_t stride = workspace.stride();
  const int64_t panels = layers_[layer].weights.count();
  const int64_t group = PanelsPerTask(batch, layer);
  const int64_t groups = (panels + group - 1) / group;
  const int64_t row = task / groups * batch.plan.chunk_rows;
  const int64_t first_panel = task % groups * group;
  const Rows stored = Stored(batch, workspace, 0);
  const Rows x = layer == 0 ? First(batch, workspace, 0) : Rows{workspace.layer(layer - 1), stride};
  RunTile(batch, {.layer = layer,
                  .x = {x.at(row, 0), x.stride},
                  .stored = {stored.at(row, 0), stored.stride},
                  .z = workspace.layer(layer) + row * stride,
                  .z_stride = stride,
                  .first_row = row,
                  .rows = std::min(batch.plan.chunk_rows, batch.rows - row),
                  .first_panel = first_panel,
                  .last_panel = std::min(panels, first_panel + group),
                  .thread = thread});
}

void CpuBlock::State::RunNormalizeTask(const Batch& batch, const LayerStep& step, int64_t panel,
                                       int thread) {
  Workspace& workspace = shared_workspace_.front();
  const int64_t column = panel * kPanelColumns;
  float* z = workspace.layer(step.layer);
  Normalize(layers_[step.layer].epilogue.normalizations()[step.normalization], z + column,
            workspace.stride(), batch.rows, ColumnsOf(step.layer, panel), column);
  RunProgram(batch,
             {.layer = step.layer,
              .x = {},
              .stored = Stored(batch, workspace, 0),
              .z = z,
              .z_stride = workspace.stride(),
              .first_row = 0,
              .rows = batch.rows,
              .thread = thread},
             panel, step.normalization + 1);
}

// Panel by panel, so that the epilogue finds the product in the L1 cache. Where oneDNN multiplies,
// it has done so for all panels of the first rows before.
void CpuBlock::State::RunTile(const Batch& batch, const Tile& tile) {
  const Layer& layer = layers_[static_cast<size_t>(tile.layer)];
  int64_t row = 0;
  if (layer.bf16_product != nullptr &&
      tile.last_panel - tile.first_panel == layer.weights.count()) {
    for (; tile.rows - row >= Bf16Product::kRows; row += Bf16Product::kRows) {
      layer.bf16_product->Run(tile.thread, tile.x.at(row, 0), tile.x.stride,
                              tile.z + row * tile.z_stride);
    }
  }
  for (int64_t panel = tile.first_panel; panel < tile.last_panel; ++panel) {
    Product(layer.weights, {.x = tile.x.at(row, 0),
                            .x_stride = tile.x.stride,
                            .z = tile.z + row * tile.z_stride + panel * kPanelColumns,
                            .z_stride = tile.z_stride,
                            .rows = tile.rows - row,
                            .first_panel = panel,
                            .last_panel = panel + 1});
    RunProgram(batch, tile, panel, 0);
  }
}

// ... and, after the last program, stores: to the wire, or rounded for the next layer.
void CpuBlock::State::RunProgram(const Batch& batch, const Tile& tile, int64_t panel,
                                 size_t program) {
  const Layer& layer = layers_[tile.layer];
  const int64_t column = panel * kPanelColumns;
  const int64_t columns = ColumnsOf(tile.layer, panel);
  float* z = tile.z + column;
  RunEpilogue(layer.epilogue.programs()[program],
              {.z = z,
               .z_stride = tile.z_stride,
               .x = tile.stored.at(0, column),
               .x_stride = tile.stored.stride,
               .rows = tile.rows,
               .columns = columns,
               .first_column = column,
               .scratch = scratch_[static_cast<size_t>(tile.thread)].get()});
  if (program + 1 < layer.epilogue.programs().size()) return;
  if (&layer == &layers_.back()) {
    const int64_t outputs = layer.weights.outputs();
    const int64_t offset = tile.first_row * outputs + column;
    WriteRows(output_type_, z, tile.z_stride, tile.rows, columns,
              batch.output + offset * static_cast<int64_t>(ByteSize(output_type_)), outputs);
  } else if (compute_ != ComputeType::kFp32) {
    RoundRows(compute_, z, tile.z_stride, tile.rows, columns, z, tile.z_stride);
  }
}

CpuBlock::CpuBlock(const BlockSpec& block, const CpuBlockOptions& options)
    : state_(std::make_unique<State>(block, options)) {}

CpuBlock::~CpuBlock() = default;

void CpuBlock::Run(const std::byte* input, std::byte* output, int64_t rows) {
  state_->Run({.input = input,
               .output = output,
               .rows = rows,
               .plan = ChoosePlan(state_->shape(), rows, state_->threads())});
}

std::string CpuBlock::Variant(int layer) const {
  if (state_->layer(layer).bf16_product != nullptr) return "bf16_onednn";
  return absl::StrCat("fp32_", InstructionSet());
}

}  // namespace mlpserve::cpu
