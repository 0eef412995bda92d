// The plan that goes layer after layer: the values of a layer are cut into tasks, of some rows and
// some panels, and all of them are done before the next layer begins. For few rows of wide layers,
// and for batch statistics, which need whole columns.
//
// Each thread has a share of a layer's tasks, the same in every batch, so that it finds its weights
// in its L2 cache where they fit there, and knows which to fetch ahead. Having done it, it takes
// from the shares of others, who may have come late or not at all.
//
// Threads: Run by all threads of a batch, each with its own number below Plan::threads, between
// Prepare calls. A thread that has a task must be running: others wait for it, offering their core
// (spin.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/cpu_plan.h"
#include "kernels/cpu/packed_block.h"
#include "kernels/cpu/workspace.h"

namespace mlpserve::cpu {

class StepRunner {
 public:
  // `rows`: of the largest batch. `block` must outlive the runner.
  StepRunner(PackedBlock& block, int64_t rows, int threads);

  void Prepare();
  void Run(const Batch& batch, const Plan& plan, int thread);

 private:
  struct Step {
    enum class Kind : uint8_t { kReadInput, kTiles, kNormalize };
    Kind kind = Kind::kTiles;
    int layer = 0;
    int normalization = 0;
  };

  // How a step is cut into tasks.
  struct Cut {
    int64_t rows = 0;         // of a task
    int64_t row_tasks = 1;    // beside one another
    int64_t panels = 0;       // of a task
    int64_t panel_tasks = 1;  // beside one another
    bool rows_first = false;  // tasks that follow one another have the same panels, if they can

    int64_t count() const { return row_tasks * panel_tasks; }
    int64_t row_of(int64_t task) const {
      return rows * (rows_first ? task % row_tasks : task / panel_tasks);
    }
    int64_t panel_of(int64_t task) const {
      return panels * (rows_first ? task / row_tasks : task % panel_tasks);
    }
    int64_t first_of(int thread, int threads) const { return count() * thread / threads; }
  };

  struct alignas(64) Counter {
    std::atomic<int64_t> value = 0;
  };

  Cut CutStep(const Batch& batch, const Plan& plan, const Step& step) const;
  int64_t RunTasks(const Batch& batch, const Plan& plan, size_t step, int thread);
  void RunTask(const Batch& batch, const Cut& cut, const Step& step, int64_t task, LayerTile tile);
  std::span<const std::byte> FirstWeights(const Batch& batch, const Plan& plan, size_t step,
                                          int thread) const;

  std::atomic<int64_t>& done(size_t step) { return counters_[step * (threads_ + 1)].value; }
  std::atomic<int64_t>& taken(size_t step, int thread) {
    return counters_[step * (threads_ + 1) + 1 + thread].value;
  }

  PackedBlock& block_;
  size_t threads_;
  std::vector<Step> steps_;
  size_t counter_count_;
  std::unique_ptr<Counter[]> counters_;  // for each step: tasks done, tasks taken of each share
  Workspace workspace_;
};

}  // namespace mlpserve::cpu
