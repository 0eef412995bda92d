// The plan that cuts a batch into chunks of rows, which pass through all layers without waiting for
// one another. Each thread has a workspace of its own.
//
// Threads: Run by all threads of a batch, each with its own number, between Prepare calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "kernels/cpu/cpu_plan.h"
#include "kernels/cpu/packed_block.h"
#include "kernels/cpu/workspace.h"

namespace mlpserve::cpu {

class ChunkRunner {
 public:
  // `rows`: of the largest chunk. `block` must outlive the runner.
  ChunkRunner(PackedBlock& block, int64_t rows, int threads);

  void Prepare() { next_row_.store(0, std::memory_order_relaxed); }
  void Run(const Batch& batch, const Plan& plan, int thread);

 private:
  void RunChunk(const Batch& batch, const RowRange& rows, int thread);

  PackedBlock& block_;
  std::vector<Workspace> workspaces_;  // for each thread
  alignas(64) std::atomic<int64_t> next_row_ = 0;
};

}  // namespace mlpserve::cpu
