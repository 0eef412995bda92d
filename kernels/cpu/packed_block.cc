#include "kernels/cpu/packed_block.h"

#include <algorithm>
#include <utility>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/statistics.h"
#include "kernels/spec/canonical.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cpu {
namespace {

int64_t Bytes(int64_t elements, DataType type) {
  return elements * static_cast<int64_t>(ByteSize(type));
}

}  // namespace

PackedBlock::PackedBlock(const BlockSpec& block)
    : input_type_(block.input_type),
      output_type_(block.output_type),
      compute_(block.compute),
      features_(block.input_features()),
      shape_{.widest = features_, .batch_statistics = UsesBatchStatistics(block)} {
  const bool rounds = compute_ == ComputeType::kFp16 || compute_ == ComputeType::kBf16;
  const bool tf32 = compute_ == ComputeType::kTf32;
  copies_first_ = tf32;
  copies_stored_ = rounds || (!tf32 && input_type_ != DataType::kFp32);
}

absl::StatusOr<PackedBlock> PackedBlock::Create(
    const BlockSpec& block, bool bf16_instructions, int threads,
    const std::function<absl::Status(int layer)>& before_layer) {
  const WeightFormat format = bf16_instructions ? WeightFormat::kBf16 : WeightFormat::kFp32;
  PackedBlock packed(block);
  for (const LayerSpec& layer : block.layers) {
    if (before_layer) MLPSERVE_RETURN_IF_ERROR(before_layer(packed.layers()));
    MLPSERVE_RETURN_IF_ERROR(packed.AddLayer(layer, format, threads));
  }
  for (Layer& layer : packed.layers_) {
    if (!bf16_instructions) break;
    layer.bf16_product =
        Bf16Product::Create(layer.weights, Workspace::Stride(packed.shape_.widest), threads);
  }
  packed.AddScratch(threads);
  return packed;
}

absl::Status PackedBlock::AddLayer(const LayerSpec& layer, WeightFormat format, int threads) {
  MLPSERVE_ASSIGN_OR_RETURN(Panels weights, Panels::Pack(layer, compute_, format, threads));
  const EpilogueSpec canonical = Canonicalize(layer);
  copies_stored_ |= UsesInput(canonical);
  shape_.widest = std::max(shape_.widest, layer.outputs);
  shape_.weights += layer.inputs * layer.outputs;
  shape_.weight_bytes += weights.bytes();
  layers_.push_back({.weights = std::move(weights),
                     .epilogue = LayerEpilogue(canonical, layer.outputs),
                     .bf16_product = nullptr});
  return absl::OkStatus();
}

void PackedBlock::AddScratch(int threads) {
  int levels = 1;
  for (const Layer& layer : layers_) {
    for (const EpilogueProgram& program : layer.epilogue.programs()) {
      levels = std::max(levels, program.levels);
    }
  }
  for (int i = 0; i < threads; ++i) scratch_.emplace_back(levels * kEpilogueScratchPerLevel);
}

void PackedBlock::ReadInput(const Batch& batch, const RowRange& rows, Workspace& workspace) const {
  const std::byte* wire = batch.input + Bytes(rows.in_batch * features_, input_type_);
  const int64_t stride = workspace.stride();
  const int64_t offset = rows.in_workspace * stride;
  if (copies_stored_) {
    float* stored = workspace.input() + offset;
    ReadRows(input_type_, wire, rows.count, features_, stored, stride);
    if (compute_ != ComputeType::kFp32 && compute_ != ComputeType::kTf32) {
      RoundRows(compute_, stored, stride, rows.count, features_, stored, stride);
    }
  }
  if (copies_first_) {
    float* first = workspace.layer(-1) + offset;
    ReadRows(input_type_, wire, rows.count, features_, first, stride);
    RoundRows(compute_, first, stride, rows.count, features_, first, stride);
  }
}

// The block's input as AddInput reads it.
Rows PackedBlock::Stored(const Batch& batch, const RowRange& rows, Workspace& workspace) const {
  if (copies_stored_) {
    return Rows{workspace.input(), workspace.stride()}.at(rows.in_workspace, 0);
  }
  if (input_type_ != DataType::kFp32) return {};
  return Rows{reinterpret_cast<const float*>(batch.input), features_}.at(rows.in_batch, 0);
}

Rows PackedBlock::LayerInput(const Batch& batch, const LayerTile& tile,
                             Workspace& workspace) const {
  if (tile.layer == 0 && !copies_first_) return Stored(batch, tile.rows, workspace);
  return Rows{workspace.layer(tile.layer - 1), workspace.stride()}.at(tile.rows.in_workspace, 0);
}

int64_t PackedBlock::ColumnsOf(const Layer& layer, int64_t panel) const {
  return std::min(kPanelColumns, layer.weights.outputs() - panel * kPanelColumns);
}

// Goes panel by panel, so that the epilogue finds the product in the L1 cache. Where oneDNN
// multiplies, it has already computed all panels of the first rows.
void PackedBlock::RunTile(const Batch& batch, const LayerTile& tile, Workspace& workspace) {
  const Layer& layer = layers_[tile.layer];
  const Rows x = LayerInput(batch, tile, workspace);
  const int64_t stride = workspace.stride();
  float* z = workspace.layer(tile.layer) + tile.rows.in_workspace * stride;
  int64_t row = 0;
  if (layer.bf16_product != nullptr &&
      tile.last_panel - tile.first_panel == layer.weights.count()) {
    for (; tile.rows.count - row >= Bf16Product::kRows; row += Bf16Product::kRows) {
      layer.bf16_product->Run(tile.thread, x.at(row, 0).values, x.stride, z + row * stride);
    }
  }
  for (int64_t panel = tile.first_panel; panel < tile.last_panel; ++panel) {
    const bool last = panel + 1 == tile.last_panel;
    Product(layer.weights, {.x = x.at(row, 0).values,
                            .x_stride = x.stride,
                            .z = z + row * stride + panel * kPanelColumns,
                            .z_stride = stride,
                            .rows = tile.rows.count - row,
                            .panel = panel,
                            .fetches_ahead = FetchesAhead(shape_),
                            .upcoming = last ? tile.upcoming : layer.weights.panel(panel + 1)});
    RunProgram(batch, tile, panel, 0, workspace);
  }
}

void PackedBlock::RunNormalization(const Batch& batch, const LayerTile& tile, int normalization,
                                   Workspace& workspace) {
  const Layer& layer = layers_[tile.layer];
  const int64_t stride = workspace.stride();
  for (int64_t panel = tile.first_panel; panel < tile.last_panel; ++panel) {
    const int64_t column = panel * kPanelColumns;
    float* z = workspace.layer(tile.layer) + tile.rows.in_workspace * stride + column;
    Normalize(layer.epilogue.normalizations()[normalization], z, stride, tile.rows.count,
              ColumnsOf(layer, panel), column);
    RunProgram(batch, tile, panel, normalization + 1, workspace);
  }
}

// Applies one program of the layer's epilogue to a panel. The result of the last program is stored:
// by the last layer to the wire, by the others rounded, for the next layer to read.
void PackedBlock::RunProgram(const Batch& batch, const LayerTile& tile, int64_t panel, int program,
                             Workspace& workspace) {
  const Layer& layer = layers_[tile.layer];
  const int64_t column = panel * kPanelColumns;
  const int64_t columns = ColumnsOf(layer, panel);
  const int64_t stride = workspace.stride();
  const Rows stored = Stored(batch, tile.rows, workspace);
  float* z = workspace.layer(tile.layer) + tile.rows.in_workspace * stride + column;
  RunEpilogue(layer.epilogue.programs()[program], {.z = z,
                                                   .z_stride = stride,
                                                   .x = stored.at(0, column).values,
                                                   .x_stride = stored.stride,
                                                   .rows = tile.rows.count,
                                                   .columns = columns,
                                                   .first_column = column,
                                                   .scratch = scratch_[tile.thread].get()});
  if (program < normalizations(tile.layer)) return;
  if (&layer == &layers_.back()) {
    const int64_t outputs = layer.weights.outputs();
    WriteRows(output_type_, z, stride, tile.rows.count, columns,
              batch.output + Bytes(tile.rows.in_batch * outputs + column, output_type_), outputs);
  } else if (compute_ != ComputeType::kFp32) {
    RoundRows(compute_, z, stride, tile.rows.count, columns, z, stride);
  }
}

}  // namespace mlpserve::cpu
