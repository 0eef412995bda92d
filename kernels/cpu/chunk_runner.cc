#include "kernels/cpu/chunk_runner.h"

#include <algorithm>

namespace mlpserve::cpu {

ChunkRunner::ChunkRunner(PackedBlock& block, int64_t rows, int threads) : block_(block) {
  for (int i = 0; i < threads; ++i) workspaces_.emplace_back(rows, block.shape().widest);
}

void ChunkRunner::Run(const Batch& batch, const Plan& plan, int thread) {
  while (true) {
    const int64_t row = next_row_.fetch_add(plan.chunk_rows, std::memory_order_relaxed);
    if (row >= batch.rows) return;
    RunChunk(batch, {.in_batch = row, .count = std::min(plan.chunk_rows, batch.rows - row)},
             thread);
  }
}

void ChunkRunner::RunChunk(const Batch& batch, const RowRange& rows, int thread) {
  Workspace& workspace = workspaces_[thread];
  if (block_.copies_input()) block_.ReadInput(batch, rows, workspace);
  for (int layer = 0; layer < block_.layers(); ++layer) {
    const int next = layer + 1 < block_.layers() ? layer + 1 : 0;
    block_.RunTile(batch,
                   {.layer = layer,
                    .rows = rows,
                    .last_panel = block_.weights(layer).count(),
                    .upcoming = block_.weights(next).panel(0),
                    .thread = thread},
                   workspace);
  }
}

}  // namespace mlpserve::cpu
