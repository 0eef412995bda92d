#include "kernels/cuda/plan/scratch.h"

#include <variant>

#include "kernels/cuda/plan/gemm_launch.h"
#include "kernels/cuda/plan/norm_launch.h"
#include "kernels/cuda/tiles/wgmma_launch.h"

namespace mlpserve::cuda {
namespace {

int64_t UnfinishedBytes(const LayerPlan& layer, int64_t rows) {
  return rows * AlignedStride(layer.outputs, DataType::kFp32) * static_cast<int64_t>(sizeof(float));
}

void AddNorms(const LayerPlan& layer, int64_t rows, const DeviceLimits& limits,
              BufferBytes& bytes) {
  if (layer.norms.empty()) return;
  bytes[Buffer::kUnfinished] = UnfinishedBytes(layer, rows);
  if (NormVariant(rows, limits.sm) != kHeldInParts) return;
  // A mean and a sum of squares for each column of each part.
  bytes[Buffer::kMoments] =
      CeilDivide(rows, kGatherRows) * layer.outputs * 2 * static_cast<int64_t>(sizeof(double));
  const NormPlan& last = layer.norms.back();
  bytes[Buffer::kNormColumns] =
      last.columns_offset + static_cast<int64_t>(last.epilogue.columns.size()) *
                                ColumnsStride(layer.outputs) * static_cast<int64_t>(sizeof(float));
}

// Whether the epilogue is z + a column and nothing else.
bool IsBias(const EpilogueSpec& epilogue) {
  if (epilogue.ops.size() != 1) return false;
  const auto* op = std::get_if<MultiplyAdd>(&epilogue.ops.front().value);
  return op != nullptr && op->scale == Operand{.value = 1} && op->shift.is_column();
}

}  // namespace

BufferBytes ScratchOf(const LayerPlan& layer, const KernelConfig& config, int64_t rows,
                      const DeviceLimits& limits) {
  BufferBytes bytes;
  const GemmLaunch launch = LaunchOf(layer, config, rows, 1);
  bytes[Buffer::kPartials] = launch.partials_bytes;
  bytes[Buffer::kArrivals] = launch.arrivals * static_cast<int64_t>(sizeof(uint32_t));
  if (ReadsHalves(config.tile)) {
    bytes[Buffer::kSplitRows] =
        rows * SplitStrideOfX(layer.inputs) * static_cast<int64_t>(sizeof(float));
  }
  if (!Normalises(config.tile)) AddNorms(layer, rows, limits, bytes);
  return bytes;
}

BufferBytes LibraryScratch(const LayerPlan& layer, int64_t rows, const DeviceLimits& limits) {
  BufferBytes bytes;
  bytes[Buffer::kWorkspace] = kWorkspaceBytes;
  if (LibraryEpilogueOf(layer) == LibraryEpilogue::kPass) {
    bytes[Buffer::kUnfinished] = UnfinishedBytes(layer, rows);
  }
  AddNorms(layer, rows, limits, bytes);
  return bytes;
}

BufferBytes LaneBytes(const LayerPlan& layer, const DeviceLimits& limits, bool may_use_library) {
  BufferBytes bytes;
  const auto cover = [&](const RowsPlan& rows) {
    BufferBytes one;
    one[rows.buffer] = rows.bytes(layer.max_rows);
    bytes.Cover(one);
  };
  cover(layer.x);
  cover(layer.block_input);
  cover(layer.norms.empty() ? layer.y : layer.norms.back().y);
  for (const BucketPlan& bucket : layer.buckets) {
    for (const Proposal& proposal : bucket.candidates) {
      bytes.Cover(ScratchOf(layer, proposal.config, bucket.rows, limits));
    }
    if (may_use_library) bytes.Cover(LibraryScratch(layer, bucket.rows, limits));
  }
  return bytes;
}

LibraryEpilogue LibraryEpilogueOf(const LayerPlan& layer) {
  const DataType y = layer.y.type;
  if (IsBias(layer.epilogue) && y == DataType::kFp32) return LibraryEpilogue::kBias;
  const bool has_format = y == DataType::kFp32 || y == layer.stored();
  return has_format && layer.epilogue.ops.empty() ? LibraryEpilogue::kNone : LibraryEpilogue::kPass;
}

}  // namespace mlpserve::cuda
